"""Simulated crops as a real sensor gives them: field protocol v1, widened.

Backgrounds with slopes, clouds, edges and bright structure; any counts; a PSF that is not quite
what it is said to be; hot pixels, shot noise; nothing at all in some crops. The crops pass through
the node's own background and noise estimate, so that a network learns from what it will be given.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from dscsnet.pipeline.cropping.background import subtract_backgrounds
from dscsnet.tools.simulation.background import Backgrounds
from dscsnet.tools.simulation.batch_background import BatchBackground
from dscsnet.tools.simulation.positions import PositionTable
from dscsnet.tools.simulation.scenes import ROUNDING, render
from dscsnet.tools.simulation.source import GivenCrops

Range = tuple[float, float]
Share = Annotated[float, Meta(ge=0, le=1)]

#: Positions kept for each number of targets.
POOL = 20_000
#: More targets than the network has slots: how many there are, and in how wide a disc, px.
CROWD = (6, 9)
CROWD_RADIUS = (1.2, 2.6)


class FieldProtocol(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a simulated field crop holds."""

    crop_size: Annotated[int, Meta(ge=5, description="side of the crop, px; odd")] = 11
    most: Annotated[int, Meta(ge=1, le=5, description="greatest number of targets")] = 5
    empty: Annotated[Share, Meta(description="share of crops with no target")] = 0.2
    crowded: Annotated[Share, Meta(description="share of crops with 6 to 9 targets")] = 0.05
    psf_sigma: Annotated[Range, Meta(description="mean of the PSF's two widths, px")] = (0.45, 0.9)
    psf_told_error: Annotated[
        float, Meta(ge=0, description="relative standard deviation of the width that is told")
    ] = 0.04
    psf_told_right: Annotated[
        Share, Meta(description="share of crops with the PSF told without that error")
    ] = 0.0
    ellipticity: Annotated[
        float, Meta(ge=0, description="standard deviation of ln(sigma_x / sigma_y), half of crops")
    ] = 0.1
    wings: Annotated[Share, Meta(description="share of crops whose PSF has wide wings")] = 0.25
    min_separation: Annotated[float, Meta(ge=0, description="px")] = 0.5
    cluster_radius: Annotated[Range, Meta(description="radius of the cluster's disc, px")] = (
        0.3,
        2.0,
    )
    cluster_offset: Annotated[
        float, Meta(ge=0, description="cluster centre from the crop's, at most, px, each axis")
    ] = 1.3
    snr: Annotated[Range, Meta(description="peak over noise of the first target")] = (4.0, 500.0)
    brightness_ratio: Annotated[
        float, Meta(ge=1, description="others over the first: at most this, either way")
    ] = 8**0.5
    noise: Annotated[Range, Meta(description="noise sigma, counts, log-uniform")] = (0.25, 40.0)
    shot: Annotated[Share, Meta(description="share of crops with shot noise")] = 0.3
    hot_pixels: Annotated[Share, Meta(description="share of crops with a hot or dead pixel")] = 0.1
    neighbour: Annotated[Share, Meta(description="share of crops with a target beside them")] = 0.1
    structure: Annotated[
        Share, Meta(description="share of the empty crops with bright structure")
    ] = 0.6

    def __post_init__(self) -> None:
        for name in ("psf_sigma", "cluster_radius", "snr", "noise"):
            low, high = getattr(self, name)
            if not 0 <= low <= high or (low == 0 and name != "cluster_radius"):
                raise ValueError(f"{name} must be two rising numbers above 0, got {low} and {high}")
        if self.most > 1 and self.min_separation > self.cluster_radius[1] / 2:
            raise ValueError(
                f"min_separation {self.min_separation} must not exceed half of the greatest "
                f"cluster radius, {self.cluster_radius[1]}: so many targets find no room"
            )
        if self.empty + self.crowded > 1:
            raise ValueError("empty and crowded are shares of the crops: together at most 1")


