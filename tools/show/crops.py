"""Crops of a recording, and what an engine makes of each: nothing runs but this one frame.

Candidates, crops, background and noise come from the same code as in the detector stub and the
node. Each crop is shown by itself: where two see the same target, both report it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dscsnet.detector_stub.config import SpotSettings
from dscsnet.detector_stub.spots import Candidates, SpotDetector
from dscsnet.engines.array_types import Float
from dscsnet.engines.engine import Engine
from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.geometry import Grid
from dscsnet.engines.imaging import render
from dscsnet.pipeline.config import Batching, Crop
from dscsnet.pipeline.cropping.plan import CropPlan
from dscsnet.pipeline.messages import SpotFlag
from dscsnet.pipeline.sources import open_source
from dscsnet.pipeline.unmix import Prepared, Stages

Pixels = NDArray[np.generic]

MOST_SHOWN = 6  # crops of a frame
NO_LIMIT = 65_536  # crops planned: those shown are chosen afterwards

HEADER = ("x", "y", "intensity", "score", "sigma x", "sigma y", "sigma I")

DOUBTS = {
    Doubt.MISFIT: "chi2 too high",
    Doubt.PSF: "width far from the PSF's",
    Doubt.CROWDED: "more targets than it can tell apart",
    Doubt.NO_RESULT: "no result",
}


@dataclass(frozen=True, eq=False)
class CropView:
    """One crop and what the engine made of it.

    Attributes:
        name: of the candidate, for people.
        left, top: frame px of the crop's first pixel.
        field: first pixel and one past the last, crop px, of the square searched for targets.
        observed: (s, s) counts above background.
        usable: (s, s) bool, the pixels that count.
        background, noise: counts; NaN where no pixel is usable.
        flags: what is wrong with its pixels.
        psf: PSF sigma along x and y as fitted, or as told where none was fitted, px.
        estimates: of this crop alone, crop px.
    """

    name: str
    left: int
    top: int
    field: tuple[int, int]
    observed: Float
    usable: NDArray[np.bool_]
    background: float
    noise: float
    flags: SpotFlag
    psf: tuple[float, float]
    estimates: Estimates

    @property
    def reconstruction(self) -> Float:
        """The targets as the PSF images them: (s, s) counts."""
        found = self.estimates
        return render(found.x, found.y, found.intensity, self.observed.shape, *self.psf)

    @property
    def residual(self) -> Float:
        """Observed less reconstruction: (s, s) noise sigmas; NaN where a pixel does not count."""
        difference = (self.observed - self.reconstruction) / self.noise
        return np.where(self.usable, difference, np.nan)


def read_frame(source: str | Path, index: int) -> Pixels:
    """One frame of a recording: (H, W) uint8, uint16 or float32 counts.

    Raises:
        SourceError: the source cannot be read or has no such frame.
    """
    with open_source(source, start=index, stop=index + 1, allow_mixed_sizes=True) as frames:
        return next(iter(frames)).pixels


def find_candidates(pixels: Pixels) -> Candidates:
    """Candidates of a frame as the detector stub finds them by default, strongest first.

    Raises:
        DscsnetError: there is none.
    """
    found = SpotDetector(SpotSettings()).detect(pixels)
    if not len(found):
        raise DscsnetError("the detector found no candidate in this frame; give a place: --at X,Y")
    return found


def view_candidates(
    engine: Engine, pixels: Pixels, found: Candidates, spot: int | None = None
) -> list[CropView]:
    """Look at the crops of one candidate, or at the first crop of each of the strongest ones.

    Raises:
        DscsnetError: there is no such candidate, or it has no crop of its own.
    """
    stages = _stages(engine)
    prepared = stages.prepare(pixels, **found.to_dict())
    plan = prepared.plan
    chosen = _strongest(plan) if spot is None else _of_candidate(plan, found, spot)
    chosen = chosen[:MOST_SHOWN]
    return _view(stages, prepared, chosen, [_name(plan, found, crop) for crop in chosen])


def view_place(engine: Engine, pixels: Pixels, x: float, y: float) -> list[CropView]:
    """Look at the crop about a place, frame px, without a detector.

    Raises:
        DscsnetError: it is off the frame.
    """
    height, width = pixels.shape
    if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
        raise DscsnetError(
            f"({x:g}, {y:g}) is off the frame: "
            f"x goes from 0 to {width - 1}, y from 0 to {height - 1}"
        )
    stages = _stages(engine)
    return _view(stages, stages.prepare(pixels, [x], [y]), [0], [f"crop at ({x:g}, {y:g})"])


def _stages(engine: Engine) -> Stages:
    crops_per_run = Batching().max_crops
    return Stages(
        engine,
        merge_radius=Crop().merge_radius,
        crops_per_frame=NO_LIMIT,
        crops_per_run=crops_per_run,
    )


def _strongest(plan: CropPlan) -> list[int]:
    """The first crop of each candidate, the strongest candidates first."""
    return sorted({int(spot): crop for crop, spot in reversed([*enumerate(plan.spot)])}.values())


def _of_candidate(plan: CropPlan, found: Candidates, spot: int) -> list[int]:
    if spot >= len(found):
        known = f"{len(found)} candidates, 0 to {len(found) - 1}, the strongest first"
        raise DscsnetError(f"there is no spot {spot}: the detector found {known}")
    crops: list[int] = np.flatnonzero(plan.spot == spot).tolist()
    if not crops:
        away = np.hypot(plan.center_x - found.x[spot], plan.center_y - found.y[spot])
        other = plan.spot[away.argmin()]
        raise DscsnetError(f"spot {spot} shares the crop of spot {other}: give --spot {other}")
    return crops


def _name(plan: CropPlan, found: Candidates, crop: int) -> str:
    spot = int(plan.spot[crop])
    crops = np.flatnonzero(plan.spot == spot).tolist()
    place = f"spot {spot} at ({found.x[spot]:.1f}, {found.y[spot]:.1f})"
    return place + (f", crop {crops.index(crop) + 1} of {len(crops)}" if len(crops) > 1 else "")


def _view(
    stages: Stages, frame: Prepared, chosen: Sequence[int], names: Sequence[str]
) -> list[CropView]:
    """Run the engine on those of the chosen crops that have usable pixels."""
    part, grid = frame.take(np.asarray(chosen)), stages.engine.grid
    crops, half = part.crops, grid.center
    psf, estimates = _run(stages, part)
    flags = crops.flags | part.plan.spot_flags[part.plan.spot]
    return [
        CropView(
            name=names[row],
            left=int(crops.center_x[row]) - half,
            top=int(crops.center_y[row]) - half,
            field=_field(grid),
            observed=crops.pixels[row].astype(float),
            usable=crops.usable[row],
            background=float(crops.background[row]),
            noise=float(crops.noise[row]),
            flags=SpotFlag(int(flags[row])),
            psf=(float(psf[row, 0]), float(psf[row, 1])),
            estimates=estimates.slice(row, row + 1),
        )
        for row in range(len(chosen))
    ]


def _run(stages: Stages, part: Prepared) -> tuple[Float, Estimates]:
    """PSF sigmas that hold for each crop, (n, 2) px, and the estimates of all."""
    batch = stages.gather([part])
    ((_, estimates),) = stages.split([part], stages.read(stages.run(batch), batch))
    psf = np.tile(np.asarray(stages.engine.psf, float), (len(part.crops.noise), 1))
    psf[part.good] = batch.psf
    return psf * np.nan_to_num(estimates.psf_scale, nan=1.0)[:, None], estimates


def _field(grid: Grid) -> tuple[int, int]:
    margin = (grid.crop_size - grid.field_size) // 2
    return margin, margin + grid.field_size


def target_rows(view: CropView) -> list[tuple[str, ...]]:
    """The targets as text under `HEADER`, in the engine's order: frame px and counts."""
    found = view.estimates
    columns = (
        [f"{x + view.left:.3f}" for x in found.x],
        [f"{y + view.top:.3f}" for y in found.y],
        [counts(value) for value in found.intensity],
        [f"{value:.2f}" for value in found.score],
        *([_pixels(value) for value in sigma] for sigma in (found.sigma_x, found.sigma_y)),
        [counts(value) for value in found.sigma_intensity],
    )
    return list(zip(*columns, strict=True))


