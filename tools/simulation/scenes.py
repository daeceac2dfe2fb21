"""A batch of crops with its true targets, and the light and the labels that targets make."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dscsnet.tools.measures.average_precision import Points

#: Standard deviation of rounding to whole counts.
ROUNDING = 12**-0.5


@dataclass(frozen=True)
class Scenes:
    """A batch of simulated crops.

    Attributes:
        crops: (B, n, n) float32 counts above background.
        x, y: (B, K) target positions, crop px; the crop's centre where absent.
        intensity: (B, K) total counts; 0 where absent.
        present: (B, K) bool.
        noise: (B,) noise sigma, counts.
    """

    crops: Tensor
    x: Tensor
    y: Tensor
    intensity: Tensor
    present: Tensor
    noise: Tensor


class Truth(Protocol):
    """The true targets of a batch; shapes as in `Scenes`."""

    @property
    def x(self) -> Tensor: ...
    @property
    def y(self) -> Tensor: ...
    @property
    def intensity(self) -> Tensor: ...
    @property
    def present(self) -> Tensor: ...


def pixel_profile(position: Tensor, size: int, sigma: float | Tensor) -> Tensor:
    """Torch twin of `dscsnet.engines.imaging.gaussian_profile`: (...) px to (..., size).

    A tensor of sigmas has one dimension more than `position`, the last one of size 1.
    """
    edges = torch.arange(size + 1, dtype=position.dtype, device=position.device) - 0.5
    scaled = (edges - position[..., None]) / (2**0.5 * sigma)
    return (0.5 * torch.erf(scaled)).diff(dim=-1)


def render(
    x: Tensor,
    y: Tensor,
    intensity: Tensor,
    size: int,
    sigma_x: float | Tensor,
    sigma_y: float | Tensor | None = None,
) -> Tensor:
    """(B, K) positions in px and counts to (B, n, n) noise-free crops.

    Args:
        sigma_x, sigma_y: px, or (B, 1, 1) for crops each with a PSF of its own; `sigma_y` defaults
            to `sigma_x`.
    """
    rows = pixel_profile(y, size, sigma_x if sigma_y is None else sigma_y) * intensity[..., None]
    return rows.mT @ pixel_profile(x, size, sigma_x)


def render_grid(scenes: Truth, crop_size: int, upsampling: int) -> Tensor:
    """The paper's label: each target's counts in the grid cell that holds it, (B, cn, cn)."""
    cells = crop_size * upsampling
    column, row = (
        torch.floor(upsampling * p + upsampling / 2).long().clamp(0, cells - 1)
        for p in (scenes.x, scenes.y)
    )
    flat = column.new_zeros(len(column), cells * cells, dtype=scenes.intensity.dtype)
    flat.scatter_add_(1, row * cells + column, scenes.intensity)
    return flat.unflatten(1, (cells, cells))


def true_points(scenes: Truth) -> Points:
    """The truth as the metrics take it; the score of a true target is its intensity in counts."""
    x, y, intensity = (v.double().cpu().numpy() for v in (scenes.x, scenes.y, scenes.intensity))
    return Points.from_padded(x, y, intensity, scenes.present.cpu().numpy())
