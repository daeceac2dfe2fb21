import numpy as np
import pytest

from dscsnet.detector_stub.config import FaultSettings
from dscsnet.detector_stub.faults import DelayLine, degrade

SHAPE = (200, 300)
X, Y = np.linspace(50, 250, 40), np.linspace(20, 180, 40)


def test_without_faults_the_truth_passes() -> None:
    found = degrade(X, Y, SHAPE, FaultSettings(), seed=1, frame_id=0)
    np.testing.assert_array_equal(found.x, X)
    np.testing.assert_array_equal(found.y, Y)
    nothing = degrade([], [], SHAPE, FaultSettings(), seed=1, frame_id=0)
    assert len(nothing.x) == len(nothing.y) == 0


def test_jitter_has_the_configured_spread_on_both_axes() -> None:
    settings = FaultSettings(jitter_px=0.4)
    runs = [degrade(X, Y, SHAPE, settings, seed=1, frame_id=k) for k in range(200)]
    error = np.array([[run.x - X, run.y - Y] for run in runs])
    assert error.std(axis=(0, 2)) == pytest.approx([0.4, 0.4], rel=0.03)
    assert abs(error.mean()) < 0.02


def test_misses_have_the_configured_rate() -> None:
    settings = FaultSettings(miss_probability=0.3)
    found = sum(len(degrade(X, Y, SHAPE, settings, seed=2, frame_id=k).x) for k in range(250))
    assert found / (250 * 40) == pytest.approx(0.7, abs=0.02)
    certain = FaultSettings(miss_probability=1.0)
    assert len(degrade(X, Y, SHAPE, certain, seed=2, frame_id=0).x) == 0


def test_where_nothing_is_missed_the_least_draw_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Least:
        random = staticmethod(np.zeros)
        standard_normal = staticmethod(np.zeros)
        poisson = staticmethod(lambda mean: 0)
        uniform = staticmethod(lambda low, high, shape: np.zeros(shape))

    monkeypatch.setattr(np.random, "default_rng", lambda seed: Least())
    assert len(degrade(X, Y, SHAPE, FaultSettings(), seed=1, frame_id=0).x) == len(X)


def test_false_alarms_are_poisson_and_fill_the_frame() -> None:
    settings = FaultSettings(false_alarms_per_frame=3.0)
    runs = [degrade([], [], SHAPE, settings, seed=3, frame_id=k) for k in range(1000)]
    counts = np.array([len(run.x) for run in runs])
    assert counts.mean() == pytest.approx(3, rel=0.06)
    assert counts.var() == pytest.approx(3, rel=0.15)
    x, y = (np.concatenate(column) for column in zip(*runs, strict=True))
    assert -0.5 <= x.min() < 1
    assert 298 < x.max() <= 299.5
    assert -0.5 <= y.min() < 1
    assert 198 < y.max() <= 199.5
    assert x.mean() == pytest.approx(149.5, abs=5)


def test_false_alarms_reach_to_the_outer_edges_of_the_pixels() -> None:
    """In a frame of two pixels and one row they fill both, a hundredth from each edge."""
    settings = FaultSettings(false_alarms_per_frame=2000.0)
    found = degrade([], [], (1, 2), settings, seed=3, frame_id=0)
    for column, edge in ((found.x, 1.5), (found.y, 0.5)):
        assert -0.5 <= column.min() < -0.49
        assert edge - 0.01 < column.max() < edge


def test_faults_depend_on_seed_and_frame_alone() -> None:
    settings = FaultSettings(jitter_px=1.0, miss_probability=0.2, false_alarms_per_frame=2.0)
    first = degrade(X, Y, SHAPE, settings, seed=1, frame_id=7)
    again = degrade(X, Y, SHAPE, settings, seed=1, frame_id=7)
    np.testing.assert_array_equal(first.x, again.x)
    for seed, frame_id in ((2, 7), (1, 8)):
        other = degrade(X, Y, SHAPE, settings, seed=seed, frame_id=frame_id)
        assert other.x.tolist() != first.x.tolist()


def test_delay_line_gives_items_when_due_and_in_order() -> None:
    delayed: DelayLine[str] = DelayLine()
    assert delayed.next_due is None
    for item, due in (("c", 2.0), ("a", 1.0), ("b", 1.0), ("d", 3.0)):
        delayed.push(item, due)
    assert delayed.next_due == 1.0
    assert list(delayed.pop_due(0.5)) == []
    assert list(delayed.pop_due(2.0)) == ["a", "b", "c"]
    assert len(delayed) == 1
    assert list(delayed.pop_due(9.0)) == ["d"]
