"""What is measured of a scene: with answers made by hand, and with the default model's."""

import math
from typing import Any

import numpy as np
import pytest

import dscsnet
from dscsnet.pipeline.messages import SpotFlag
from dscsnet.pipeline.unmix import Result
from dscsnet.pipeline.unmix.columns import SpotColumns, TargetColumns
from dscsnet.tools.robustness.bound import position_bound
from dscsnet.tools.robustness.measure import measure
from dscsnet.tools.robustness.render import Gaussian
from dscsnet.tools.robustness.scenes import Scene, Situation, draw

PAIRS = Situation("group", "pairs", targets=2)


class Told:
    """An unmixer that gives the true targets, changed as a test wants it."""

    def __init__(self, scene: Scene) -> None:
        spots, number = scene.x.shape
        spot = np.repeat(np.arange(spots, dtype=np.int32), number)
        self.columns: dict[str, Any] = {
            "spot": spot,
            "x": scene.x.ravel().copy(),
            "y": scene.y.ravel().copy(),
            "intensity": scene.flux.ravel().copy(),
            **{name: np.full(len(spot), 0.1) for name in ("score", "sigma_x", "sigma_y")},
            "sigma_intensity": np.ones(len(spot)),
        }
        self.flags = np.zeros(spots, np.uint32)
        self.given: dict[str, Any] = {}

    def frame(self, image: Any, x: Any, y: Any, **given: Any) -> Result:
        self.given = given
        number = np.bincount(self.columns["spot"], minlength=len(x))
        zero = np.zeros(len(x))
        spots = SpotColumns(np.arange(len(x)), x, y, number, zero, zero, zero, self.flags)
        return Result(spots, TargetColumns(**self.columns))

    def leave_out(self, *rows: int) -> None:
        for name, column in self.columns.items():
            self.columns[name] = np.delete(column, rows)

    def add(self, spot: int, x: float, y: float) -> None:
        for name, column in self.columns.items():
            new = {"spot": spot, "x": x, "y": y}.get(name, 0.1)
            self.columns[name] = np.append(column, np.asarray(new, column.dtype))


def row_of(told: Any, situation: Situation, scene: Scene) -> Any:
    return measure(told, "model", situation, scene)


@pytest.fixture(name="scene", scope="module")
def _scene() -> Scene:
    return draw(PAIRS, 0)


def test_the_truth_is_right(scene: Scene) -> None:
    row = row_of(Told(scene), PAIRS, scene)
    assert (row.group, row.name, row.model, row.spots) == ("group", "pairs", "model", 361)
    assert (row.right, row.false, row.flagged, row.outside) == (1, 0, 0, 0)
    assert (row.rms, row.flux_bias, row.one_sigma, row.two_sigma) == (0, 0, 1, 1)


def test_errors_are_those_of_the_nearest_true_targets_of_the_spot(scene: Scene) -> None:
    told, rng = Told(scene), np.random.default_rng(1)
    errors = 0.1 * rng.normal(size=(2, 722))
    told.columns["x"] += errors[0]
    told.columns["y"] += errors[1]
    told.columns["intensity"] *= 1.03
    order = rng.permutation(722)
    told.columns = {name: column[order] for name, column in told.columns.items()}
    row = row_of(told, PAIRS, scene)
    assert row.rms == pytest.approx(math.sqrt((errors**2).mean()))
    assert row.over_bound == pytest.approx(row.rms / position_bound(scene, PAIRS.light))
    assert row.one_sigma == pytest.approx((abs(errors) < 0.1).mean())
    assert row.two_sigma == pytest.approx((abs(errors) < 0.2).mean())
    assert row.flux_bias == pytest.approx(0.03)
    assert (row.right, row.false) == (1, 0)


