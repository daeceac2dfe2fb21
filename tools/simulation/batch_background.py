"""The node's background and noise estimate for a whole batch at once, on any device.

Twin of `pipeline/cropping/background.py` for crops of whole counts whose pixels are all usable, as
simulated ones are: the same M-estimate in the same order, in double precision. It never waits for
the device, so a training step that holds it can be one CUDA graph. On a CPU the node's own loop is
the faster one.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dscsnet.pipeline.cropping import background as node
from dscsnet.pipeline.cropping.robust import MAD_TO_SIGMA

#: Pixels that fix a plane must be twice as many as its numbers.
PLANE, LEAST_USED = 3, 6


class Plane(NamedTuple):
    """Level at the centre pixel, counts, and slopes, counts per px; (B, 1) each."""

    level: Tensor
    slope_x: Tensor
    slope_y: Tensor

    def at(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, P) counts at P offsets from the centre, px."""
        return self.level + self.slope_x * x + self.slope_y * y


class _Fit(NamedTuple):
    """Where the iteration is; `means`, `slopes` as `_solve` gives them, (B, 1) all."""

    plane: Plane
    means: tuple[Tensor, ...]
    slopes: tuple[Tensor, ...]
    noise: Tensor
    active: Tensor


class BatchBackground:
    """Takes the background off crops of one size, as the node would.

    Args:
        size: side of the crops, px; odd.
    """

    def __init__(self, size: int, device: torch.device | str = "cpu") -> None:
        self.size = size
        row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        row, column = row.flatten(), column.flatten()
        nearest = torch.stack([row, column, size - 1 - row, size - 1 - column]).amin(0)
        on_border = nearest < node.BORDER_WIDTH
        self.x, self.y = ((v - size // 2).double().to(device)[None] for v in (column, row))
        self.border = on_border.nonzero()[:, 0].to(device)
        self.border_x, self.border_y = self.x[:, self.border], self.y[:, self.border]
        self.pairs = [
            tuple(v.to(device) for v in _opposite(along, across, on_border, size))
            for along, across in ((column, row), (row, column))
        ]

    def subtract(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """(B, n, n) whole counts to (B, n, n) float32 counts above background, and (B,) noise."""
        values = values.flatten(1).double()
        plane, noise = self.estimate(values)
        pixels = (values - plane.at(self.x, self.y)).float()
        return pixels.unflatten(1, (self.size, self.size)), noise[:, 0].float()

    def estimate(self, values: Tensor) -> tuple[Plane, Tensor]:
        """(B, n * n) counts to the plane and the (B, 1) noise, counts."""
        ordered = values[:, self.border].sort(1).values
        step = _resolution(ordered)
        # Relative to a middle value: sums of squares of large counts would lose digits.
        reference = ordered[:, ordered.shape[1] // 2, None]
        values = values - reference
        counts = values[:, self.border]
        start = [_median((values[:, far] - values[:, near]) / gap) for near, far, gap in self.pairs]
        flattened = counts - start[0] * self.border_x - start[1] * self.border_y
        level = _median(flattened)
        noise = MAD_TO_SIGMA * _median((flattened - level).abs())
        plane, noise = self._fit(values, Plane(level, *start), noise, step)
        return plane._replace(level=plane.level + reference), noise

    def compile(self) -> None:
        """Compile one round of the iteration: all of them at once would take minutes."""
        self._round = torch.compile(self._round)  # type: ignore[method-assign]

    def _fit(
        self, values: Tensor, plane: Plane, noise: Tensor, step: Tensor
    ) -> tuple[Plane, Tensor]:
        """Iterate plane and scale, each crop until too few of its pixels are left."""
        counts, zero = values[:, self.border], torch.zeros_like(noise)
        noise = torch.maximum(noise, step * node.SIGMA_PER_STEP)
        fit = _Fit(
            plane,
            (plane.level, zero, zero),
            (plane.slope_x, plane.slope_y, zero),
            noise,
            torch.ones_like(noise, dtype=torch.bool),
        )
        keep = torch.ones_like(counts)
        for iteration in range(node.ITERATIONS):
            if iteration == node.FLANK_ITERATION:
                scale = torch.maximum(fit.noise, node.LEAST_SCALE_STEPS * step)
                keep = self._unflanked(values, fit.plane, node.FLANK_THRESHOLD * scale)
            fit = self._round(counts, keep, step, fit)
        means, slopes = fit.means, fit.slopes
        share = _slope_share(slopes[2] / fit.noise.square())
        slope_x, slope_y = share * slopes[0], share * slopes[1]
        level = means[0] - slope_x * means[1] - slope_y * means[2]
        return Plane(level, slope_x, slope_y), fit.noise

    def _round(self, counts: Tensor, keep: Tensor, step: Tensor, fit: "_Fit") -> "_Fit":
        """Weights about the plane, a new plane, a new scale."""
        cutoff = node.TUKEY_CUTOFF * torch.maximum(fit.noise, node.LEAST_SCALE_STEPS * step)
        ratio = (counts - fit.plane.at(self.border_x, self.border_y)) / cutoff
        weights = (1 - ratio.square()).clamp_min(0).square() * keep
        used = (weights > 0).sum(1, keepdim=True)
        active = fit.active & (used >= LEAST_USED)
        new_means, new_slopes = self._solve(counts, weights)
        means = _where(active, new_means, fit.means)
        slopes = _where(active, new_slopes, fit.slopes)
        level = means[0] - slopes[0] * means[1] - slopes[1] * means[2]
        plane = Plane(*_where(active, (level, slopes[0], slopes[1]), fit.plane))
        residual = counts - plane.at(self.border_x, self.border_y)
        squares = (weights * residual.square()).sum(1, keepdim=True)
        variance = squares / weights.sum(1, keepdim=True) / _biweight_variance(cutoff / fit.noise)
        spread = (variance * used / (used - PLANE)).sqrt()
        noise = torch.maximum(spread, step * node.SIGMA_PER_STEP)
        return _Fit(plane, means, slopes, torch.where(active, noise, fit.noise), active)

    def _unflanked(self, values: Tensor, plane: Plane, bright: Tensor) -> Tensor:
        """(B, P) 1 for border pixels without a neighbour more than `bright` above the plane."""
        above = (values - plane.at(self.x, self.y) > bright).double()
        image = functional.pad(above.unflatten(1, (self.size, self.size)), (1, 1, 1, 1))
        columns = image[:, :, :-2] + image[:, :, 1:-1] + image[:, :, 2:]
        square = columns[:, :-2] + columns[:, 1:-1] + columns[:, 2:]
        keep = (square.flatten(1) == above)[:, self.border].double()
        enough = keep.sum(1, keepdim=True) >= node.FLANK_LEAST_KEPT * keep.shape[1]
        return torch.where(enough, keep, 1.0)

    def _solve(
        self, counts: Tensor, weights: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Weighted least squares in closed form; see the node's `_solve`."""

        def mean(values: Tensor) -> Tensor:
            return (weights * values).sum(1, keepdim=True) / total

        x, y = self.border_x, self.border_y
        total = weights.sum(1, keepdim=True)
        means = (mean(counts), mean(x), mean(y))
        xx = total * (mean(x * x) - means[1] * means[1])
        yy = total * (mean(y * y) - means[2] * means[2])
        xy = total * (mean(x * y) - means[1] * means[2])
        xv = total * (mean(x * counts) - means[1] * means[0])
        yv = total * (mean(y * counts) - means[2] * means[0])
        determinant = xx * yy - xy * xy
        flat = determinant <= 1e-3 * total * total  # pixels on (nearly) one line fix no plane
        slope_x = torch.where(flat, 0.0, (yy * xv - xy * yv) / determinant)
        slope_y = torch.where(flat, 0.0, (xx * yv - xy * xv) / determinant)
        return means, (slope_x, slope_y, slope_x * xv + slope_y * yv)


def _opposite(
    along: Tensor, across: Tensor, on_border: Tensor, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of border pixels and of those opposite, far from them, and their (1, P) distance."""
    gap = size - 1 - 2 * along
    near = (on_border & (2 * gap >= size)).nonzero()[:, 0]
    place = {pair: i for i, pair in enumerate(zip(along.tolist(), across.tolist(), strict=True))}
    far = [place[size - 1 - int(along[i]), int(across[i])] for i in near]
    return near, torch.tensor(far), gap[near].double()[None]


def _median(values: Tensor) -> Tensor:
    """(B, P) to (B, 1); of an even number the mean of the middle two."""
    ordered, middle = values.sort(1).values, values.shape[1] // 2
    below = ordered[:, middle - 1 + values.shape[1] % 2, None]
    return 0.5 * (ordered[:, middle, None] + below)


def _resolution(ordered: Tensor) -> Tensor:
    """(B, P) sorted whole counts to the (B, 1) step between them; see the node's `resolution`."""
    gap = ordered.diff(dim=1)
    levels = 1 + (gap > 0).sum(1, keepdim=True)
    inner = gap[:, 2 : ordered.shape[1] - 3]
    smallest = torch.where(inner > 0, inner, torch.inf).amin(1, keepdim=True)
    tied = (2 * levels <= ordered.shape[1]) & (smallest < torch.inf)
    return torch.where(tied, smallest.clamp_min(1.0), 1.0)


def _biweight_variance(cutoff: Tensor) -> Tensor:
    """The node's `biweight_variance` of (B, 1) cut-offs in sigma."""
    density = torch.exp(-0.5 * cutoff.square()) / math.sqrt(2 * math.pi)
    moment0 = torch.erf(cutoff / math.sqrt(2))
    moment2 = moment0 - 2 * cutoff * density
    moment4 = 3 * moment2 - 2 * cutoff**3 * density
    moment6 = 5 * moment4 - 2 * cutoff**5 * density
    square = cutoff.square()
    weight = moment0 - 2 * moment2 / square + moment4 / square.square()
    return (moment2 - 2 * moment4 / square + moment6 / square.square()) / weight


def _slope_share(wald: Tensor) -> Tensor:
    """The node's `slope_share`."""
    position = (wald - node.SLOPE_DOUBTFUL) / (node.SLOPE_CERTAIN - node.SLOPE_DOUBTFUL)
    position = position.clamp(0, 1)
    return position.square() * (3 - 2 * position)


def _where(mask: Tensor, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.where(mask, a, b) for a, b in zip(new, old, strict=True))
