"""DISTA-Net (Han et al., ICCV 2025, arXiv 2505.19148): ISTA with transforms made from the input.

What the published description fixes: six stages of 32 channels; in each a gradient step, a
transform of two branches, one of fixed convolutions and one whose kernels are generated from the
input, a threshold module with parallel 3x3 convolutions and spatial attention, and an inverse
transform. Filled in here, so that parameters and multiply-accumulates come to the published 2.18 M
and 0.55 G a crop: the generator (pooled features, one hidden layer of 32), one convolution behind
each branch, an inverse that mirrors the transform and uses the generated kernel's adjoint, and the
frame of ISTA-Net+ around it (lift, drop, residual, symmetry term).
"""

from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional

from dscsnet.engines.networks.config import GridConfig
from dscsnet.engines.networks.layers import convolution, neighbourhoods, soft_threshold
from dscsnet.engines.networks.unfolded_ista import ProximalStep, UnfoldedISTA


class DISTANetConfig(
    GridConfig,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="kind",
    tag="dista-net",
):
    """DISTA-Net; the defaults are its authors'."""

    stages: Annotated[int, Meta(ge=1, le=100, description="unfolded ISTA iterations")] = 6
    width: Annotated[int, Meta(ge=1, le=1024, description="channels of the sparse transform")] = 32


class KernelGenerator(nn.Module):
    """A 3x3 kernel for each crop, from that crop's features alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.shares = nn.Linear(2 * width, width)
        # The kernel is a mixture of `width` learned ones.
        self.mixture = nn.Linear(width, 9 * width * width, bias=False)
        nn.init.normal_(self.mixture.weight, std=1 / (3 * width))

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, m, m) to (B, width out, 9, width in)."""
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
        kernel = self.mixture(torch.tanh(self.shares(pooled)))
        return kernel.unflatten(1, (self.width, 9, self.width))


def convolve_each(image: Tensor, kernel: Tensor) -> Tensor:
    """Convolve each crop's features with that crop's own kernel.

    Args:
        image: (B, width in, m, m).
        kernel: (B, width out, 9, width in).
    """
    batch, outputs, _, inputs = kernel.shape
    if torch.compiler.is_exporting():
        # A number of groups cannot be left open in an exported network.
        return (kernel.flatten(2) @ neighbourhoods(image)).unflatten(2, image.shape[-2:])
    # As many groups as crops: a third faster than the product above.
    weight = kernel.transpose(2, 3).reshape(batch * outputs, inputs, 3, 3)
    stacked = image.reshape(1, batch * inputs, *image.shape[-2:])
    result = functional.conv2d(stacked, weight, padding=1, groups=batch)
    return result.reshape(batch, outputs, *image.shape[-2:])


def adjoint(kernel: Tensor) -> Tensor:
    """The kernel that convolves with the transposed operator."""
    return kernel.transpose(1, 3).flip(2)


class DynamicThreshold(nn.Module):
    """One threshold per cell from the codes; never negative."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # The two parallel convolutions are the halves of one.
        self.branches = nn.Conv2d(width, width, 3, padding=1)
        self.attention = nn.Conv2d(2, 1, 3, padding=1)
        nn.init.constant_(self.attention.bias, -4.0)

    def forward(self, codes: Tensor) -> Tensor:
        """(B, width, m, m) to (B, 1, m, m)."""
        branches = self.branches(codes)
        maps = torch.cat([branches.mean(1, keepdim=True), branches.amax(1, keepdim=True)], 1)
        return functional.softplus(self.attention(maps))


class DynamicStep(ProximalStep):
    """x = r + G(F~(soft(F(D(r)), θ))), with F, F~ and θ depending on r."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lift, self.drop = convolution(1, width), convolution(width, 1)
        self.generator = KernelGenerator(width)
        self.static, self.static_back = convolution(width, width), convolution(width, width)
        self.after, self.after_back = (
            nn.ModuleList(convolution(width, width) for _ in range(2)) for _ in range(2)
        )
        self.threshold = DynamicThreshold(width)

    def forward(self, estimate: Tensor, mismatches: list[Tensor] | None = None) -> Tensor:
        features = self.lift(estimate)
        kernel = self.generator(features)
        codes = self._transform(features, kernel)
        if mismatches is not None:
            mismatches.append(self._inverse(codes, kernel) - features)
        sparse = soft_threshold(codes, self.threshold(codes))
        return estimate + self.drop(self._inverse(sparse, kernel))

    def _transform(self, features: Tensor, kernel: Tensor) -> Tensor:
        static = functional.relu(self.static(features))
        dynamic = functional.relu(convolve_each(features, kernel))
        return self.after[0](static) + self.after[1](dynamic)

    def _inverse(self, codes: Tensor, kernel: Tensor) -> Tensor:
        static = functional.relu(self.after_back[0](codes))
        dynamic = functional.relu(self.after_back[1](codes))
        return self.static_back(static) + convolve_each(dynamic, adjoint(kernel))


class DISTANet(UnfoldedISTA):
    """Crops to grids by stages of dynamic ISTA."""

    def __init__(self, config: DISTANetConfig) -> None:
        super().__init__(config, (DynamicStep(config.width) for _ in range(config.stages)))