def test_wrong_numbers_and_false_targets_are_counted(scene: Scene) -> None:
    told = Told(scene)
    told.columns["x"][0] += 0.6  # beyond half a pixel: false, and the true one is missed
    told.columns["y"][0] -= 0.3
    told.leave_out(2)
    told.add(5, 40.0, 40.0)
    told.flags[1], told.flags[7] = (
        SpotFlag.NOT_CONVERGED,
        SpotFlag.NOT_CONVERGED | SpotFlag.PSF_MISMATCH,
    )
    told.flags[8] = SpotFlag.EDGE
    row = row_of(told, PAIRS, scene)
    assert row.right == pytest.approx(359 / 361)
    assert row.false == pytest.approx(2 / 361)
    assert row.flagged == pytest.approx(2 / 361)
    # Errors are those of the spots with the right number.
    assert row.rms == 0


def test_targets_of_no_place_in_the_frame_are_outside(scene: Scene) -> None:
    height, width = scene.pixels.shape
    places = [
        (-1.01, 5, 1),
        (-0.99, 5, 0),
        (5, -1.01, 1),
        (width + 0.01, 5, 1),
        (5, height + 0.01, 1),
    ]
    places += [(width - 0.01, height - 0.01, 0), (-2, -2, 1)]
    told = Told(scene)
    for x, y, _ in places:
        told.add(3, x, y)
    assert row_of(told, PAIRS, scene).outside == sum(out for *_, out in places)


def test_without_any_target_there_is_nothing_to_tell(scene: Scene) -> None:
    told = Told(scene)
    told.leave_out(*range(722))
    row = row_of(told, PAIRS, scene)
    assert (row.right, row.false) == (0, 0)
    assert all(math.isnan(each) for each in (row.rms, row.flux_bias, row.one_sigma, row.over_bound))


def test_boxes_are_told_where_there_are_any(scene: Scene) -> None:
    told = Told(scene)
    row_of(told, PAIRS, scene)
    assert told.given == {"width": None, "height": None}
    boxes = draw(Situation("group", "name", box=9.0), 0)
    boxed = Told(boxes)
    row_of(boxed, Situation("group", "name", box=9.0), boxes)
    for side in ("width", "height"):
        np.testing.assert_array_equal(boxed.given[side], np.full(len(boxes.x), 9.0))


def measured(situation: Situation, psf: Any, seed: int = 1) -> Any:
    """By the default model, which is what most programs have."""
    with dscsnet.Unmixer(psf, threads=1) as unmixer:
        return measure(unmixer, "default", situation, draw(situation, seed))


@pytest.mark.parametrize(("angle", "snr"), [(30.0, 50.0), (120.0, 200.0)])
def test_a_turned_ellipse_is_unmixed_to_the_bound(angle: float, snr: float) -> None:
    situation = Situation("ellipse", "singles", Gaussian(0.8, 0.6, angle), snr=snr)
    row = measured(situation, (0.8, 0.6, angle))
    assert row.right > 0.98
    assert 0.85 < row.over_bound < 1.15
    assert abs(row.flux_bias) < 0.01
    assert 0.62 < row.one_sigma < 0.78
    assert 0.92 < row.two_sigma < 0.985


@pytest.mark.parametrize("edge", [(-0.5, 0.0), (0.0, 0.5), (1.0, 2.0)])
def test_stars_at_the_edge_are_in_the_frame(edge: tuple[float, float]) -> None:
    row = measured(Situation("edge", "singles", edge=edge), 0.7)
    assert row.outside == 0
    assert row.right > 0.98
    assert 0.85 < row.over_bound < 1.15
    assert 0.62 < row.one_sigma < 0.78


@pytest.mark.parametrize(("box", "targets"), [(5.0, 1), (12.0, 1), (16.0, 2), (40.0, 1)])
def test_targets_anywhere_in_a_box_are_found(box: float, targets: int) -> None:
    row = measured(Situation("box", "spots", box=box, targets=targets), 0.7)
    assert row.right > 0.97
    assert row.false < 0.03
    assert row.over_bound < 1.2
    assert row.two_sigma > 0.9
