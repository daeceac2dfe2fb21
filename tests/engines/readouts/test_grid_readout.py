"""Grid readout, goodness of fit and the columns they travel in."""

from typing import Any

import numpy as np
import pytest

from dscsnet.engines.card import GridReadout, ModelCard, Training
from dscsnet.engines.engine import CropBatch
from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.imaging import central_fraction, render
from dscsnet.engines.readouts.grid import limits, read_grid
from dscsnet.engines.residual import reduced_chi2


def make_card(**thresholds: Any) -> ModelCard:
    return ModelCard(
        name="test",
        description="",
        crop_size=11,
        upsampling=3,
        field_size=11,
        psf_sigma=0.5,
        psf_sigma_range=(0.45, 0.55),
        intensity_range=(0, 1),
        normalisation="fixed",
        inputs=("crops",),
        outputs=("grid",),
        readout=GridReadout(**thresholds),
        files={},
        training=Training(data="", crops=0, seconds=0, hardware="", seed=0, date=""),
        measured={},
    )


def read(grids: np.ndarray, **thresholds: Any) -> Estimates:
    number = len(grids)
    batch = CropBatch(
        np.zeros((number, 11, 11), np.float32),
        np.ones((number, 11, 11), bool),
        np.full(number, 4, np.float32),
        np.full((number, 2), 0.5, np.float32),
    )
    card = make_card(**thresholds)
    assert isinstance(card.readout, GridReadout)
    return read_grid(card, card.readout, grids.astype(np.float32), batch)


def test_cells_above_the_threshold_are_targets_at_their_centres() -> None:
    grids = np.zeros((3, 33, 33))
    grids[0, 16, 17] = 51
    grids[0, 3, 4] = 50
    grids[2, 0, 32] = 400
    found = read(grids, threshold=50)
    np.testing.assert_array_equal(found.crop, [0, 2])
    np.testing.assert_allclose(found.x, [5 + 1 / 3, 10 + 1 / 3])
    np.testing.assert_allclose(found.y, [5, -1 / 3])
    np.testing.assert_allclose(found.intensity, [51, 400])
    assert 0.5 < found.score[0] < found.score[1] < 1
    np.testing.assert_allclose(found.sigma_x, 1 / (3 * np.sqrt(12)))
    assert np.isnan(found.sigma_intensity).all()


def test_an_empty_batch_gives_no_target() -> None:
    assert read(np.zeros((0, 33, 33))).crop.size == 0
    assert read(np.zeros((2, 33, 33))).crop.size == 0


def test_the_highest_limit_counts() -> None:
    grids = np.zeros((1, 3, 3), np.float32)
    grids[0, 1, 1] = 100
    noise = np.array([6.0])
    readout = GridReadout(threshold=5, relative=0.3, significance=4)
    snr_limit = 4 * 6 / central_fraction(0.5)
    assert limits(readout, grids, noise, 0.5) == pytest.approx([snr_limit])
    assert limits(readout, 10 * grids, noise, 0.5) == pytest.approx([300])
    assert limits(readout, grids * 0, noise * 0, 0.5) == pytest.approx([5])
    assert limits(readout, grids, np.array([np.nan]), 0.5) == pytest.approx([30])


def test_chi2_of_the_true_targets_is_that_of_the_noise() -> None:
    generator = np.random.default_rng(0)
    number, sigma, noise = 400, 0.6, 3.0
    x, y = generator.uniform(4, 6, (2, number, 2))
    intensity = generator.uniform(50, 500, (number, 2))
    clean = np.stack([render(*row, (11, 11), sigma) for row in zip(x, y, intensity, strict=True)])
    noisy = (clean + generator.normal(0, noise, clean.shape)).astype(np.float32)
    usable = generator.random(clean.shape) > 0.1
    noisy[~usable] = 1e6
    crop = np.repeat(np.arange(number), 2)
    chi2 = reduced_chi2(
        noisy, usable, np.full(number, noise, np.float32), crop,
        x.ravel(), y.ravel(), intensity.ravel(), sigma,
    )  # fmt: skip
    pixels = usable.sum((1, 2))
    # The true positions are not fitted: the sum of squares has `pixels` degrees of freedom.
    assert (chi2 * (pixels - 6) / pixels).mean() == pytest.approx(1, abs=0.02)
    expected = np.sum(((noisy[0] - clean[0]) / noise)[usable[0]] ** 2) / (pixels[0] - 6)
    assert chi2[0] == pytest.approx(expected, rel=1e-5)


def test_chi2_is_unknown_without_freedom_or_noise() -> None:
    pixels = np.zeros((2, 3, 3), np.float32)
    usable = np.ones((2, 3, 3), bool)
    usable[0, 1:] = False
    none = np.empty(0)
    noise = np.array([1, np.nan], np.float32)
    first = reduced_chi2(
        pixels, usable, noise, np.array([0]), np.ones(1), np.ones(1), np.ones(1), 0.5
    )
    assert np.isnan(first).all()
    flat = reduced_chi2(
        pixels, usable, np.ones(2, np.float32), none.astype(int), none, none, none, 0.5
    )
    np.testing.assert_array_equal(flat, [0, 0])


