"""When spots tell no PSF, or a doubtful one: each limit from both sides."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dscsnet.pipeline.sources import SourceFrame
from dscsnet.tools.calibration import calibration as module
from dscsnet.tools.calibration.combine import Consensus
from dscsnet.tools.calibration.result import CalibrationSettings, Psf
from dscsnet.tools.calibration.sieve import NOT_GAUSSIAN
from tests.tools.calibration.made_up import noise_of


def consensus(scatter: float = 0.0) -> Consensus:
    ones = np.ones(1)
    return Consensus(np.array([0.25, 0.25, 0.0]), np.eye(3) * 1e-8, scatter, ones, ones > 0)


def used(number: int, all_of_them: int) -> np.ndarray:
    return np.arange(all_of_them) < number


@pytest.mark.parametrize(
    ("number", "all_of_them", "scatter", "words"),
    [
        (5, 50, 0.0, ""),
        (4, 8, 0.0, "only 4 of 8 spots agree"),
        (5, 51, 0.0, "only 5 of 51 spots agree"),
        # Half of the spots or more may scatter by 8 %, fewer by 3 %.
        (20, 40, 0.08, ""),
        (20, 40, 0.081, "scatter by 8 %"),
        (19, 40, 0.03, ""),
        (19, 40, 0.031, "scatter by 3 %"),
    ],
)
def test_spots_disagree(number: int, all_of_them: int, scatter: float, words: str) -> None:
    told = module._disagreement(consensus(scatter), used(number, all_of_them), 0.03)
    assert words in told
    assert bool(told) == bool(words)


def test_shapes_that_scatter_by_more_than_three_per_cent_are_no_points() -> None:
    told = module._disagreement(consensus(), used(50, 50), 0.031)
    assert "the shapes of the spots scatter by 3 %" in told
    assert "unresolved pairs" in told


GOOD = Psf(np.array([0.25, 0.25, 0.0]), np.eye(3) * 1e-8, 0.03, 0.03)


def turned(angle: float, long: float = 0.8, short: float = 0.5) -> Psf:
    """An ellipse whose long axis is turned from x towards y, degrees."""
    radians = math.radians(angle)
    axis = np.array([math.cos(radians), math.sin(radians)])
    across = np.array([-axis[1], axis[0]])
    matrix = long**2 * np.outer(axis, axis) + short**2 * np.outer(across, across)
    return replace(GOOD, covariance=np.array([matrix[0, 0], matrix[1, 1], matrix[0, 1]]))


@pytest.mark.parametrize(
    ("psf", "number", "objects", "odd", "words"),
    [
        (GOOD, 50, 5, 50, []),
        (GOOD, 50, 1, 0, ["all 50 spots are of one object"]),
        (GOOD, 50, 2, 0, ["only 2 objects"]),
        (GOOD, 50, 4, 0, ["only 4 objects"]),
        (GOOD, 49, 5, 0, ["only 49 of 100 spots are of the narrow mode"]),
        (replace(GOOD, scatter=0.031), 50, 5, 0, ["scatter by 3 %"]),
        (GOOD, 50, 5, 51, [f"51 spots are {NOT_GAUSSIAN}"]),
        (replace(GOOD, misfit=0.031), 50, 5, 0, ["differs by 3.1 % of its peak"]),
        (replace(GOOD, misfit=math.nan), 50, 5, 0, []),
        (replace(GOOD, covariance=np.array([0.35**2, 0.5**2, 0])), 50, 5, 0, []),
        (replace(GOOD, covariance=np.array([0.349**2, 0.5**2, 0])), 50, 5, 0, ["undersampled"]),
        (replace(GOOD, covariance=np.array([0.5**2, 0.349**2, 0])), 50, 5, 0, ["undersampled"]),
        (replace(turned(45.0), scatter=0.05), 50, 3, 0, ["only 3", "scatter"]),
    ],
)
def test_a_psf_is_doubtful(psf: Psf, number: int, objects: int, odd: int, words: list[str]) -> None:
    told = list(module._doubts(psf, used(number, 100), objects, Counter({NOT_GAUSSIAN: odd})))
    assert len(told) == len(words)
    assert all(part in line for part, line in zip(words, told, strict=True))


def test_an_ellipse_is_turned_where_its_covariance_is_beyond_three_errors() -> None:
    psf = turned(30.0)
    for errors, expected in ((2.99, False), (3.01, True)):
        error = psf.error.copy()
        error[2, 2] = (psf.covariance[2] / errors) ** 2
        assert replace(psf, error=error).is_turned == (expected and psf.elliptical)
    assert psf.elliptical
    assert not turned(45.0, 0.5001, 0.5).is_turned  # no ellipse, within its errors


def test_of_too_few_spots_the_commonest_reason_is_told_first() -> None:
    dropped = Counter({"too faint": 2, "saturated": 3, "bad pixels": 0})
    assert module._too_few(4, dropped).startswith(
        "only 4 isolated spots that are single Gaussians, at least 5 are needed "
        "(3 saturated, 2 too faint); record more frames"
    )
    assert "(nothing else is there)" in module._too_few(0, Counter())
    wide = "wider than 5.2 px"
    for faint, said in ((2, True), (3, True), (4, False)):
        told = module._too_few(0, Counter({wide: 3, "too faint": faint}))
        assert told.startswith("the spots are wider") == said
        assert f"3 {wide}" in told


@pytest.mark.parametrize(
    ("highest", "whole", "expected"),
    [
        *((2.0**bits - 1, True, 2.0**bits - 1) for bits in range(8, 17)),
        *((2.0**bits - 1, True, None) for bits in (7, 17)),
        *((4094.0, True, None), (4096.0, True, None), (4095.0, False, None)),
    ],
)
def test_full_scale_is_that_of_8_to_16_bits(
    highest: float, whole: bool, expected: float | None
) -> None:
    assert module._full_scale(module._Extremes(3, highest, whole)) == expected


def frames_of(*pixels: np.ndarray) -> list[SourceFrame]:
    return [SourceFrame(k, each, None) for k, each in enumerate(pixels)]


def test_what_the_first_pass_sees() -> None:
    whole = [np.full((2, 2), value, np.uint16) for value in (90, 7, 30)]
    seen, told = module._Extremes(), []
    assert len(list(module._watched(frames_of(*whole), 2, seen, told.append))) == 2  # type: ignore[arg-type]
    assert told == [1, 2]
    assert (seen.frames, seen.highest, seen.whole_counts) == (2, 90, True)
    mixed = module._Extremes()
    parts = [whole[1], np.full((2, 2), 99.5), whole[0]]
    list(module._watched(frames_of(*parts), 9, mixed, lambda _frames: None))  # type: ignore[arg-type]
    assert (mixed.frames, mixed.highest, mixed.whole_counts) == (3, 7, False)


class Played:
    """A source of flat frames that can be read again."""

    description = "played"

    def __init__(self, number: int, frame_count: int | None) -> None:
        self.number, self.frame_count = number, frame_count

    def __iter__(self) -> Iterator[SourceFrame]:
        return iter(frames_of(*[np.full((40, 40), 7, np.uint16)] * self.number))


@pytest.mark.parametrize(
    ("told", "measured", "gain"),
    [(None, 20.0, 20.0), (3.0, 20.0, 3.0), (None, math.nan, None), (None, None, None)],
)
def test_the_gain_is_the_one_told_or_else_the_one_measured(
    monkeypatch: pytest.MonkeyPatch,
    told: float | None,
    measured: float | None,
    gain: float | None,
) -> None:
    given: list[tuple[Any, ...]] = []
    noise = None if measured is None else noise_of(gain=measured)
    monkeypatch.setattr(module, "measure_noise", lambda frames: [*frames] and noise)
    monkeypatch.setattr(
        module, "_measure_psf", lambda spots, settings, whole, result: given.append(settings)
    )
    module.calibrate(Played(2, 2), CalibrationSettings(gain=told))  # type: ignore[arg-type]
    assert [settings.gain for settings in given] == [gain]


@pytest.mark.parametrize(
    ("frame_count", "most", "total"), [(4, 300, 8), (4, 3, 6), (None, 300, None), (None, 2, None)]
)
def test_both_passes_are_told_as_one(frame_count: int | None, most: int, total: int | None) -> None:
    told: list[tuple[int, int | None]] = []
    source: Any = Played(4, frame_count)
    result = module.calibrate(
        source, CalibrationSettings(frames=most), lambda *given: told.append(given)
    )
    assert told == [(k, total) for k in range(1, 2 * min(4, most) + 1)]
    assert (result.frames, result.found, result.psf) == (min(4, most), 0, None)
    assert result.problem == module.NO_SPOTS


def test_the_smallest_window_that_reaches_far_enough_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 6, 9, 12, 15 px the first with 3.5 deviations within its border of 2 px."""
    asked: list[tuple[int, int]] = []
    width = 0.0

    def fit_isolated(
        spots: Any, half: int, *_how: object, missed: float
    ) -> tuple[Any, Counter[str]]:
        asked.append((len(spots), half))
        number = 5 if half >= 6 + 3 * (width == 0.4) else 4  # of a narrow PSF too few at first
        shapes = np.tile([width**2, 0.1, 0.0], (number, 1))
        errors = np.tile(np.eye(3) * 1e-8, (number, 1, 1))
        fitted = SimpleNamespace(
            pixels=np.zeros(number), shapes=lambda: (shapes, errors), track=np.arange(number)
        )
        return fitted, Counter()

    class Many(SimpleNamespace):
        def take(self, rows: np.ndarray) -> list[int]:
            contrast: np.ndarray = self.contrast
            assert contrast[rows].min() >= 100  # the brightest
            return rows.tolist()

        def __len__(self) -> int:
            return 500

    monkeypatch.setattr(module, "fit_isolated", fit_isolated)
    many: Any = Many(contrast=np.arange(500.0))
    settings = CalibrationSettings()
    for width, halves in (  # noqa: B007 - read by the played fit
        *((4 / 3.5 - 0.01, [6, 6]), (4 / 3.5 + 0.01, [6, 9, 9])),
        *((7 / 3.5 - 0.01, [6, 9, 9]), (7 / 3.5 + 0.01, [6, 9, 12, 12])),
        *((10 / 3.5 + 0.01, [6, 9, 12, 15, 15]), (3.8, [6, 9, 12, 15, 15]), (0.4, [6, 9, 9])),
    ):
        asked.clear()
        module._fit_in_window(many, settings, True)
        assert [half for _, half in asked] == halves
        assert [number for number, _ in asked] == [400] * (len(halves) - 1) + [500]


