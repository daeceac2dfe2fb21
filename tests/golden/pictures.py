"""Golden pictures: what is drawn where in every picture that people get.

    python -m tests.golden.pictures

As with golden answers (`tests.golden.answers`), they are written anew only by a commit that means
to change how a picture looks.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.imaging import render
from dscsnet.pipeline.messages import EngineInfo, SpotFlag, Spots, Targets, TargetTable, Timing
from dscsnet.tools.calibration.noise import Patches
from dscsnet.tools.calibration.picture import draw_calibration
from dscsnet.tools.demo.picture import draw_picture
from dscsnet.tools.demo.scene_truth import TrueFrame, TrueTargets
from dscsnet.tools.field.benchmark import PSF_ERRORS, psf_variant
from dscsnet.tools.field.chain import Answers
from dscsnet.tools.field.frames import REGION
from dscsnet.tools.field.implant import CENTER, Samples
from dscsnet.tools.field.picture import draw_field
from dscsnet.tools.show.answers_picture import Answer, AnswerSpots, AnswerTargets, draw_answers
from dscsnet.tools.show.crops import CropView
from dscsnet.tools.show.crops_picture import draw_views
from dscsnet.tools.training import curves
from dscsnet.tools.trials import soak_report
from dscsnet.tools.trials.soak import Sample, Soak
from tests.golden.drawn import recording, thumbnail, told_of
from tests.tools.calibration.made_up import NOTHING, TURNED, calibration_of, noise_of, spots_of
from tests.tools.field.made_up import RESULT, field_report

FOLDER = Path(__file__).parent
TOLD, THUMBNAILS = FOLDER / "pictures.json", FOLDER / "pictures.npz"


def noisy(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Whole counts about zero."""
    return np.rint(np.random.default_rng(seed).normal(0, 4, shape))


def estimates(crop: list[int], crops: int, **columns: list[float]) -> Estimates:
    """Targets of crops; what is not given is unknown."""
    rows = len(crop)
    known = {name: np.array(values, float) for name, values in columns.items()}
    perhaps = ("intensity", "score", "sigma_x", "sigma_y", "sigma_intensity")
    of_targets = {name: known.get(name, np.full(rows, nan)) for name in ("x", "y", *perhaps)}
    of_crops = {name: known.get(name, np.full(crops, nan)) for name in ("psf_scale", "occupied")}
    return Estimates(
        crop=np.array(crop, np.int64),
        likely=np.ones(rows, bool),
        chi2=known.get("chi2", np.ones(crops)),
        doubt=known.get("doubt", np.zeros(crops)).astype(np.uint8),
        probability=np.empty((crops, 0)),
        **of_targets,
        **of_crops,
    )


def field_page() -> np.ndarray:
    """The field benchmark's page: one to three targets, and a bright empty peak."""
    numbers, most = np.array([0, 1, 2, 3]), 3
    off = np.array([[-1.5, 0.7], [0.25, -1.0], [1.75, 0.5]])
    samples = Samples(
        regions=np.zeros((4, REGION, REGION)),
        x=np.tile(CENTER + off[:, 0], (4, 1)),
        y=np.tile(CENTER + off[:, 1], (4, 1)),
        intensity=np.tile([700.0, 400.0, 900.0], (4, 1)),
        snr=np.tile([20.0, 12.0, 90.0], (4, 1)),
        present=np.arange(most) < numbers[:, None],
        psf=np.array([0.5, 0.55, 0.6, 0.65]),
        noise=np.array([4.0, 5.0, 3.0, 4.5]),
        on_peak=np.array([True, False, False, False]),
    )
    found = estimates(
        [1, 2, 2, 3],
        4,
        x=[CENTER - 1.4, CENTER - 1.5, CENTER + 0.75, CENTER + 1.0],
        y=[CENTER + 0.6, CENTER + 0.75, CENTER - 1.0, CENTER + 0.1],
        intensity=[650.0, 720.0, 380.0, 1500.0],
        sigma_x=[0.4, nan, 0.2, 0.3],
        sigma_y=[0.2, 0.1, nan, 0.6],
        doubt=[0, 0, 0, 1],
    )
    light = [
        render(
            samples.x[k, :n] - 12, samples.y[k, :n] - 12, samples.intensity[k, :n], (11, 11), 0.6
        )
        for k, n in enumerate(numbers)
    ]
    pixels = (np.array(light) + noisy((4, 11, 11))).astype(np.float32)
    reports = {
        psf_variant(error): field_report(cso_map=30 - k, ap_near=50 + 2 * k, count_accuracy=70.0)
        for k, error in enumerate(PSF_ERRORS)
    }
    answers = Answers(found, pixels, samples.psf, (1, 1, 1))
    return draw_field(replace(RESULT, variants=reports), samples, answers)


