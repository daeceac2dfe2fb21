"""What of the settings and arrays of a refinement reaches the compiled loop."""

from typing import Any

import numpy as np
import pytest

from dscsnet.engines.fitting import RefineSettings, Slots, refinement
from dscsnet.engines.fitting.psf import NO_TABLE
from dscsnet.engines.fitting.spline import PsfTable
from dscsnet.engines.noise_model import USUAL_NOISE, NoiseModel


def test_settings_become_numbers_of_the_compiled_types() -> None:
    told = RefineSettings(
        steps=9,
        tolerance=0,
        prior_scale=3,
        width_prior=0.1,
        background_prior=10,
        window_sigmas=4,
        window_margin=2,
        alternatives=5,
        least_probability=0,
        count_penalty=1,
        starts=7,
        hard_chi2=2,
        hard_margin=3,
    )
    for judged in (False, True):
        options = refinement._options(told, widens=refinement._widens(NO_TABLE), judged=judged)
        expected = (9, 0.0, 3.0, 0.01, 100.0, 4.0, 2.0, 5, 0.0, 1.0, 2.0, 3.0, judged)
        assert options == pytest.approx(expected)
        assert [type(each) for each in options] == [type(each) for each in expected]
    held = refinement._options(RefineSettings(width_prior=0), widens=True, judged=False)
    assert held.width_precision == 0.0


@pytest.mark.parametrize(("widths", "precision"), [(9, 100.0), (1, 0.0)])
def test_the_width_is_held_where_the_table_knows_one_only(widths: int, precision: float) -> None:
    table = PsfTable(np.zeros((9, 9, widths)), 1, 4.0)
    options = refinement._options(
        RefineSettings(width_prior=0.1), widens=refinement._widens(table), judged=False
    )
    assert options.width_precision == pytest.approx(precision)


def call(monkeypatch: pytest.MonkeyPatch, starts: int, **given: Any) -> tuple[Any, Any]:
    """What the compiled loop is given, and the refined answer of no fit at all."""
    told: list[Any] = []

    def loop(*arguments: Any) -> Any:
        told.extend(arguments)
        n, slots = 3, 2
        return refinement_results(n, slots)

    monkeypatch.setattr(refinement, "refine_crops", loop)
    columns = np.arange(36.0).reshape(6, 3, 2)
    found = refinement.refine(
        np.zeros((3, 5, 5), np.float32),
        np.ones((3, 5, 5), bool),
        np.ones(3, np.float32),
        np.full((3, 2), 0.5, np.float32),
        Slots(*columns),
        np.zeros((3, 4)),
        RefineSettings(starts=starts),
        **given,
    )
    return told, found


def refinement_results(number: int, slots: int) -> Any:
    from dscsnet.engines.fitting.refine_crops import Results

    columns = np.random.default_rng(0).random((6, number, slots))
    rest = [np.full(number, float(k)) for k in range(4)]
    return Results(
        np.arange(number),
        columns,
        np.full((number, slots), 9.0),
        *rest,
        np.zeros((number, 4)),
        np.arange(number) == 1,
    )


def test_columns_go_in_and_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    told, found = call(monkeypatch, 4)
    np.testing.assert_array_equal(told[4], np.arange(36.0).reshape(6, 3, 2))
    np.testing.assert_array_equal(told[7], np.random.default_rng(0).normal(size=(3, 2, 3)))
    assert not told[6].judged
    assert found.features.shape == (3, 0)
    names = ("x", "y", "log_intensity", "sigma_x", "sigma_y", "sigma_log_intensity")
    columns = refinement_results(3, 2).slots
    for name, column in zip(names, columns, strict=True):
        np.testing.assert_array_equal(getattr(found, name), column)
    assert (found.covariance_xy == 9).all()
    rest = (found.chi2, found.psf_factor, found.sigma_psf_factor, found.level)
    assert [each[0] for each in rest] == [0, 1, 2, 3]
    assert found.count.tolist() == [0, 1, 2]
    assert found.probability.shape == (3, 4)
    assert found.alone.tolist() == [False, True, False]
    assert told[8] is NO_TABLE
    assert told[9] == USUAL_NOISE
    np.testing.assert_array_equal(told[12], np.zeros((3, 4)))


def test_psf_noise_and_prior_go_in(monkeypatch: pytest.MonkeyPatch) -> None:
    table, prior = PsfTable(np.zeros((9, 9, 9)), 1, 4.0), np.arange(12.0).reshape(3, 4)
    noise = NoiseModel(2, 0)  # whole numbers, which the compiled loop does not take
    told, _ = call(monkeypatch, 1, table=table, noise_model=noise, log_prior=prior)
    assert told[8] is table
    assert told[9] == noise
    assert [type(each) for each in told[9]] == [float, float]
    np.testing.assert_array_equal(told[12], prior)
    with pytest.raises(ValueError, match=r"^log_prior must have shape \(3, 4\), got \(3, 3\)$"):
        call(monkeypatch, 1, log_prior=prior[:, :3])


def test_features_are_made_where_existence_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told, found = call(monkeypatch, 1, existence=np.full((3, 2), 0.5))
    assert told[6].judged
    assert found.features.shape == (3, 2 * 10 + 4 + 2 + 5)
    assert told[-1] is found.features
    assert told[7].shape == (0, 2, 3)
