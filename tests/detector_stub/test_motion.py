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


class Scripted:
    """Draws the same share of every range, so that what is drawn can be worked out by hand."""

    def __init__(self, share: float) -> None:
        self.share = share

    def uniform(self, low: object, high: object, size: int | None = None) -> np.ndarray | float:
        low, high = np.asarray(low, float), np.asarray(high, float)
        drawn = low + self.share * (high - low)
        if size is not None:
            return np.full(size, drawn)
        return float(drawn) if drawn.ndim == 0 else drawn

    def integers(self, low: int, high: int) -> int:
        return low + int(self.share * (high - low))

    def random(self, size: int) -> np.ndarray:
        return np.linspace(0, 1, size)


def scripted(share: float, **changes: object) -> Cluster:
    settings = msgspec.structs.replace(ClusterSettings(min_separation=0.0), **changes)
    return Cluster(settings, SHAPE, 10.0, Scripted(share))  # type: ignore[arg-type]


def triangle(value: float, low: float, high: float) -> float:
    """Where one that is turned back at both ends is, by turning it back."""
    while not low <= value <= high:
        value = 2 * low - value if value < low else 2 * high - value
    return value


@pytest.mark.parametrize("share", [0.1, 0.25, 0.8])
@pytest.mark.parametrize("motion", ["bounce", "reenter"])
def test_a_cluster_goes_where_its_draws_send_it(share: float, motion: str) -> None:
    moving = scripted(
        share,
        **{"motion": motion, "margin": 10.0, "min_speed": 2.0, "max_speed": 6.0, "radius": 0.0},
        **{"min_members": 1, "max_members": 1},
    )
    low = 10.0 if motion == "bounce" else -10.0
    for axis, size in enumerate((120, 80)):
        high = size - 1 - low
        start = low + share * (high - low)
        heading = 2 * np.pi * share
        step = (2 + share * 4) * (np.cos(heading), np.sin(heading))[axis]
        for frame in (0, 1, 7, 50, 333):
            wanted = start + frame * step
            if motion == "bounce":
                wanted = triangle(wanted, low, high)
            else:
                wanted = low + (wanted - low) % (high - low)
            assert moving.positions(frame)[0, axis] == pytest.approx(wanted)


def test_members_turn_and_breathe_as_their_draws_say() -> None:
    """All lie on one ray at square roots of the shares of the disc; the ray turns."""
    share = 0.75
    moving = scripted(
        share,
        **{"min_members": 2, "max_members": 5, "radius": 2.0, "rotation": 0.04},
        **{"min_speed": 0.0, "max_speed": 0.0, "breathing": 0.6, "breathing_period": 40.0},
    )
    centre = np.array([12 + 0.75 * (119 - 24), 12 + 0.75 * (79 - 24)])
    distance = 2.0 * np.sqrt(np.linspace(0, 1, 5))  # 2 + int(0.75 * 4) members
    for frame in (0, 3, 10, 25, 40):
        ray = 1.5 * np.pi + frame * 0.02  # three quarters of the way from -0.04 to 0.04
        phase = 2 * np.pi * frame / 40 + 1.5 * np.pi
        stretch = 1 + 0.6 * (1 - np.cos(phase)) / 2
        wanted = centre + stretch * distance[:, None] * np.array([np.cos(ray), np.sin(ray)])
        np.testing.assert_allclose(moving.positions(frame), wanted, atol=1e-9)


def test_peaks_are_drawn_in_logarithms_with_the_brightest_first() -> None:
    moving = scripted(
        0.5,
        **{"min_members": 3, "max_members": 3, "min_peak_snr": 4.0, "max_peak_snr": 100.0},
        **{"brightness_ratio": 9.0},
    )
    # The middle of 4 and 100 is 20, of 1 and 9 it is 3; a ratio of 1 is worth 10 counts.
    np.testing.assert_allclose(moving.intensity, [200, 200 / 3, 200 / 3])


def test_a_disc_that_is_too_small_grows_by_a_tenth_of_itself_and_of_the_distance() -> None:
    class Narrow(Scripted):
        """Two members at opposite ends of the disc's diameter."""

        tries = 0

        def random(self, size: int) -> np.ndarray:
            self.tries += 1
            return np.ones(size)

        def uniform(self, low: object, high: object, size: int | None = None) -> np.ndarray:
            return np.array([0.0, np.pi])

    narrow = Narrow(0.0)
    placed = place_members(2, 1.0, 3.0, narrow)  # type: ignore[arg-type]
    # 1, 1.4, 1.84: the first disc whose diameter is 3 or more
    np.testing.assert_allclose(placed, [[1.84, 0], [-1.84, 0]], atol=1e-12)
    assert narrow.tries == 2 * 200 + 1
    exactly = place_members(2, 1.5, 3.0, Narrow(0.0))  # type: ignore[arg-type]
    np.testing.assert_allclose(exactly, [[1.5, 0], [-1.5, 0]], atol=1e-12)