@pytest.mark.parametrize(
    ("members", "rounds", "in_use"),
    [
        # Of 4 tracks: of the first look, and of each round about the common shape.
        ([[1, 0.011, 0.01, 1], [1, 1, 1], [1, 0.6, 1], [0.51, 0.5, 1]], [3, 3, 3], [0, 3]),
        ([[1, 0, 0, 1], [0.4, 0.8]], [2, 2, 2], [3]),
        ([[0.01, 0, 0, 0.01]], [], []),
        ([[0, 0.9, 0.9, 0], [0.9, 0.01], [0.01]], [2, 1], []),
    ],
    ids=["three rounds", "fewer tracks", "none possible", "none left"],
)
def test_tracks_agree_in_three_rounds(
    monkeypatch: pytest.MonkeyPatch,
    members: list[list[float]],
    rounds: list[int],
    in_use: list[int],
) -> None:
    """In each only those stay in the game that are of the mode with over 1 %."""
    track = np.array([0, 0, 1, 1, 2, 2, 3, 3])  # two spots of each
    given, refits = iter(members), []
    last: list[float] = []

    class Fitted(SimpleNamespace):
        def shapes(self) -> tuple[np.ndarray, np.ndarray]:
            return np.arange(8), np.arange(8)

        def take(self, keep: np.ndarray) -> "Fitted":
            return Fitted(track=self.track[keep])

        def refit(self, shape: str) -> int:
            assert shape == "common"
            refits.append(len(np.unique(self.track)))
            return 0

    def agree(tracks: Any) -> Any:
        nonlocal last
        last = (next(given, last) + [0.0] * 4)[: len(tracks.number)]
        alike = np.arange(len(last)) != 1
        return SimpleNamespace(member=np.array(last), covariance=0, alike=alike)

    monkeypatch.setattr(module, "log_widths", lambda *_: (0, 0))
    monkeypatch.setattr(module, "light_covariances", lambda fits: (0, 0))
    monkeypatch.setattr(module, "shape_of", lambda covariance: "common")
    monkeypatch.setattr(
        module, "mean_tracks", lambda _s, _e, track: SimpleNamespace(number=np.unique(track))
    )
    monkeypatch.setattr(module, "agree", agree)
    monkeypatch.setattr(module, "_table", lambda fitted, shape, used, widths: used)
    # Shapes are compared of all tracks that have the mode's width at first.
    monkeypatch.setattr(module, "shape_scatter", lambda shapes, _errors: shapes.tolist())
    fitted: Any = Fitted(track=track)
    _, chosen, table, scatter = module._agree(fitted)
    assert scatter == [0, 1, 4, 5, 6, 7]
    assert refits == rounds
    np.testing.assert_array_equal(chosen, np.isin(track, in_use))
    assert table is chosen
