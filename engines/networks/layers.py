"""Building blocks: the imaging operator, exact ADMM steps, input-dependent convolution."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dscsnet.engines.geometry import Grid


def full_precision(function: Callable[..., Any], *values: Tensor) -> Any:
    """A function of tensors in float32, also where mixed precision is on around it.

    For what rounding to 8 bits would spoil: exact steps, and layers behind which none comes.
    """
    device = values[0].device.type
    if not torch.is_autocast_enabled(device):
        return function(*values)
    with torch.autocast(device, enabled=False):
        return function(*(value.float() for value in values))


class DataStep(nn.Module):
    """The separable imaging operator and the exact x-update of ADMM (eq. 8).

    With A = U S Vᵀ the one-dimensional operator, Φ = A ⊗ A, and ΦᵀΦ + ρI is diagonal in the basis
    V ⊗ V: eigenvalue s_i² s_j² + ρ inside the span of V, ρ outside it.
    """

    left: Tensor
    right: Tensor
    gain: Tensor
    operator: Tensor

    def __init__(self, grid: Grid, sigma: float) -> None:
        super().__init__()
        operator = torch.from_numpy(grid.operator(sigma))
        left, singular, right = torch.linalg.svd(operator, full_matrices=False)
        self.register_buffer("operator", operator.float())
        self.register_buffer("left", left.float())
        self.register_buffer("right", right.mT.contiguous().float())
        self.register_buffer("gain", torch.outer(singular, singular).float())

    def forward_model(self, grid_image: Tensor) -> Tensor:
        """Φ x: (B, 1, m, m) grid to (B, 1, n, n) crop."""
        return self.operator @ grid_image @ self.operator.mT

    def adjoint(self, crop: Tensor) -> Tensor:
        """Φᵀ y: (B, 1, n, n) crop to (B, 1, m, m) grid."""
        return self.operator.mT @ crop @ self.operator

    def to_spectrum(self, crop: Tensor) -> Tensor:
        """Coefficients of the crop in the left singular basis, (B, 1, n, n)."""
        return self.left.mT @ crop @ self.left

    def update(self, spectrum: Tensor, prior: Tensor, penalty: Tensor) -> Tensor:
        """(ΦᵀΦ + ρI)⁻¹ (Φᵀ y + ρ w), with w = z - β, in O(n m²).

        Args:
            spectrum: `to_spectrum` of y, (B, 1, n, n).
            prior: w, (B, 1, m, m).
            penalty: ρ > 0, scalar.
        """
        inner = self.right.mT @ prior @ self.right
        correction = self.gain * (spectrum - self.gain * inner) / (self.gain.square() + penalty)
        return prior + self.right @ correction @ self.right.mT

    def solve(self, right_hand_side: Tensor, penalty: Tensor) -> Tensor:
        """(ΦᵀΦ + ρI)⁻¹ r for any r of shape (B, 1, m, m)."""
        inner = self.right.mT @ right_hand_side @ self.right
        weight = self.gain.square() / (self.gain.square() + penalty)
        return (right_hand_side - self.right @ (weight * inner) @ self.right.mT) / penalty


def neighbourhoods(image: Tensor) -> Tensor:
    """The 3x3 neighbourhood of each cell, zero outside: (B, C, m, m) to (B, 9 C, m m).

    The C channels of the first neighbour come first, then those of the second, row by row.
    """
    size = image.shape[-1]
    padded = functional.pad(image, (1, 1, 1, 1))
    shifted = [
        padded[:, :, row : row + size, column : column + size]
        for row in range(3)
        for column in range(3)
    ]
    return torch.cat(shifted, 1).flatten(2)


class DynamicConvolution(nn.Module):
    """3x3 convolution, 1 to `width` channels, part of whose kernel is made from its input (C1).

    Mixing two kernels is the same as mixing two convolutions, so one product does both. Every
    crop's kernel depends on that crop alone.
    """

    def __init__(self, width: int, dynamic_weight: float) -> None:
        super().__init__()
        self.width, self.dynamic_weight = width, dynamic_weight
        self.kernel = nn.Parameter(torch.randn(width, 9) / 3)
        self.bias = nn.Parameter(torch.zeros(width, 1))
        if dynamic_weight > 0:
            self.features = nn.Conv2d(1, 8, 3, padding=1)
            self.generator = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, width * 9))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, m, m) to (B, width, m, m)."""
        kernel: Tensor = self.kernel
        if self.dynamic_weight > 0:
            features = functional.silu(self.features(image))
            pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
            generated = self.generator(pooled).unflatten(1, (self.width, 9))
            kernel = (1 - self.dynamic_weight) * kernel + self.dynamic_weight * generated
        else:
            kernel = kernel.unsqueeze(0)
        result = kernel @ neighbourhoods(image) + self.bias
        return result.unflatten(2, image.shape[-2:])


def soft_threshold(value: Tensor, threshold: Tensor) -> Tensor:
    """sign(v) max(0, |v| - θ), eq. 17; θ must not be negative."""
    return value - torch.maximum(torch.minimum(value, threshold), -threshold)


class PositiveScalar(nn.Module):
    """A learned number kept above zero by a softplus."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.tensor(initial).expm1().log())

    def forward(self) -> Tensor:
        return functional.softplus(self.raw)


def convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """3x3 convolution without bias, Xavier's initial weights."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    nn.init.xavier_normal_(layer.weight)
    return layer
