"""The calibration's picture: what is drawn where, and what is said where nothing is known."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dscsnet.tools.calibration import picture as module
from dscsnet.tools.calibration.mean_spot import mean_spot
from dscsnet.tools.calibration.noise import Patches
from dscsnet.tools.calibration.picture import HEAD, MARGIN, SIDE, draw_calibration
from dscsnet.tools.drawing.axes import Axes
from dscsnet.tools.drawing.canvas import BACKGROUND, BOX, QUIET, RESOLVED, TRUTH
from tests.tools.calibration.made_up import NOTHING, calibration_of, noise_of, spots_of

PLACE = (70, 100, 300, 200)


class Told:
    """Calls of the drawing functions, by their names."""

    def __init__(self) -> None:
        self.calls: dict[str, list[tuple[Any, ...]]] = {}

    def __getitem__(self, name: str) -> list[tuple[Any, ...]]:
        return self.calls.get(name, [])

    @property
    def texts(self) -> list[str]:
        return [call[1] for call in self["write"]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    seen = Told()
    for name in ("write", "bars", "curve", "points", "frame_axes"):
        monkeypatch.setattr(
            module,
            name,
            lambda *given, name=name, **_: seen.calls.setdefault(name, []).append(given),
        )
    return seen


def blank() -> np.ndarray:
    return np.full((module.HEIGHT, module.WIDTH, 3), BACKGROUND, np.uint8)


def panels_of(picture: np.ndarray) -> list[np.ndarray]:
    lefts = (MARGIN + place * (SIDE + MARGIN) for place in range(3))
    return [picture[HEAD : HEAD + SIDE, left : left + SIDE] for left in lefts]


def test_spot_and_model_are_alike_and_nothing_is_left(told: Told) -> None:
    picture = blank()
    calibration = calibration_of()
    module._draw_spots(picture, calibration)
    observed, model, residual = panels_of(picture)
    assert observed.max() == model.max() == 255
    # A panel reaches four deviations of 0.5 px to each side: 2 px and the middle one.
    np.testing.assert_array_equal(observed, model)
    assert (residual == BACKGROUND).all()
    assert told.texts == [
        *("mean spot, as observed", "model: Gaussian in pixels"),
        "residual: +-1.0 % of the peak",
    ]
    left = [call[2] for call in told["write"]]
    assert left == [MARGIN, MARGIN + SIDE + MARGIN, MARGIN + 2 * (SIDE + MARGIN)]
    edge = picture[HEAD : HEAD + SIDE, MARGIN + SIDE : 2 * MARGIN + SIDE]
    assert (edge == BACKGROUND).all()


def test_the_largest_residual_has_the_full_colour(told: Told) -> None:
    spots = spots_of(10, 10)
    spots.pixels[:, 10, 12] += 0.1 * spots.pixels.max((1, 2))
    picture = blank()
    module._draw_spots(picture, calibration_of(spots=spots))
    residual = panels_of(picture)[2]
    assert (residual == RESOLVED).all(axis=2).any()
    mean = mean_spot(spots, 2.0)
    share = np.nanmax(mean.observed - mean.model) / np.nanmax(mean.model)
    assert told.texts[2] == f"residual: +-{100 * share:.1f} % of the peak"
    assert share > 0.03


@pytest.mark.parametrize("without", ["psf", "spots"])
def test_without_psf_or_spots_no_spot_is_drawn(told: Told, without: str) -> None:
    calibration = replace(calibration_of(), **{without: None})
    picture = blank()
    module._draw_spots(picture, calibration)
    assert (picture == BACKGROUND).all()
    assert told.texts == ["no mean spot: no PSF"]


def test_orange_above_and_blue_below() -> None:
    found = module._two_sided(np.array([[1.0, -1.0, 0.0, np.nan, 5.0, -5.0, 0.5]]))[0]
    half = np.rint((np.array(BACKGROUND) + np.array(RESOLVED)) / 2)
    expected = [RESOLVED, TRUTH, BACKGROUND, BACKGROUND, RESOLVED, TRUTH]
    assert found[:6].tolist() == [list(colour) for colour in expected]
    np.testing.assert_allclose(found[6], half, atol=1)


def test_widths_of_all_and_of_those_in_use(told: Told) -> None:
    calibration = calibration_of()
    module._draw_widths(blank(), PLACE, calibration.psf, calibration.spots)
    every, used = told["bars"]
    assert (every[3].sum(), used[3].sum()) == (10, 7)
    assert (every[4], used[4]) == (QUIET, RESOLVED)
    edges, axes = every[2], every[1]
    assert len(edges) == 41
    low, high = np.percentile(np.linspace(0.48, 0.6, 10), [1, 98])
    assert axes.x == pytest.approx((low - 0.05 * (high - low), high + 0.05 * (high - low)))
    assert axes.y == (0, pytest.approx(1.1 * every[3].max()))
    assert axes.place == PLACE
    ((_, _, x, y, colour),) = told["curve"]
    assert x == pytest.approx([0.5, 0.5])
    assert y.tolist() == list(axes.y)
    assert colour == TRUTH


def test_the_line_of_the_psf_is_at_the_mean_variance(told: Told) -> None:
    calibration = calibration_of()
    psf = replace(calibration.psf, covariance=np.array([0.2, 0.44, 0.0]))  # type: ignore[type-var]
    module._draw_widths(blank(), PLACE, psf, calibration.spots)
    assert told["curve"][0][2] == pytest.approx([0.32**0.5] * 2)
    module._draw_widths(blank(), PLACE, None, calibration.spots)
    assert len(told["curve"]) == 1


def test_equal_widths_and_none_in_use_have_axes_all_the_same(told: Told) -> None:
    spots = replace(spots_of(0, 5), sigma=np.full(5, 0.5))
    module._draw_widths(blank(), PLACE, None, spots)
    axes = told["bars"][0][1]
    assert axes.x == pytest.approx((0.499, 0.501))
    assert axes.y == (0, 5.5)
    for none in (None, spots_of(0, 0)):
        told.calls.clear()
        module._draw_widths(blank(), PLACE, None, none)
        assert not told["bars"]
        ((_, axes, below, above),) = told["frame_axes"]
        assert (axes.x, axes.y, axes.place) == ((0, 1), (0, 1), PLACE)
        assert "width of each spot" in below
        assert above == "spots"


def test_variance_against_level(told: Told) -> None:
    module._draw_noise(blank(), PLACE, noise_of())
    every, medians = told["points"]
    assert (len(every[2]), every[4], every[5]) == (50, QUIET, 1)
    assert (len(medians[2]), medians[4], medians[5]) == (24, BOX, 4)
    axes = every[1]
    assert axes.x == (94, 306)
    assert axes.y == (0, pytest.approx(1.2 * (15 + 0.05 * np.percentile([100, 300], 95))))
    ((_, _, x, y, colour),) = told["curve"]
    assert (x.tolist(), y.tolist(), colour) == ([100, 300], [20, 30], TRUTH)


@pytest.mark.parametrize("changes", [{"reason": "why"}, {"line": None}])
def test_without_a_line_the_noise_is_level(told: Told, changes: dict[str, Any]) -> None:
    module._draw_noise(blank(), PLACE, noise_of(**changes))
    assert told["curve"][0][3].tolist() == [25, 25]


def test_of_many_patches_some_are_drawn(told: Told) -> None:
    for number, drawn in ((4000, 4000), (7999, 7999), (8000, 4000), (12_001, 4001)):
        told.calls.clear()
        level = np.linspace(1, 2, number)
        module._draw_noise(
            blank(), PLACE, noise_of(patches=Patches(np.arange(number), level, level))
        )
        assert len(told["points"][0][2]) == drawn
    module._draw_noise(blank(), PLACE, noise_of(patches=Patches(np.arange(3), *np.ones((2, 3)))))
    assert told["frame_axes"][-1][1].x == pytest.approx((1 - 3e-8, 1 + 3e-8), abs=1e-12)


def test_medians_are_of_patches_of_like_level() -> None:
    random = np.random.default_rng(0).permutation(240)
    middle, variance = module._binned(Patches(np.arange(240), random + 0.0, random**2 + 0.0))
    assert middle.tolist() == [10 * k + 4.5 for k in range(24)]
    inner = [((10 * k + 4) ** 2 + (10 * k + 5) ** 2) / 2 for k in range(24)]
    assert variance.tolist() == inner
    few = module._binned(Patches(np.arange(2), np.array([5.0, 3.0]), np.array([1.0, 2.0])))
    assert [column.tolist() for column in few] == [[3, 5], [2, 1]]


def test_without_noise_it_says_so(told: Told) -> None:
    module._draw_noise(blank(), PLACE, None)
    assert not told["points"]
    ((_, axes, _, above),) = told["frame_axes"]
    assert (axes.x, axes.y) == ((0, 1), (0, 1))
    assert above.endswith("none seen")


def test_the_subtitle_has_the_psf_or_why_there_is_none() -> None:
    assert module._subtitle(calibration_of()) == (
        "a  recording: sigma x 0.5000 +- 0.0010, y 0.5000 +- 0.0010 px, from 7 spots of 4 objects"
    )
    assert "from 0 spots" in module._subtitle(calibration_of(spots=None))
    assert module._subtitle(NOTHING) == (
        "a  recording: the PSF cannot be told: no spots: nothing compact"
    )
    assert module._plain("5 µm") == "5 ?m"


def test_plots_lie_side_by_side_below_the_panels(told: Told) -> None:
    picture = draw_calibration(calibration_of())
    assert picture.shape == (96 + 300 + 72 + 300 + 72 + 30, 30 + 3 * 330, 3)
    places = [call[1].place for call in told["frame_axes"]]
    (left, top, width, height), (right, *same) = places
    assert same == [top, width, height]
    assert (left, top, height) == (70, 96 + 300 + 72, 300)
    assert right == left + width + MARGIN + 70  # room for the numbers beside the second
    assert right + width <= picture.shape[1] - MARGIN
    assert all(isinstance(call[1], Axes) for call in told["frame_axes"])
    draw_calibration(NOTHING)
