"""The step of pixel values; medians, order and weights are tested with the background."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from dscsnet.pipeline.cropping.robust import MAD_TO_SIGMA, resolution


def test_the_deviation_of_gaussian_noise() -> None:
    assert pytest.approx(1 / norm.ppf(0.75)) == MAD_TO_SIGMA


@pytest.mark.parametrize(
    ("values", "step"),
    [
        # Ten values of five levels: most are ties, and the smallest inner gap is the step.
        ([0, 0, 8, 8, 8, 12, 12, 12, 20, 20], 4),
        ([0, 0, 8, 8, 12, 12, 16, 16, 20, 24], 1),  # six levels
        # Of the two outermost gaps on either side nothing is learned.
        ([0, 1, 2, 8, 8, 8, 8, 8, 8, 8], 6),
        ([0, 1, 2, 2, 8, 8, 8, 8, 8, 8], 6),
        ([0, 0, 0, 0, 0, 0, 0, 6, 7, 8], 6),
        ([0, 0, 0, 0, 0, 0, 6, 6, 7, 8], 6),
        ([0, 0, 0, 3, 9, 9, 9, 9, 9, 9], 3),
        ([0, 1, 1, 1, 1, 1, 1, 1, 1, 2], 1),  # no inner gap
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1),
        ([0, 0, 0, 0, 0.25, 0.25, 0.25, 0.25, 0.25, 0.25], 1),  # finer than can be
        ([0, 0, 5, 5], 1),
        ([0, 0, 0, 5, 5, 5], 5),
    ],
)
def test_the_step_of_values_of_which_most_are_ties(values: list[float], step: float) -> None:
    assert resolution(np.array(values, float), 1.0) == step


def test_a_step_smaller_than_one() -> None:
    values = np.repeat(np.arange(5) / 255, 4)
    assert resolution(values, 0.0) == pytest.approx(1 / 255)
    assert math.isclose(resolution(values, 0.5), 0.5)