def calibration() -> np.ndarray:
    """A calibration with a residual, and points off the line."""
    spots = spots_of(70, 100, TURNED)
    spots.pixels[:, 10, 12] += 0.1 * spots.pixels.max((1, 2))
    level = np.linspace(100.0, 300.0, 99)
    variance = 15 + 0.05 * level + noisy(level.shape, 1)
    noise = noise_of(patches=Patches(np.arange(99), level, variance))
    return draw_calibration(calibration_of(TURNED, spots=spots, noise=noise))


def calibration_without_a_line() -> np.ndarray:
    """Spots of nearly one width; the noise depends on no level."""
    spots = replace(spots_of(3, 10), sigma=np.linspace(0.5, 0.501, 10))
    return draw_calibration(calibration_of(spots=spots, noise=noise_of(reason="one level")))


def calibration_of_nothing() -> np.ndarray:
    """Of a recording without spots and without noise."""
    return draw_calibration(NOTHING)


def demo() -> np.ndarray:
    """The demo's page: seven candidates of which six are enlarged."""
    shape = (96, 120)
    places = [(15, 20), (40, 20), (65, 22), (90, 25), (30, 60), (70, 65), (100, 88)]
    rows = [
        (k, x + 0.3 + 1.2 * i, y - 0.2 - 0.9 * i, 400.0 + 150 * k + 90 * i)
        for k, (x, y) in enumerate(places)
        for i in range(1 + k % 3)
    ]
    cluster, x, y, intensity = map(list, zip(*rows, strict=True))
    truth = TrueFrame("cam0", "00" * 16, 3, TrueTargets(cluster, x, y, intensity))
    seen = [k for k in range(len(rows)) if k % 5 != 3]
    number, count = len(seen), len(places)
    answer = Targets(
        stream="cam0",
        epoch=bytes(16),
        frame_id=3,
        timestamp_ns=0,
        status="ok",
        spots=Spots(
            id=list(range(count)),
            x=[x + 0.5 for x, _ in places],
            y=[float(y) for _, y in places],
            count=[0] * count,
            background=[1000.0] * count,
            noise=[5.0] * count,
            chi2=[1.0] * count,
            flags=[0] * count,
        ),
        targets=TargetTable(
            spot=[cluster[k] for k in seen],
            x=[x[k] + 0.1 for k in seen],
            y=[y[k] - 0.05 * k for k in seen],
            intensity=[1.1 * intensity[k] for k in seen],
            score=[1.0] * number,
            sigma_x=[nan] * number,
            sigma_y=[nan] * number,
            sigma_intensity=[nan] * number,
        ),
        engine=EngineInfo("fake runtime", "fake model", "0" * 64, 0.5),
        timing=Timing(1_000_000, 2_000_000, 3_000_000, 4_000_000, 10_000_000),
    )
    image = 1000 + render(x, y, intensity, shape, 0.5) + noisy(shape, 2)
    return draw_picture(image.astype(np.uint16), truth, answer, "A title")


def crops() -> np.ndarray:
    """Two crops: one with four targets and pixels left out, one with none."""
    x, y, light = [3.2, 4.1, 6.8, 5.0], [4.4, 6.0, 5.1, 2.2], [700.0, 300.0, 900.0, 120.0]
    found = estimates(
        [0, 0, 0, 0],
        1,
        x=x,
        y=y,
        intensity=light,
        score=[0.99, 0.5, 0.75, 0.2],
        sigma_x=[0.05, 0.3, 0.1, nan],
        sigma_y=[0.08, 0.1, 0.2, nan],
        sigma_intensity=[20.0, 35.5, nan, 9.0],
        chi2=[1.25],
        psf_scale=[1.04],
        occupied=[0.987],
        doubt=[int(Doubt.MISFIT)],
    )
    usable = np.ones((11, 11), bool)
    usable[2, 8] = usable[9, 1] = False
    image = render(np.array(x), np.array(y), np.array(light), (11, 11), 0.6, 0.5)
    first = CropView(
        *("spot 3 at (24.1, 41.7)", 19, 36, (2, 9), image + noisy((11, 11), 3), usable),
        *(1012.5, 4.0, SpotFlag.EDGE, (0.6, 0.5), found),
    )
    nothing = estimates([], 1, x=[], y=[])
    second = replace(first, name="spot 4", field=(0, 11), usable=~usable, estimates=nothing)
    return draw_views([first, second], "a recording, frame 7")