@dataclass(frozen=True)
class FieldScenes:
    """A batch of field crops; B crops, T targets at most.

    Attributes:
        crops: (B, n, n) float32 counts above the background that the node estimates.
        noise: (B,) noise sigma that the node estimates, counts.
        psf: (B, 2) PSF sigma along x and y that the network is told, px.
        x, y: (B, T) crop px; the crop's centre where absent.
        intensity: (B, T) total counts; 0 where absent.
        present: (B, T) bool, those present first.
        true_psf: (B, 2) px.
        true_noise: (B,) of the sensor, counts.
    """

    crops: Tensor
    noise: Tensor
    psf: Tensor
    x: Tensor
    y: Tensor
    intensity: Tensor
    present: Tensor
    true_psf: Tensor
    true_noise: Tensor


class FieldSimulator:
    """Draws batches of a field protocol.

    Args:
        seed: fixes every batch drawn, in order.
        device: where crops are made.
        at_once: from the second batch on never wait for the device, so that a training step with
            its draw can be one CUDA graph; other crops than without. None: unless on a CPU.
    """

    def __init__(
        self,
        protocol: FieldProtocol,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        at_once: bool | None = None,
    ) -> None:
        self.protocol, self.device = protocol, torch.device(device)
        self.at_once = self.device.type != "cpu" if at_once is None else at_once
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        self.backgrounds = Backgrounds(protocol.crop_size, self.generator)
        self.center = protocol.crop_size // 2
        self.pools: dict[int, Tensor] = {}
        self._table: PositionTable | None = None
        self._background = BatchBackground(protocol.crop_size, self.device)

    def compile(self) -> None:
        """Compile the background estimate, half of a draw's kernels."""
        self._background.compile()

    def draw(self, batch: int) -> FieldScenes:
        """One batch of `batch` crops."""
        p = self.protocol
        noise = self._log_uniform(p.noise, batch)
        true_noise = torch.hypot(noise, torch.full_like(noise, ROUNDING))
        count = self._counts(batch)
        x, y = self._positions(count)
        present = self._first(x.shape[1], count)
        psf, wing = self._psf(batch)
        fraction = torch.erf(0.5 / (2**0.5 * psf.double())).prod(1).float()
        intensity = self._snr(batch, x.shape[1]) * (true_noise / fraction)[:, None] * present
        light = self._render(x, y, intensity, psf, wing) + self._neighbour(
            psf, wing, true_noise / fraction
        )
        background = self.backgrounds.draw(batch, empty=count == 0, structure=p.structure)
        values = self._expose(light, background * true_noise[:, None, None], noise)
        crops, estimated = self._as_the_node_sees(values)
        told = psf * torch.exp(self._told_error(batch))
        return FieldScenes(crops, estimated, told, x, y, intensity, present, psf, true_noise)

    def give(self, batch: int, *, estimate_noise: bool = True) -> GivenCrops:
        """See `CropStream`; the noise is always estimated, as the node does it."""
        scenes = self.draw(batch)
        truth = (scenes.x, scenes.y, scenes.intensity, scenes.present)
        return GivenCrops(scenes.crops, scenes.noise, scenes.psf, *truth)

    def draw_clean(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Light alone: (B, n, n) counts, (B,) noise of the sensor, and (B, 2) PSF sigma."""
        scenes = self.draw(batch)
        light = _render(
            scenes.x, scenes.y, scenes.intensity, scenes.true_psf, self.protocol.crop_size
        )
        some = scenes.present.any(1)
        return light[some], scenes.true_noise[some], scenes.true_psf[some]

    def _as_the_node_sees(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """(B, n, n) whole counts to counts above background, and (B,) noise."""
        if self.at_once:
            return self._background.subtract(values)
        counts = values.double().numpy()
        pixels, background, _ = subtract_backgrounds(counts, np.ones(counts.shape, bool), True)
        return torch.from_numpy(pixels), torch.from_numpy(np.ascontiguousarray(background[:, 3]))

    def _expose(self, light: Tensor, background: Tensor, noise: Tensor) -> Tensor:
        """Whole counts, with read and shot noise and defective pixels."""
        batch = len(light)
        shot = self._happens(self.protocol.shot, batch) * self._log_uniform((0.01, 1.0), batch)
        sigma = noise[:, None, None]
        variance = sigma.square() + (shot * noise)[:, None, None] * light.clamp_min(0)
        level = 100 + 200 * self._uniform(batch, 1, 1)
        values = level + background + light + variance.sqrt() * self._normal(*light.shape)
        return (values + self._defects(batch, light.shape[-1]) * sigma).round()

    def _defects(self, batch: int, size: int) -> Tensor:
        """(B, n, n) brightness of hot and dead pixels over the noise."""
        result = torch.zeros(batch, size * size, device=self.device)
        where = self._integers(0, size * size, batch, 1)
        height = self._log_uniform((5.0, 200.0), batch)
        sign = torch.where(self._uniform(batch) < 0.2, -1.0, 1.0)
        bad = self._happens(self.protocol.hot_pixels, batch)
        return result.scatter_(1, where, (height * sign * bad)[:, None]).unflatten(1, (size, size))

    def _counts(self, batch: int) -> Tensor:
        p = self.protocol
        count = self._integers(1, p.most + 1, batch)
        kind = self._uniform(batch)
        crowd = self._integers(CROWD[0], CROWD[1] + 1, batch)
        count = torch.where(kind < p.empty + p.crowded, crowd, count)
        return torch.where(kind < p.empty, 0, count)

    def _positions(self, count: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T) x and y, crop px."""
        p, batch = self.protocol, len(count)
        offset = self._offsets_at_once(count) if self.at_once else self._offsets(count)
        angle = 2 * math.pi * self._uniform(batch, 1)
        cosine, sine = angle.cos(), angle.sin()
        shift = p.cluster_offset * (2 * self._uniform(batch, 2) - 1)
        x = self.center + shift[:, :1] + cosine * offset[..., 0] - sine * offset[..., 1]
        y = self.center + shift[:, 1:] + sine * offset[..., 0] + cosine * offset[..., 1]
        present = self._first(offset.shape[1], count)
        return torch.where(present, x, self.center), torch.where(present, y, self.center)

    @property
    def _most(self) -> int:
        """Targets of the fullest crops."""
        return CROWD[1] if self.protocol.crowded else self.protocol.most

    def _offsets(self, count: Tensor) -> Tensor:
        """(B, T, 2) offsets from the cluster's centre, px, one number of targets after another."""
        offset = torch.zeros(len(count), self._most, 2)
        for k in range(1, self._most + 1):
            rows = (count == k).nonzero()[:, 0]
            if len(rows):
                pool = self._pool(k)
                offset[rows, :k] = pool[self._integers(0, len(pool), len(rows))]
        return offset

    def _offsets_at_once(self, count: Tensor) -> Tensor:
        """The same without waiting for the device: all numbers from one table."""
        if self._table is None:
            self._table = PositionTable({k: self._pool(k) for k in range(1, self._most + 1)})
        return self._table.take(count, self._uniform(len(count)))

    def _pool(self, count: int) -> Tensor:
        """(POOL, count, 2) offsets from the cluster's centre, by rejection."""
        if count not in self.pools:
            radius = CROWD_RADIUS if count >= CROWD[0] else self.protocol.cluster_radius
            wanted = POOL if count <= self.protocol.most else POOL // 10
            found: list[Tensor] = []
            while sum(map(len, found)) < wanted:
                found.append(self._separated(count, radius))
            self.pools[count] = torch.cat(found)[:wanted]
        return self.pools[count]

    def _separated(self, count: int, radius: Range, draws: int = 50_000) -> Tensor:
        low, high = radius
        within = (low + (high - low) * self._uniform(draws, 1)) * self._uniform(draws, count).sqrt()
        angle = 2 * math.pi * self._uniform(draws, count)
        offset = torch.stack([within * angle.cos(), within * angle.sin()], -1)
        for i, j in itertools.combinations(range(count), 2):
            gap = (offset[:, i] - offset[:, j]).norm(dim=-1)
            offset = offset[gap >= self.protocol.min_separation]
        return offset

    def _psf(self, batch: int) -> tuple[Tensor, Tensor]:
        """(B, 2) sigma along x and y, and (B,) share of the light that is in wide wings."""
        p = self.protocol
        low, high = p.psf_sigma
        mean = low + (high - low) * self._uniform(batch)
        stretch = 0.5 * p.ellipticity * self._normal(batch) * self._happens(0.5, batch)
        psf = torch.stack([mean * stretch.exp(), mean * (-stretch).exp()], 1)
        return psf, 0.1 * self._uniform(batch) * self._happens(p.wings, batch)

    def _told_error(self, batch: int) -> Tensor:
        """(B, 1) ln of the PSF's width that is told, over the true one."""
        error = self.protocol.psf_told_error * self._normal(batch, 1)
        if self.protocol.psf_told_right == 0:  # the draws of recipes from before there was a share
            return error
        return error * (1 - self._happens(self.protocol.psf_told_right, batch))[:, None]

    def _snr(self, batch: int, most: int) -> Tensor:
        """(B, T) peak over noise: the first log-uniform, the others near it."""
        low, high = map(math.log, self.protocol.snr)
        half = math.log(self.protocol.brightness_ratio)
        first = low + (high - low) * self._uniform(batch, 1)
        least, greatest = (first - half).clamp_min(low), (first + half).clamp_max(high)
        others = least + (greatest - least) * self._uniform(batch, most - 1)
        return torch.cat([first, others], 1).exp()

    def _render(self, x: Tensor, y: Tensor, counts: Tensor, psf: Tensor, wing: Tensor) -> Tensor:
        core = _render(x, y, counts * (1 - wing[:, None]), psf, self.protocol.crop_size)
        return core + _render(x, y, counts * wing[:, None], 2.5 * psf, self.protocol.crop_size)

    def _neighbour(self, psf: Tensor, wing: Tensor, unit: Tensor) -> Tensor:
        """Light of a target that lies beside the crop's field: another crop's business."""
        batch, size = len(psf), self.protocol.crop_size
        there = self._happens(self.protocol.neighbour, batch)
        reach = 4.7 + self._uniform(batch, 1) * (size / 2 - 3.5)
        side = torch.where(self._uniform(batch, 1) < 0.5, -reach, reach)
        along = (2 * self._uniform(batch, 1) - 1) * size / 2
        swap = self._uniform(batch, 1) < 0.5
        x, y = torch.where(swap, along, side), torch.where(swap, side, along)
        counts = self._snr(batch, 1) * (unit * there)[:, None]
        return self._render(self.center + x, self.center + y, counts, psf, wing)

    def _first(self, most: int, count: Tensor) -> Tensor:
        """(B, most) True for the first `count` of each row."""
        return torch.arange(most, device=self.device) < count[:, None]

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def _integers(self, low: int, end: int, *shape: int) -> Tensor:
        return torch.randint(low, end, shape, generator=self.generator, device=self.device)

    def _log_uniform(self, limits: Range, batch: int) -> Tensor:
        low, high = limits
        return low * (high / low) ** self._uniform(batch)

    def _happens(self, share: float, batch: int) -> Tensor:
        return (self._uniform(batch) < share).float()


def _render(x: Tensor, y: Tensor, intensity: Tensor, psf: Tensor, size: int) -> Tensor:
    """(B, T) targets with a PSF of its own for each crop to (B, n, n)."""
    return render(x, y, intensity, size, psf[:, :1, None], psf[:, 1:, None])
