"""Implanted clusters: the ranges of the protocol are filled, and light is as bright as told."""

import math

import numpy as np
import pytest

from dscsnet.tools.field.frames import REGION, FieldFrame, Places
from dscsnet.tools.field.implant import (
    CENTER,
    Clusters,
    Samples,
    draw_clusters,
    draw_numbers,
    implant_clusters,
    implant_light,
)

MANY = 6000


def edges(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


@pytest.fixture(scope="module")
def pairs() -> Clusters:
    return draw_clusters(np.full(MANY, 2), np.random.default_rng(1))


def test_the_ranges_of_the_protocol_are_filled(pairs: Clusters) -> None:
    assert edges(pairs.psf) == pytest.approx((0.45, 0.9), abs=1e-3)
    assert edges(pairs.center_x) == pytest.approx((-1, 1), abs=2e-3)
    assert edges(pairs.center_y) == pytest.approx((-1, 1), abs=2e-3)
    assert edges(np.log(pairs.snr)) == pytest.approx((math.log(5), math.log(200)), abs=0.01)
    gap = np.hypot(pairs.x[:, 0] - pairs.x[:, 1], pairs.y[:, 0] - pairs.y[:, 1])
    assert gap.min() == pytest.approx(0.5, abs=0.01)
    assert np.hypot(pairs.x, pairs.y).max() == pytest.approx(2, abs=0.03)
    ratio = np.log(pairs.snr[:, 1] / pairs.snr[:, 0])
    assert edges(ratio) == pytest.approx((-math.log(8) / 2, math.log(8) / 2), abs=0.02)


def test_members_are_uniform_in_a_disc_of_uniform_radius() -> None:
    alone = draw_clusters(np.ones(MANY, np.int64), np.random.default_rng(2))
    distance = np.hypot(alone.x, alone.y)
    # E[r] is 2/3 of the disc's radius, whose mean is 1.15 px; the least radius is 0.3 px.
    assert distance.mean() == pytest.approx(1.15 * 2 / 3, rel=0.02)
    assert np.mean(distance**2) == pytest.approx((2**3 - 0.3**3) / 1.7 / 3 / 2, rel=0.03)
    assert abs(alone.x.mean()) < 0.03
    assert abs(alone.y.mean()) < 0.03
    assert np.mean(alone.x**2) == pytest.approx(np.mean(alone.y**2), rel=0.06)


@pytest.mark.parametrize(("numbers", "columns"), [([], 1), ([0], 1), ([0, 1], 1), ([0, 3, 2], 3)])
def test_there_is_a_column_for_each_member_and_at_least_one(
    numbers: list[int], columns: int
) -> None:
    found = draw_clusters(np.array(numbers, np.int64), np.random.default_rng(0))
    assert found.present.shape == (len(numbers), columns)
    assert len(found) == len(numbers)
    assert found.present.sum(1).tolist() == numbers


def test_numbers_are_as_likely_as_the_protocol_says() -> None:
    shares = np.bincount(draw_numbers(40_000, np.random.default_rng(4))) / 40_000
    assert shares == pytest.approx([0.15, *[0.17] * 5], abs=0.008)


@pytest.fixture(scope="module")
def frames() -> list[FieldFrame]:
    pixels = np.random.default_rng(5).integers(80, 120, (90, 110)).astype(np.uint8)
    return [FieldFrame("a", pixels, np.empty(0), np.empty(0))]


PLACES = Places(np.array([0, 0]), np.array([40, 60]), np.array([45, 30]), np.array([0.5, 3.0]))


def test_the_brightest_pixel_of_other_light_has_its_ratio(frames: list[FieldFrame]) -> None:
    light = np.zeros((2, REGION, REGION))
    light[:, CENTER, CENTER], light[:, CENTER, CENTER + 2] = 4.0, 1.0
    made = implant_light(frames, PLACES, light, np.array([100.0, 40.0]), np.array([0.5, 0.6]))
    for row, (x, y, brightest) in enumerate([(40, 45, 100.0), (60, 30, 120.0)]):
        before = frames[0].pixels[y - CENTER : y + CENTER + 1, x - CENTER : x + CENTER + 1]
        added = made.regions[row] - before
        assert added[CENTER, CENTER] == brightest
        assert added[CENTER, CENTER + 2] == brightest / 4
        assert np.count_nonzero(added) == 2
    assert not made.present.any()
    assert not made.on_peak.any()
    assert made.number.tolist() == [0, 0]
    assert made.x.shape == made.snr.shape == made.intensity.shape == (2, 1)


def test_the_candidate_is_off_the_cluster_by_a_scaled_step(frames: list[FieldFrame]) -> None:
    clusters = Clusters(
        center_x=np.array([0.5, -1.0]),
        center_y=np.array([0.25, 0.75]),
        x=np.array([[1.0], [0.0]]),
        y=np.array([[-1.0], [0.0]]),
        snr=np.full((2, 1), 20.0),
        present=np.ones((2, 1), bool),
        psf=np.full(2, 0.5),
    )
    for scale in (1.0, 1.5):
        made: Samples = implant_clusters(
            frames, PLACES, np.array([True, False]), clusters, center_scale=scale
        )
        assert made.x.ravel().tolist() == [CENTER + 1 + 0.5 * scale, CENTER - scale]
        assert made.y.ravel().tolist() == [CENTER - 1 + 0.25 * scale, CENTER + 0.75 * scale]
        assert made.on_peak.tolist() == [True, False]
        assert len(made.take(np.array([1]))) == 1