def quality_rows(view: CropView) -> list[tuple[str, str]]:
    """What is to be said of the crop as a whole: name and text."""
    found = view.estimates
    scale, occupied = float(found.psf_scale[0]), float(found.occupied[0])
    width = f"{view.psf[0]:.3f} x {view.psf[1]:.3f} px"
    level = "unknown"
    if math.isfinite(view.noise):
        level = f"{counts(view.background)} counts, noise {counts(view.noise)}"
    rows = [
        ("chi2", counts(float(found.chi2[0]))),
        ("background", level),
        ("PSF sigma", width + (f", {scale:.2f} of that told" if math.isfinite(scale) else "")),
    ]
    if math.isfinite(occupied):
        rows.append(("occupied", f"with probability {occupied:.3f}"))
    return [*rows, ("doubts", ", ".join(doubts(view)) or "none")]


def doubts(view: CropView) -> list[str]:
    """Why the crop's targets deserve doubt; empty where they do not."""
    doubt = Doubt(int(view.estimates.doubt[0]))
    named = [text for bit, text in DOUBTS.items() if bit in doubt]
    # That nothing came out of a crop, or that it does not fit, is said above.
    flags = view.flags & ~SpotFlag.NOT_CONVERGED if named else view.flags
    return named + [(flag.name or "").lower().replace("_", " ") for flag in flags]


def counts(value: float) -> str:
    """Counts to three digits or to one count, whichever is finer; a dash where unknown."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if 999.5 <= abs(value) < 1e7 else f"{value:.3g}"


def _pixels(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"
