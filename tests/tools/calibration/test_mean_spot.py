"""The mean of spots, each about its own place, against a loop over all pixels."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dscsnet.tools.calibration.fit import INTENSITY, X, Y, spot_images
from dscsnet.tools.calibration.mean_spot import STEPS_A_PIXEL, mean_spot
from tests.tools.calibration.made_up import spots_of


def test_a_mean_is_weighted_by_light_over_noise() -> None:
    """Cells of a quarter of a pixel; of each pixel of each spot its place from the spot's."""
    spots = spots_of(4, 6, size=9)
    random = np.random.default_rng(0)
    spots = replace(
        spots,
        pixels=spots.pixels + random.normal(0, 5, spots.pixels.shape),
        noise=random.uniform(1, 9, 6),
    )
    found = mean_spot(spots, 1.0)
    assert STEPS_A_PIXEL == 4
    side = 2 * 4 + 1
    sums = np.zeros((3, side, side))
    for spot in range(4):  # those in use
        light = spots.parameters[spot, INTENSITY]
        model = spot_images(spots.parameters[spot : spot + 1], 9)[0] / light
        weight = (light / spots.noise[spot]) ** 2
        for row in range(9):
            for column in range(9):
                i = round((row - 4 - spots.parameters[spot, Y]) * 4) + 4
                j = round((column - 4 - spots.parameters[spot, X]) * 4) + 4
                if 0 <= i < side and 0 <= j < side:
                    value = spots.pixels[spot, row, column] / light
                    sums[:, i, j] += weight * np.array([1, value, model[row, column]])
    weights = sums[0]
    there = weights > 0
    np.testing.assert_allclose(found.observed[there], sums[1][there] / weights[there])
    np.testing.assert_allclose(found.model[there], sums[2][there] / weights[there])
    np.testing.assert_allclose(found.error[there], weights[there] ** -0.5)
    assert np.isnan(found.observed[~there]).all()
    assert np.isinf(found.error[~there]).all()


@pytest.mark.parametrize("reach", [1.0, 2.1, 3.12])
def test_the_mean_reaches_as_far_as_told(reach: float) -> None:
    side = 2 * round(4 * reach) + 1
    assert mean_spot(spots_of(3, 3), reach).observed.shape == (side, side)


def test_the_misfit_is_the_largest_residual_where_it_is_known() -> None:
    spots = spots_of(10, 10)
    assert mean_spot(spots, 1.5).misfit == pytest.approx(0, abs=1e-12)
    wider = replace(spots, pixels=1.1 * spots.pixels)
    assert mean_spot(wider, 1.5).misfit == pytest.approx(0.1)
    assert math.isnan(mean_spot(replace(spots, noise=np.full(10, 1e6)), 1.5).misfit)
