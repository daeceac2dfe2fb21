"""The detector in one call: the candidates of the process, for any type of image."""

from typing import Any

import numpy as np
import pytest

import dscsnet
from dscsnet.detector_stub.config import SpotSettings
from dscsnet.detector_stub.spots import SpotDetector
from dscsnet.engines.imaging import render

SHAPE = (64, 96)


def image() -> np.ndarray:
    noise = np.random.default_rng(0).normal(1000, 5, SHAPE)
    return np.round(noise + render([30.0, 70.2], [20.0, 40.5], [3000.0, 900.0], SHAPE, 0.7))


def test_it_finds_what_the_process_finds() -> None:
    pixels, mask = image().astype(np.uint16), np.zeros(SHAPE, bool)
    mask[20, 30] = True
    settings = SpotSettings(psf_sigma=0.6, threshold=5.0)
    expected = SpotDetector(settings).detect(pixels, mask, 1200.0)
    found = dscsnet.Detector(0.6, threshold=5.0, bad_pixels=mask, saturation=1200)(pixels)
    assert len(found) == 2
    for name, column in found.to_dict().items():
        np.testing.assert_array_equal(column, getattr(expected, name))


@pytest.mark.parametrize("kind", ["int32", "float64", ">u2"])
def test_any_type_that_holds_the_same_counts_gives_the_same(kind: str) -> None:
    detector = dscsnet.Detector()
    expected, found = detector(image().astype(np.uint16)), detector(image().astype(kind))
    np.testing.assert_allclose(found.x, expected.x, atol=1e-4)


def test_two_widths_are_taken_by_their_geometric_mean() -> None:
    pixels = image().astype(np.uint16)
    two, one = dscsnet.Detector((0.5, 0.98))(pixels), dscsnet.Detector(0.7)(pixels)
    np.testing.assert_allclose(two.score, one.score, rtol=1e-6)


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"psf": 0}, "psf"),
        ({"psf": (1, 2, 3)}, "psf"),
        ({"psf": 11}, "psf_sigma"),
        ({"psf_sigma": 0.7}, "is given as psf"),
        ({"treshold": 5}, "treshold"),
        ({"threshold": -1}, "threshold"),
        ({"method": "none"}, "method"),
        ({"ring_size": 20}, "ring_size"),
        ({"saturation": -1}, "saturation"),
        ({"bad_pixels": [1]}, "bad_pixels"),
    ],
)
def test_impossible_settings_are_refused(told: Any, named: str) -> None:
    with pytest.raises(dscsnet.InputError, match=named):
        dscsnet.Detector(**told)


def test_what_is_no_image_is_refused() -> None:
    detector = dscsnet.Detector(bad_pixels=np.zeros((2, 2), bool))
    for wrong in (np.zeros(3), np.zeros((2, 3)), np.full((2, 2), 0.1)):
        with pytest.raises(dscsnet.InputError):
            detector(wrong)
