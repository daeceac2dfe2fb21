"""photutils beside ours: a photutils that is played, and none at all."""

import sys
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dscsnet.tools.bench.in_turn import Speed
from dscsnet.tools.peers import photometry as module
from dscsnet.tools.peers.easy_crops import easy_crops
from dscsnet.tools.peers.photometry import compare_photometry, photutils_finders

CROPS = easy_crops(4)
TOLD = "PSFPhotometry told positions +0.2 px"
FOUND = ("DAOStarFinder + PSFPhotometry", "DAOStarFinder + IterativePSFPhotometry")


@pytest.fixture(autouse=True)
def _no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def speeds(runs: Mapping[str, Callable[[], object]], number: int) -> dict[str, Speed]:
        assert number == len(CROPS.batch)
        return {name: Speed(10.0, 5.0) for name in runs}

    monkeypatch.setattr(module, "speeds_in_turn", speeds)


@pytest.fixture(name="made")
def _made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any, dict[str, Any]]]:
    """What was made of a photutils that fits what it is told, and else finds one star and a NaN."""
    made: list[tuple[str, Any, dict[str, Any]]] = []

    def named(name: str) -> Callable[..., Any]:
        def make(*given: Any, **more: Any) -> Any:
            made.append((name, given, more))

            def fit(pixels: Any, *, error: Any, init_params: Any) -> Any:
                warnings.warn("it may not have converged", stacklevel=1)
                assert pixels.shape == error.shape == (11, 11)
                assert set(error.ravel()) == {5}
                if init_params is not None:
                    return {f"{axis}_fit": init_params[axis] - 0.2 for axis in "xy"}
                if more["finder"] is None or name == "PSFPhotometry":
                    return None
                return {"x_fit": [5.0, np.nan, 1.0], "y_fit": [5.0, 1.0, np.inf]}

            return fit

        return make

    parts = {
        "photutils": {},
        "photutils.detection": {"DAOStarFinder": named("DAOStarFinder")},
        "photutils.psf": {
            name: named(name)
            for name in (
                *("CircularGaussianPRF", "IterativePSFPhotometry"),
                *("PSFPhotometry", "SourceGrouper"),
            )
        },
        "astropy": {},
        "astropy.table": {"QTable": dict},
    }
    for name, holds in parts.items():
        fake = ModuleType(name)
        fake.__dict__.update(holds, __spec__=SimpleNamespace())
        monkeypatch.setitem(sys.modules, name, fake)
    return made


def test_what_it_finds_and_what_it_is_told(made: list[tuple[str, Any, dict[str, Any]]]) -> None:
    finders = photutils_finders(CROPS)
    assert list(finders) == [*FOUND, TOLD]
    assert CROPS.score(finders[TOLD]()) == (1, 1)
    assert [len(x) for x, _ in finders[FOUND[0]]()] == [0] * 4
    for x, y in finders[FOUND[1]]():
        np.testing.assert_array_equal([x, y], [[5], [5]])
    more = {name: given for name, _, given in made}
    assert more["CircularGaussianPRF"] == {"fwhm": pytest.approx(2.35482 * 0.5, rel=1e-5)}
    assert more["DAOStarFinder"]["threshold"] == 25
    assert more["IterativePSFPhotometry"]["mode"] == "all"


@pytest.mark.usefixtures("made")
def test_it_stands_below_ours_with_what_it_found() -> None:
    comparison = compare_photometry(CROPS)
    names = [row.name for row in comparison.rows]
    assert names == ["field-unfolded", "psf-fit", *FOUND, TOLD]
    assert comparison.missing == []
    figures = {row.name: row.figures for row in comparison.rows}
    assert figures[TOLD] == ("100.0", "given")
    assert figures[FOUND[0]] == ("0.0", "0")
    assert comparison.ahead(comparison.rows[-1]) == [1, 1]


def test_without_it_ours_are_measured_and_a_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "photutils", None)
    comparison = compare_photometry(CROPS)
    assert [row.name for row in comparison.rows] == list(comparison.references)
    assert comparison.missing == [
        "photutils: left out, photutils not installed: pip install photutils"
    ]
    for row in comparison.rows:
        found, number = row.figures
        assert (found, int(number) >= 75) == ("100.0", True)
