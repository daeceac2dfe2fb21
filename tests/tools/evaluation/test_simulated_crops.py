"""An engine over simulated crops: how many at a time, how fast, with which noise."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.engine import CropBatch  # noqa: E402
from dscsnet.engines.errors import DscsnetError  # noqa: E402
from dscsnet.engines.estimates import Estimates  # noqa: E402
from dscsnet.engines.geometry import Grid  # noqa: E402
from dscsnet.engines.sensor import Sensor  # noqa: E402
from dscsnet.tools.evaluation import simulated_crops as module  # noqa: E402
from dscsnet.tools.simulation.csist import CropProtocol  # noqa: E402
from dscsnet.tools.simulation.scenes import Scenes  # noqa: E402


class Silent:
    """Finds nothing; keeps what it is given, and takes half a second each time."""

    name, grid, sensor = "silent", Grid(), Sensor.gaussian(0.5, 0.6)

    def __init__(self) -> None:
        self.batches: list[CropBatch] = []
        self.now = 100.0

    def run(self, batch: CropBatch) -> dict[str, Any]:
        self.batches.append(batch)
        self.now += 0.5
        return {}

    def read(self, _outputs: object, batch: CropBatch) -> Estimates:
        columns = vars(Estimates.none()) | {
            "chi2": np.ones(len(batch)),
            "doubt": np.zeros(len(batch), np.uint8),
            "psf_scale": np.ones(len(batch)),
            "occupied": np.ones(len(batch)),
            "probability": np.empty((len(batch), 0)),
        }
        return Estimates(**columns)


def scenes_of(number: int) -> Scenes:
    column = torch.full((number, 1), 5.0)
    crops = torch.arange(number).float()[:, None, None] * torch.ones(11, 11)
    return Scenes(crops, column, column, column * 10, column > 0, torch.full((number,), 2.0))


@pytest.mark.parametrize("rest", [0, 3])
def test_crops_come_in_batches_with_their_noise(monkeypatch: pytest.MonkeyPatch, rest: int) -> None:
    engine: Any = Silent()
    monkeypatch.setattr(module, "time", SimpleNamespace(process_time=lambda: engine.now))
    number = module.BATCH + rest
    report = module.evaluate_scenes(engine, scenes_of(number))
    assert [len(batch) for batch in engine.batches] == [module.BATCH, rest][: 1 + bool(rest)]
    assert report.crops_per_s == pytest.approx(number / (0.5 * len(engine.batches)))
    pixels = np.concatenate([batch.pixels for batch in engine.batches])
    assert pixels[:, 3, 4].tolist() == list(range(number))
    first = engine.batches[0]
    # The noise of rounding to whole counts comes on top.
    np.testing.assert_allclose(first.noise, np.sqrt(4 + 1 / 12), rtol=1e-6)
    np.testing.assert_allclose(first.psf, np.tile([0.5, 0.6], (len(first), 1)), rtol=1e-6)
    assert first.usable.all()


def test_a_run_that_took_no_time_has_a_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(process_time=lambda: 7.0))
    silent: Any = Silent()
    assert module.evaluate_scenes(silent, scenes_of(2)).crops_per_s == pytest.approx(2e9)


class Told(Silent):
    """Answers with rows of crop, x, y, intensity, sigma_x, sigma_y, sigma_intensity and score."""

    def __init__(self, rows: list[tuple[float, ...]], doubted: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.rows, self.doubted = np.array(rows, float).reshape(-1, 8), list(doubted)

    def read(self, _outputs: object, batch: CropBatch) -> Estimates:
        crop, x, y, intensity, sigma_x, sigma_y, sigma_intensity, score = self.rows.T
        doubt = np.zeros(len(batch), np.uint8)
        doubt[self.doubted] = 1
        return Estimates(
            crop=crop.astype(np.int64),
            x=x,
            y=y,
            intensity=intensity,
            likely=np.ones(len(crop), bool),
            score=score,
            sigma_x=sigma_x,
            sigma_y=sigma_y,
            sigma_intensity=sigma_intensity,
            chi2=np.ones(len(batch)),
            doubt=doubt,
            psf_scale=np.ones(len(batch)),
            occupied=np.ones(len(batch)),
            probability=np.empty((len(batch), 0)),
        )


NAN = np.nan


def true_scenes() -> Scenes:
    """Crops with a target, with two on one column, with none, and with two on one row."""
    x = torch.tensor([[4.0, 5], [6, 6], [5, 5], [3, 7]])
    y = torch.tensor([[5.0, 5], [4, 7], [5, 5], [6, 6]])
    present = torch.tensor([[1, 0], [1, 1], [0, 0], [1, 1]]).bool()
    intensity = torch.tensor([[100.0, 0], [100, 200], [0, 0], [50, 100]])
    return Scenes(torch.zeros(4, 11, 11), x, y, intensity, present, torch.zeros(4))


#: 0.3 px off along x; exact and 0.4 px off along y; a false one; one of two, 0.2 px off along both.
ANSWERS = [
    (0, 4.3, 5.0, 110.0, 0.25, 0.2, 8.0, 0.9),
    (1, 6.0, 4.0, 80.0, 0.1, 0.1, 15.0, 0.8),
    (1, 6.0, 7.4, 210.0, 0.1, 0.1, 15.0, 0.7),
    (2, 2.0, 2.0, 90.0, 0.1, 0.1, 15.0, 0.1),
    (3, 7.2, 6.2, 120.0, 0.1, 0.1, 5.0, 0.6),
]


def test_figures_worked_out_by_hand() -> None:
    engine: Any = Told(ANSWERS, doubted=(2,))
    report = module.evaluate_scenes(engine, true_scenes())
    overall = report.overall
    assert (overall.crops, overall.recall, overall.count_accuracy) == (4, 0.8, 0.5)
    squares = 0.3**2 + 0.4**2 + 0.2**2 + 0.2**2
    assert overall.position_rms == pytest.approx(np.sqrt(squares / 4))
    assert overall.intensity_error == pytest.approx(np.median([0.1, 0.2, 0.05, 0.2]))
    assert report.doubted == 0.25
    # Of the crops with the right number: pulls along x of 1.2, 0 and 0, along y of 0, 0 and 4.
    assert report.coverage == pytest.approx((4 / 6, 5 / 6))
    # Their intensities are off by 10, 20 and 10 counts.
    assert report.intensity_coverage == pytest.approx((1 / 3, 1.0))
    by_count = report.by_count
    assert sorted(by_count) == [0, 1, 2]
    assert (by_count[1].crops, by_count[1].recall, by_count[1].count_accuracy) == (1, 1.0, 1.0)
    assert by_count[1].position_rms == pytest.approx(0.3)
    assert by_count[1].intensity_error == pytest.approx(0.1)
    assert (by_count[2].crops, by_count[2].recall, by_count[2].count_accuracy) == (2, 0.75, 0.5)
    assert (by_count[0].crops, by_count[0].count_accuracy) == (1, 0.0)
    assert np.isnan(by_count[0].recall)
    assert np.isnan(by_count[0].position_rms)


def test_an_estimate_half_a_pixel_off_is_found_and_none_beyond() -> None:
    for away, found in ((0.5, 0.2), (0.51, 0.0)):
        engine: Any = Told([(0, 4.0 + away, 5.0, 100.0, NAN, NAN, NAN, 0.5)])
        report = module.evaluate_scenes(engine, true_scenes())
        assert report.overall.recall == pytest.approx(found)


def test_without_sigmas_the_rank_is_the_intensity() -> None:
    """Only the second is within every distance: the fourth by its score, the last by intensity."""
    rows = [(*row[:4], NAN, NAN, NAN, 1 - row[7]) for row in ANSWERS]
    grid: Any = Told(rows)
    report = module.evaluate_scenes(grid, true_scenes())
    assert report.precision == report.by_intensity
    assert np.isnan(report.coverage).all()
    assert np.isnan(report.intensity_coverage).all()
    off_grid: Any = Told([(*row[:7], 1 - row[7]) for row in ANSWERS])
    ranked = module.evaluate_scenes(off_grid, true_scenes())
    assert ranked.by_intensity == report.by_intensity
    # One of five targets, at a precision of one in four by score and of one in five otherwise.
    assert ranked.precision.cso_map == pytest.approx(100 / 5 / 4)
    assert ranked.by_intensity.cso_map == pytest.approx(100 / 5 / 5)


def test_figures_of_a_card_are_rounded_percentages() -> None:
    engine: Any = Told(ANSWERS)
    figures = module.evaluate_scenes(engine, true_scenes()).figures()
    assert figures["count_accuracy"] == 50.0
    assert figures["recall_half_pixel"] == 80.0
    assert figures["position_rms_px"] == 0.2872
    assert figures["intensity_error_percent"] == 15.0
    assert figures["position_within_1_sigma"] == 66.7
    assert figures["position_within_2_sigma"] == 83.3
    assert figures["intensity_within_1_sigma"] == 33.3
    assert figures["intensity_within_2_sigma"] == 100.0
    assert [name for name in figures if name.startswith("ap")] == [
        *("ap05", "ap10", "ap15", "ap20", "ap25"),
    ]
    assert figures["cso_map"] == pytest.approx(
        np.mean([figures[f"ap{k:02d}"] for k in (5, 10, 15, 20, 25)]), abs=0.011
    )
    silent: Any = Silent()
    assert "position_within_1_sigma" not in module.evaluate_scenes(silent, true_scenes()).figures()


def test_crops_of_another_size_are_refused() -> None:
    scenes = true_scenes()
    small = Scenes(
        torch.zeros(4, 9, 9), scenes.x, scenes.y, scenes.intensity, scenes.present, scenes.noise
    )
    silent: Any = Silent()
    with pytest.raises(DscsnetError, match="the crops are 9x9 px, but silent takes 11x11"):
        module.evaluate_scenes(silent, small)


def test_a_noise_can_take_the_place_of_the_protocols() -> None:
    silent: Any = Silent()
    for noise in (0.0, 3.0):
        silent.batches.clear()
        module.evaluate(silent, CropProtocol(), crops=20, seed=1, noise=noise)
        (batch,) = silent.batches
        np.testing.assert_allclose(batch.noise, np.hypot(noise, 12**-0.5), rtol=1e-6)
    silent.batches.clear()
    module.evaluate(silent, CropProtocol(noise=(2.0, 2.0), noise_free=0.0), crops=20, seed=1)
    np.testing.assert_allclose(silent.batches[0].noise, np.hypot(2, 12**-0.5), rtol=1e-6)


def test_a_pull_of_just_one_or_two_is_within() -> None:
    assert module._coverage(np.array([1.0, -2.0, 0.5, 3.0])) == (0.5, 0.75)
    assert module._coverage(np.array([np.nan, 1.0])) == (0.5, 0.5)