def make_estimates(crop: list[int], crops: int) -> Estimates:
    column = np.arange(len(crop), dtype=float)
    chi2, doubt = np.arange(crops, dtype=float), (np.arange(crops) % 2).astype(np.uint8)
    columns = (column + k for k in range(7))
    first, rest = [next(columns) for _ in range(3)], list(columns)
    likely = np.arange(len(crop)) % 2 == 0
    ends = chi2, doubt, chi2 + 10, chi2 + 20, np.empty((crops, 0))
    return Estimates(np.array(crop), *first, likely, *rest, *ends)


def test_slices_joined_again_are_the_whole() -> None:
    whole = make_estimates([0, 0, 2, 3, 3, 3], 5)
    parts = [whole.slice(0, 2), whole.slice(2, 2), whole.slice(2, 5)]
    again = Estimates.join(parts)
    for name, column in vars(whole).items():
        np.testing.assert_array_equal(getattr(again, name), column)
    np.testing.assert_array_equal(parts[2].crop, [0, 1, 1, 1])


def test_spread_puts_crops_back_among_those_left_out() -> None:
    spread = make_estimates([0, 1, 1], 2).spread(np.array([1, 3]), 5)
    np.testing.assert_array_equal(spread.crop, [1, 3, 3])
    np.testing.assert_array_equal(spread.chi2, [np.nan, 0, np.nan, 1, np.nan])
    np.testing.assert_array_equal(spread.occupied, [np.nan, 20, np.nan, 21, np.nan])
    np.testing.assert_array_equal(spread.converged, [False, True, False, False, False])
    np.testing.assert_array_equal(spread.doubt[[0, 3]], [Doubt.NO_RESULT, 1])


def test_gathering_merges_a_split_target_at_its_centroid() -> None:
    grids = np.zeros((2, 33, 33))
    grids[1, 16, 16], grids[1, 16, 17], grids[1, 15, 16] = 60, 30, 10
    found = read(grids, threshold=20, gather=True)
    np.testing.assert_array_equal(found.crop, [1])
    np.testing.assert_allclose(found.intensity, [100], rtol=1e-6)
    np.testing.assert_allclose(found.x, [5 + 0.3 / 3], rtol=1e-6)
    np.testing.assert_allclose(found.y, [5 - 0.1 / 3], rtol=1e-6)
    np.testing.assert_allclose(found.sigma_x, np.sqrt(0.3 * 0.7 + 1 / 12) / 3, rtol=1e-6)
    np.testing.assert_allclose(found.sigma_y, np.sqrt(0.1 * 0.9 + 1 / 12) / 3, rtol=1e-6)


def test_a_cell_between_two_peaks_is_divided_in_proportion() -> None:
    grids = np.zeros((1, 33, 33))
    grids[0, 10, 10], grids[0, 10, 11], grids[0, 10, 12] = 75, 20, 25
    found = read(grids, threshold=20, gather=True)
    np.testing.assert_allclose(found.intensity, [75 + 15, 25 + 5], rtol=1e-6)


def test_gathering_loses_no_light_and_takes_ties_and_corners() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        grids = np.zeros((1, 33, 33))
        rows, columns = generator.integers(0, 11, (2, 6)) * 3
        grids[0, rows, columns] = generator.uniform(30, 90, 6)
        found = read(grids, threshold=20, gather=True)
        assert found.intensity.sum() == pytest.approx(grids.sum(), rel=1e-6)
    grids = np.zeros((1, 33, 33))
    grids[0, :2, :2] = 40
    assert read(grids, threshold=20, gather=True).intensity == pytest.approx([160])


@pytest.mark.parametrize("other", [(0, 1), (1, 1), (1, 0), (1, -1)])
def test_of_two_neighbours_as_bright_the_first_is_the_peak(other: tuple[int, int]) -> None:
    """First in order of reading, whichever way the two lie; neither is lost, nor both taken."""
    grids = np.zeros((1, 33, 33))
    grids[0, 10, 12] = grids[0, 10 + other[0], 12 + other[1]] = 8
    found = read(grids, threshold=1, gather=True)
    np.testing.assert_allclose(found.intensity, [16])
    np.testing.assert_allclose(found.x, (12 + other[1] / 2 - 1) / 3)
    np.testing.assert_allclose(found.y, (10 + other[0] / 2 - 1) / 3)


def test_gathering_leaves_negative_cells_out() -> None:
    grids = np.zeros((1, 33, 33))
    grids[0, 5, 5], grids[0, 5, 6] = 80, -30
    found = read(grids, threshold=20, gather=True)
    np.testing.assert_allclose(found.intensity, [80])
    np.testing.assert_allclose(found.x, [4 / 3])


def test_the_densest_possible_peaks_are_all_found() -> None:
    grids = np.zeros((2, 33, 33))
    grids[:, ::2, ::2] = 50
    found = read(grids, threshold=20, gather=True)
    assert len(found.x) == 2 * 17 * 17


def test_a_crop_that_is_not_explained_or_not_finite_has_not_converged() -> None:
    grids = np.zeros((3, 33, 33))
    grids[1, 16, 16] = np.nan
    grids[2, 16, 16] = 100  # of which the crop shows nothing
    found = read(grids, threshold=50, max_chi2=1)
    np.testing.assert_array_equal(found.crop, [2])
    np.testing.assert_array_equal(found.converged, [True, False, False])
