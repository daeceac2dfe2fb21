"""Background of a filtered frame against sums by hand."""

import numpy as np
import pytest

from dscsnet.detector_stub import background
from dscsnet.detector_stub.background import (
    large_objects,
    ring_mean,
    tile_means,
    tile_medians,
    weighted_ring_mean,
)

RING, GUARD = 7, 3


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).normal(10, 3, (30, 40)).astype(np.float32)


def ring_at(row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a ring's pixels."""
    rows, columns = np.mgrid[row - 3 : row + 4, column - 3 : column + 4].reshape(2, -1)
    outside = np.maximum(np.abs(rows - row), np.abs(columns - column)) > 1
    return rows[outside], columns[outside]


@pytest.mark.parametrize(("row", "column"), [(10, 12), (3, 36), (26, 3)])
def test_a_ring_is_a_square_without_its_middle(image: np.ndarray, row: int, column: int) -> None:
    found = ring_mean(image, RING, GUARD)[row, column]
    assert found == pytest.approx(image[ring_at(row, column)].mean(), rel=1e-4)


def test_pixels_of_no_weight_do_not_count(image: np.ndarray) -> None:
    weight = (np.random.default_rng(1).random(image.shape) < 0.5).astype(np.float32)
    image[weight == 0] = 1e4
    found = weighted_ring_mean(image, weight, RING, GUARD)
    for row, column in ((10, 12), (20, 30), (4, 5)):
        place = ring_at(row, column)
        expected = image[place][weight[place] > 0].mean()
        assert found[row, column] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("number", "wider"), [(1, True), (3, False)])
def test_where_almost_no_pixel_counts_a_wider_square_does(
    image: np.ndarray, number: int, wider: bool
) -> None:
    """Of 40 pixels of a ring 5 % are two; the wider square has 13 px a side."""
    weight = np.ones(image.shape, np.float32)
    weight[9:22, 9:22] = 0
    rows, columns = ring_at(15, 15)
    weight[rows[:number], columns[:number]] = 1
    weight[9, 9:12] = 1  # in the wider square alone
    found = weighted_ring_mean(image, weight, RING, GUARD)[15, 15]
    square = np.s_[9:22, 9:22]
    inside = image[square][weight[square] > 0]
    expected = inside.mean() if wider else image[rows[:number], columns[:number]].mean()
    assert found == pytest.approx(expected, rel=1e-3)


def test_where_no_pixel_counts_the_mean_is_finite(image: np.ndarray) -> None:
    assert np.isfinite(weighted_ring_mean(image, np.zeros_like(image), RING, GUARD)).all()


@pytest.mark.parametrize("shape", [(16, 24), (17, 24), (16, 23), (19, 21)])
def test_tiles_are_completed_by_reflection(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    below, right = -shape[0] % 4, -shape[1] % 4
    padded = np.pad(image, ((0, below), (0, right)), mode="reflect")
    rows, columns = padded.shape[0] // 4, padded.shape[1] // 4
    expected = padded.reshape(rows, 4, columns, 4).mean((1, 3))
    np.testing.assert_allclose(tile_means(image, 4), expected, atol=1e-6)


def test_medians_of_five_by_five_tiles() -> None:
    tiles = np.random.default_rng(3).normal(size=(9, 11)).astype(np.float32)
    found = tile_medians(tiles, 8, (70, 85))
    assert found.shape == (70, 85)
    # Halfway between four tiles it is the mean of their medians.
    medians = [[np.median(tiles[r - 2 : r + 3, c - 2 : c + 3]) for c in (4, 5)] for r in (3, 4)]
    corner = found[31:33, 39:41]
    assert corner.mean() == pytest.approx(np.mean(medians), abs=1e-5)


def box(rows: int, columns: int, height: float = 100.0) -> np.ndarray:
    """A flat frame with one bright box that begins at a cell's corner."""
    frame = np.zeros((180, 180), np.float32)
    frame[60 : 60 + rows, 60 : 60 + columns] = height
    return frame


@pytest.mark.parametrize(
    ("rows", "columns", "large"),
    [
        *((9, 9, True), (6, 9, True), (9, 6, True), (6, 6, False)),
        *((30, 3, True), (3, 30, True), (33, 3, False), (3, 33, False)),
    ],
)
def test_objects_of_a_size_are_found_whole(rows: int, columns: int, large: bool) -> None:
    """From 9 to 30 px along their longer side, in cells of 3 px."""
    frame = box(rows, columns)
    found = large_objects(frame, 50.0, None, 9, 30)
    if large:
        assert found is not None
        np.testing.assert_array_equal(found, frame > 0)
    else:
        assert found is None


def test_objects_are_brighter_than_the_contrast() -> None:
    assert large_objects(box(12, 12), 99.0, None, 9, 30) is not None
    assert large_objects(box(12, 12), 100.0, None, 9, 30) is None


@pytest.mark.parametrize(("share", "found"), [(4, False), (5, True)])
def test_cells_most_of_which_is_saturated_are_bright(share: int, found: bool) -> None:
    flat = np.zeros((180, 180), np.float32)
    saturated = np.zeros(flat.shape, bool)
    for row in range(60, 72, 3):
        for column in range(60, 72, 3):
            cell = np.arange(9).reshape(3, 3) < share
            saturated[row : row + 3, column : column + 3] = cell
    assert (large_objects(flat, 50.0, saturated, 9, 30) is not None) == found


def test_a_large_object_is_found_beside_others() -> None:
    frame = box(12, 12)
    frame[120:123, 120:123] = 100
    found = large_objects(frame, 50.0, None, 9, 30)
    assert found is not None
    assert found[60:72, 60:72].all()
    assert found.sum() == 144
    assert background.OBJECT_CELL * background.OBJECT_TILE * background.TILES == 60


def test_where_nothing_is_bright_no_objects_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would take half a millisecond a frame."""
    monkeypatch.setattr(background.cv2, "connectedComponentsWithStats", None)
    assert large_objects(box(12, 12), 100.0, None, 9, 30) is None
