"""Simulated crops with known truth: the CSIST-100K protocol and its relatives.

Vectorised, seeded, on the CPU or a GPU. A protocol is a `CropProtocol` record;
`configs/train/*.yaml` hold the ones that the shipped models were trained on.
"""

import itertools
from typing import Annotated, Any, Literal

import msgspec
import torch
from msgspec import Meta
from torch import Tensor

from dscsnet.tools.simulation.positions import PositionTable
from dscsnet.tools.simulation.scenes import ROUNDING, Scenes, render
from dscsnet.tools.simulation.source import NOISE_ERROR, GivenCrops

#: The paper's separation of 0.52 Rayleigh units, with 1 unit = 1.9 sigma_psf, at sigma 0.5 px.
CSIST_SEPARATION = 0.494

Range = tuple[float, float]


class CropProtocol(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a simulated crop holds; the defaults are CSIST-100K."""

    crop_size: Annotated[int, Meta(ge=3, description="side of the crop, px; odd")] = 11
    psf_sigma: Annotated[float, Meta(gt=0, description="PSF standard deviation, px")] = 0.5
    targets: Annotated[
        tuple[int, int], Meta(description="fewest and most targets, uniform between")
    ] = (1, 5)
    empty: Annotated[float, Meta(ge=0, le=1, description="share of crops with no target")] = 0.0
    placement: Annotated[
        Literal["pixel", "cluster"],
        Meta(description="pixel: uniform in the central pixel; cluster: in a disc of random size"),
    ] = "pixel"
    cluster_radius: Annotated[Range, Meta(description="radius of the cluster's disc, px")] = (
        0.3,
        2.0,
    )
    cluster_offset: Annotated[
        float, Meta(ge=0, description="cluster centre from the crop's, at most, px, each axis")
    ] = 1.0
    min_separation: Annotated[float, Meta(ge=0, description="least distance of targets, px")] = (
        CSIST_SEPARATION
    )
    intensity: Annotated[Range, Meta(description="total counts of a target, uniform")] = (220, 250)
    brightness_ratio: Annotated[
        float, Meta(ge=1, description="members' counts over the first's: at most this, either way")
    ] = 1.0
    noise: Annotated[Range, Meta(description="noise sigma, counts, log-uniform; (0, 0): none")] = (
        0,
        0,
    )
    noise_free: Annotated[float, Meta(ge=0, le=1, description="share of crops without noise")] = 0.0
    neighbour: Annotated[
        float, Meta(ge=0, le=1, description="share of crops with one target outside the field")
    ] = 0.0
    field_size: Annotated[
        int, Meta(ge=1, description="side of the field that `neighbour` stays outside of, px")
    ] = 7
    integer: Annotated[bool, Meta(description="round to whole counts, as the public images")] = True


class Simulator:
    """Draws batches of a protocol.

    Args:
        seed: fixes every batch drawn, in order.
        device: where crops are made.
        pool: positions kept per number of targets for `placement: pixel`. Uniform positions under
            a minimum separation are rare (one draw of five targets in about 10^5), so a pool of
            exact draws is made once and refreshed by Metropolis moves, which keep the
            distribution. With `exact` no move is made and every position is drawn once.
        at_once: from the second batch on never wait for the device, so that a training step with
            its draw can be one CUDA graph; other crops than without. None: unless on a CPU.
    """

    def __init__(
        self,
        protocol: CropProtocol,
        *,
        seed: int,
        device: str = "cpu",
        pool: int = 20000,
        exact: bool = False,
        at_once: bool | None = None,
    ) -> None:
        self.protocol, self.device = protocol, torch.device(device)
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        self.exact = exact
        self.at_once = self.device.type != "cpu" if at_once is None else at_once
        self.pool_size = pool
        self.pools: dict[int, Tensor] = {}
        self._table: PositionTable | None = None

    def compile(self) -> None:
        """See `TrainingCrops`: there is nothing worth it."""

    def draw(self, batch: int) -> Scenes:
        """One batch of `batch` crops."""
        p = self.protocol
        low, high = p.targets
        count = torch.randint(low, high + 1, (batch,), generator=self.generator, device=self.device)
        count = torch.where(self._uniform(batch) < p.empty, 0, count)
        place = self._in_pixel if p.placement == "pixel" else self._in_cluster
        position, present = place(count, high)
        intensity = self._intensities(batch, high) * present
        x, y = position.unbind(-1)
        clean = render(x, y, intensity, p.crop_size, p.psf_sigma) + self._neighbours(batch)
        noise = self._noise(batch)
        crops = clean + noise[:, None, None] * self._normal(*clean.shape)
        crops = crops.round() if p.integer else crops
        return Scenes(crops, x, y, intensity, present, noise)

    def give(self, batch: int, *, estimate_noise: bool = False) -> GivenCrops:
        """See `CropStream`."""
        scenes = self.draw(batch)
        noise = torch.hypot(scenes.noise, torch.full_like(scenes.noise, ROUNDING))
        psf = noise.new_full((batch, 2), self.protocol.psf_sigma)
        if estimate_noise:
            error = NOISE_ERROR * self._normal(batch)
            noise = noise * torch.where(scenes.noise > 0, 1 + error, 1.0)
        truth = (scenes.x, scenes.y, scenes.intensity, scenes.present)
        return GivenCrops(scenes.crops, noise, psf, *truth)

    def start_crops(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """See `TrainingCrops`; they fill this simulator's pools outside any time budget."""
        scenes, p = self.draw(number), self.protocol
        clean = render(scenes.x, scenes.y, scenes.intensity, p.crop_size, p.psf_sigma)
        psf = clean.new_full((number, 2), p.psf_sigma)
        return clean, clean.new_full((number,), ROUNDING), psf

    def state(self) -> dict[str, Any]:
        """What it takes to go on with the same crops."""
        return {"generator": self.generator.get_state(), "pools": self.pools}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a stored state."""
        self.generator.set_state(state["generator"].cpu())
        self.pools, self._table = state["pools"], None

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def _noise(self, batch: int) -> Tensor:
        low, high = self.protocol.noise
        if high <= 0:
            return torch.zeros(batch, device=self.device)
        noise = low * (high / low) ** self._uniform(batch)
        if self.protocol.noise_free == 0:
            return noise
        return torch.where(self._uniform(batch) < self.protocol.noise_free, 0.0, noise)

    def _intensities(self, batch: int, most: int) -> Tensor:
        low, high = self.protocol.intensity
        ratio = self.protocol.brightness_ratio
        if ratio == 1:
            return low + (high - low) * self._uniform(batch, most)
        first = low + (high - low) * self._uniform(batch, 1)
        others = first * ratio ** (2 * self._uniform(batch, most - 1) - 1)
        return torch.cat([first, others], 1)

    def _neighbours(self, batch: int) -> Tensor | float:
        """Light of a target whose centre lies outside the field but near the crop."""
        p = self.protocol
        if p.neighbour == 0:
            return 0.0
        half, center = p.field_size / 2, p.crop_size // 2
        reach = half + 0.5 + self._uniform(batch, 1) * (p.crop_size / 2 + 1 - half)
        side = torch.where(self._uniform(batch, 1) < 0.5, -reach, reach)
        along = (2 * self._uniform(batch, 1) - 1) * p.crop_size / 2
        swap = self._uniform(batch, 1) < 0.5
        x, y = torch.where(swap, along, side), torch.where(swap, side, along)
        there = self._uniform(batch, 1) < p.neighbour
        return render(
            center + x,
            center + y,
            self._intensities(batch, 2)[:, :1] * there,
            p.crop_size,
            p.psf_sigma,
        )

    def _in_cluster(self, count: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """Targets one after another in a disc; one that finds no free place is left out."""
        p, batch = self.protocol, len(count)
        low, high = p.cluster_radius
        radius = low + (high - low) * self._uniform(batch, 1)
        center = p.crop_size // 2 + p.cluster_offset * (2 * self._uniform(batch, 2) - 1)
        position = torch.full((batch, most, 2), float(p.crop_size // 2), device=self.device)
        present = torch.zeros(batch, most, dtype=torch.bool, device=self.device)
        tries = 24
        for k in range(most):
            angle = 2 * torch.pi * self._uniform(batch, tries)
            distance = radius * self._uniform(batch, tries).sqrt()
            offset = torch.stack([distance * angle.cos(), distance * angle.sin()], -1)
            proposal = center[:, None] + offset
            gap = (proposal[:, :, None] - position[:, None, :k]).norm(dim=-1)
            gap = torch.where(present[:, None, :k], gap, torch.inf)
            free = (gap >= p.min_separation).all(-1)
            chosen = free.int().argmax(1)
            present[:, k] = free.any(1) & (k < count)
            picked = proposal[torch.arange(batch, device=self.device), chosen]
            position[:, k] = torch.where(present[:, k, None], picked, position[:, k])
        return position, present

    def _in_pixel(self, count: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """Uniform in the central pixel under the minimum separation."""
        batch, center = len(count), float(self.protocol.crop_size // 2)
        if self.at_once and not self.exact:
            position = center + self._pixel_positions_at_once(count, most)
        else:
            position = torch.full((batch, most, 2), center, device=self.device)
            for k in range(1, most + 1):
                rows = (count == k).nonzero()[:, 0]
                position[rows, :k] = center + self._pixel_positions(k, len(rows))
        if not self.exact:
            # The square's symmetries keep the distribution and multiply the pool by eight.
            flips = 2 * (self._uniform(batch, 1, 2) < 0.5) - 1
            swap = self._uniform(batch, 1, 1) < 0.5
            offset = (position - center) * flips
            position = center + torch.where(swap, offset.flip(-1), offset)
        present = torch.arange(most, device=self.device) < count[:, None]
        return torch.where(present[..., None], position, center), present

    def _pixel_positions(self, count: int, number: int) -> Tensor:
        """(number, count, 2) offsets from the centre of the pixel."""
        if self.exact:
            return self._exact_positions(count, number)
        pool = self._pool(count)
        self._move(pool)
        chosen = torch.randint(len(pool), (number,), generator=self.generator, device=self.device)
        return pool[chosen]

    def _pixel_positions_at_once(self, count: Tensor, most: int) -> Tensor:
        """(B, most, 2) offsets for crops of all numbers of targets; 0 where absent."""
        if self._table is None:
            self._table = PositionTable({k: self._pool(k) for k in range(1, most + 1)})
            self.pools = self._table.pools
        for pool in self.pools.values():
            self._move(pool)
        return self._table.take(count, self._uniform(len(count)))

    def _pool(self, count: int) -> Tensor:
        if count not in self.pools:
            self.pools[count] = self._exact_positions(count, self.pool_size)
        return self.pools[count]

    def _exact_positions(self, count: int, number: int) -> Tensor:
        """Rejection sampling, pair by pair so that most draws are discarded early."""
        found: list[Tensor] = []
        missing = number
        draws = 20000 if count < 4 else 200000
        while missing > 0 or not found:
            position = self._uniform(draws, count, 2) - 0.5
            for i, j in itertools.combinations(range(count), 2):
                gap = (position[:, i] - position[:, j]).norm(dim=-1)
                position = position[gap >= self.protocol.min_separation]
            found.append(position[:missing])
            missing -= len(found[-1])
        return torch.cat(found)

    def _move(self, pool: Tensor, window: int = 2048) -> None:
        """One Metropolis move of one target in a window of the pool, in place."""
        number, count = pool.shape[:2]
        size = min(window, number)
        first, member = (
            torch.randint(n, (1,), generator=self.generator, device=self.device)
            for n in (number - size + 1, count)
        )
        rows = first + torch.arange(size, device=self.device)
        old = pool[rows]
        one = old.index_select(1, member)[:, 0]
        step = 0.15 * self._normal(size, 2)
        jump = self._uniform(size, 2) - 0.5
        moved = torch.where(self._uniform(size, 1) < 0.4, jump, one + step)
        gap = (old - moved[:, None]).norm(dim=-1).index_fill(1, member, torch.inf)
        legal = (gap >= self.protocol.min_separation).all(1) & (moved.abs() <= 0.5).all(1)
        pool[rows, member] = torch.where(legal[:, None], moved, one)