def answers() -> np.ndarray:
    """Two frames of unlike shape, one with more candidates than are enlarged."""
    spots = AnswerSpots(
        [20.0, 3.25, 39.0, 30.5, 500.0], [10.0, 28.75, 1.0, 20.25, 5.0], [1, 2, 0, 1, 1],
        [1.26, None, 0.5, 12.0, 1.0], [0, int(SpotFlag.EDGE | SpotFlag.MERGED), 0, 1, 0],
    )  # fmt: skip
    targets = AnswerTargets(
        [0, 1, 1, 3], [20.1, 3.0, 4.5, 31.0], [10.2, 28.0, 27.5, 20.0], [50.0, 30.0, None, 90.0]
    )
    image = render([20.1, 3.0, 31.0], [10.2, 28.0, 20.0], [900.0, 500.0, 700.0], (30, 40), 0.6)
    none = Answer(8, "empty", AnswerSpots([], [], [], [], []), AnswerTargets([], [], [], []))
    frames = [(7, image + noisy((30, 40), 4), Answer(7, "ok", spots, targets))]
    return draw_answers([*frames, (8, noisy((40, 40), 5), none)])


def contact_sheet() -> np.ndarray:
    """A data set's sheet: no target to two."""
    import torch

    from dscsnet.tools.dataset.contact_sheet import draw_sheet
    from dscsnet.tools.simulation.scenes import Scenes

    present = torch.tensor([[False, False], [True, False], [True, True], [True, True]])
    x, y = torch.tensor([4.25, 6.5]).expand(4, 2), torch.tensor([6.0, 3.75]).expand(4, 2)
    light = torch.tensor([300.0, 200.0]) * present
    crops = [render(x[k], y[k], light[k], (11, 11), 0.6) for k in range(4)]
    image = torch.tensor(np.array(crops) + noisy((4, 11, 11), 6)).float()
    return draw_sheet(Scenes(image, x, y, light, present, torch.ones(4)), "a set")


def training_curves() -> Any:
    """Ten runs, so that colours come again; two lack measures, of which one has too many rows."""
    rows = np.arange(1.0, 5.0)
    runs = [
        curves.Curve(
            f"run {k}",
            64_000 * rows,
            200 * rows + k,
            {"loss": 20 / rows**2 + k, "cso_map": 40 + k * rows, "nll": -rows},
        )
        for k in range(8)
    ]
    for rows_of_long in (39, 40):
        many = np.arange(1.0, rows_of_long + 1)
        shown = {"cso_map": 30 + many / 4}
        runs.append(curves.Curve(f"of {rows_of_long}", 5_000 * many, 30 * many, shown))
    return curves._figure(runs)


def long_training() -> Any:
    """One run over so many crops that only powers of ten are written; trained for hours."""
    many = 10.0 ** np.arange(2, 7)
    return curves._figure([curves.Curve("a", many, many / 50, {"loss": many / many[0]})])


def soak() -> Any:
    """Two hours with growth, and a figure that does not move."""
    start = Sample(0.0, 200.0, 30, 16, 1.0, 9, 8, 1, 2, 3, 4, 1.0, 9.0, 30.0)
    samples = [
        replace(start, seconds=600.0 * k, memory_mib=200 + k + k % 2, oldest_ms=float(k % 5))
        for k in range(13)
    ]
    return soak_report._figure(Soak(20.0, 5, samples, 7, []))


#: With OpenCV, and with matplotlib.
DRAWN = (
    *(field_page, calibration, calibration_without_a_line, calibration_of_nothing),
    *(demo, crops, answers, contact_sheet),
)
PICTURES: dict[str, Callable[[], np.ndarray]] = {each.__name__: each for each in DRAWN}
FIGURES: dict[str, Callable[[], Any]] = {
    each.__name__: each for each in (training_curves, long_training, soak)
}


def drawn(name: str) -> tuple[list[Any], np.ndarray]:
    """What is told to OpenCV for a picture, and its thumbnail without text."""
    told: list[Any] = []
    with recording(told):
        picture = PICTURES[name]()
    return [list(picture.shape), *told], thumbnail(picture)


def main() -> None:
    """Write all of them."""
    pictures = {name: drawn(name) for name in PICTURES}
    told: dict[str, Any] = {name: each[0] for name, each in pictures.items()}
    told |= {name: told_of(make()) for name, make in FIGURES.items()}
    lines = [
        f' "{name}": [\n' + ",\n".join(f"  {json.dumps(each)}" for each in calls) + "\n ]"
        if isinstance(calls, list)
        else f' "{name}": {json.dumps(calls)}'
        for name, calls in told.items()
    ]
    TOLD.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    np.savez_compressed(THUMBNAILS, **{name: each[1] for name, each in pictures.items()})


if __name__ == "__main__":
    main()
