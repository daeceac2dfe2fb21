import msgspec
import numpy as np
import pytest

from dscsnet.detector_stub.motion import Cluster, place_members
from dscsnet.detector_stub.scene_config import ClusterSettings

SHAPE = (80, 120)


def cluster(seed: int, **changes: object) -> Cluster:
    settings = msgspec.structs.replace(ClusterSettings(), **changes)
    return Cluster(settings, SHAPE, 10.0, np.random.default_rng(seed))


def least_distance(positions: np.ndarray) -> float:
    first, second = np.triu_indices(len(positions), 1)
    return float(np.linalg.norm(positions[first] - positions[second], axis=1).min())


@pytest.mark.parametrize("count", [2, 5, 12])
def test_members_keep_their_distance_even_where_the_disc_is_too_small(count: int) -> None:
    placed = place_members(count, 0.0, 0.5, np.random.default_rng(2))
    assert placed.shape == (count, 2)
    assert least_distance(placed) >= 0.5


@pytest.mark.parametrize("seed", range(5))
def test_members_move_against_each_other_but_keep_their_distance(seed: int) -> None:
    moving = cluster(seed, min_members=5, breathing=0.8, breathing_period=97.0)
    frames = [moving.positions(k) for k in range(0, 600, 7)]
    assert min(map(least_distance, frames)) >= 0.5 - 1e-9
    relative = [p - p.mean(0) for p in frames]
    assert np.ptp(relative, axis=0).max() > 0.1


def test_bounce_keeps_the_speed_and_stays_inside_the_margin() -> None:
    moving = cluster(1, max_members=1, radius=0.0, min_speed=2.0, max_speed=2.0)
    path = np.array([moving.positions(k)[0] for k in range(2000)])
    assert path.min() >= 12
    assert (path.max(0) <= np.array([119, 79]) - 12).all()
    assert (path.max(0) - path.min(0) > np.array([90, 50])).all()
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert np.median(steps) == pytest.approx(2.0)
    assert steps.max() <= 2.0 + 1e-9


def test_reenter_leaves_and_comes_back_on_the_other_side() -> None:
    moving = cluster(
        1, max_members=1, radius=0.0, min_speed=3.0, max_speed=3.0, motion="reenter", margin=5.0
    )
    path = np.array([moving.positions(k)[0] for k in range(500)])
    steps = np.diff(path, axis=0)
    assert (path >= -5).all()
    assert (path <= np.array([124, 84])).all()
    jumps = np.abs(steps).max(1) > 10
    assert jumps.any()
    np.testing.assert_allclose(
        steps[~jumps], np.median(steps, axis=0)[None].repeat((~jumps).sum(), 0)
    )


def test_brightness_is_within_the_configured_ranges() -> None:
    drawn = [
        cluster(seed, min_members=3, min_peak_snr=20.0, max_peak_snr=50.0, brightness_ratio=2.0)
        for seed in range(50)
    ]
    brightest = np.array([c.intensity.max() for c in drawn]) / 10.0
    assert brightest.min() >= 20 - 1e-9
    assert brightest.max() <= 50 + 1e-9
    assert np.ptp(brightest) > 20
    ratios = [c.intensity.max() / c.intensity.min() for c in drawn]
    assert 1.3 < max(ratios) <= 2 + 1e-9
