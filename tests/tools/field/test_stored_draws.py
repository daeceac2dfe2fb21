"""Field protocol v1 draws the same crops for every model: figures of different days compare.

Sums over what a seed draws, as they were when they were stored; the frames are made here.
"""

import numpy as np
import pytest

from dscsnet.tools.field.benchmark import draw_samples
from dscsnet.tools.field.frames import FieldFrame
from dscsnet.tools.field.implant import Samples
from dscsnet.tools.field.out_of_distribution import odd_sets


@pytest.fixture(scope="module")
def frames() -> list[FieldFrame]:
    generator = np.random.default_rng(11)
    rows, columns = np.indices((90, 120))
    made = []
    for number in range(2):
        level = 90 + 25 * np.sin(columns / (20 + number)) + 15 * np.cos(rows / 17)
        pixels = np.rint(level + generator.normal(0, 3, level.shape)).astype(np.uint8)
        made.append(FieldFrame(str(number), pixels, np.array([60.0]), np.array([45.0])))
    return made


def sums(samples: Samples) -> list[float]:
    """Of regions, of positions and of intensities of targets, of noise, and of PSF sigmas."""
    there = samples.present
    columns = (samples.regions, samples.x[there], samples.y[there], samples.intensity[there])
    return [float(each.sum()) for each in (*columns, samples.noise, samples.psf)]


STORED = {
    "fair": [8326061, 2989.338783, 3020.646271, 93933.49253, 180.7019791, 41.45907223],
    "farther": [8326068, 2981.740825, 3017.794021, 93933.49253, 180.7019791, 41.45907223],
    "14 bit": [536054889, 2989.338783, 3020.646271, 6011743.522, 11564.92666, 41.45907223],
    "extended objects": [3180204, 0, 0, 0, 60.63345459, 12.89777774, 1],
    "6 to 9 targets": [3049030, 2894.384461, 2907.985862, 74430.13419, 60.63345459, 13.37638986, 1],
    "PSF 1.4 times as wide as told": [
        3024964,
        1268.006634,
        1265.820987,
        50365.97578,
        60.63345459,
        17.50726685,
        0.7142857143,
    ],
    "hot pixels": [2979575, 0, 0, 0, 60.63345459, 12.89777774, 1],
}


def test_clusters_in_frames(frames: list[FieldFrame]) -> None:
    drawn = draw_samples(frames, 60, seed=3)
    assert drawn.deeper is not None
    found = {"fair": drawn.samples, "farther": drawn.farther, "14 bit": drawn.deeper}
    for name, samples in found.items():
        assert sums(samples) == pytest.approx(STORED[name], rel=1e-6), name


def test_what_is_no_cluster(frames: list[FieldFrame]) -> None:
    for name, samples, told in odd_sets(frames, 20, seed=3):
        assert [*sums(samples), told] == pytest.approx(STORED[name], rel=1e-6), name
