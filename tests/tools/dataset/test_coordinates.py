"""Conventions of positions, at the limits of what tells them apart."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.tools.dataset.coordinates import (  # noqa: E402
    Coordinates,
    _centroids,
    _is_swapped,
    find_coordinates,
)
from dscsnet.tools.dataset.files import DatasetError  # noqa: E402
from dscsnet.tools.simulation.scenes import Scenes  # noqa: E402

SIZE = 9


def scenes_of(
    light: list[tuple[int, int, float]], told: list[tuple[float, float]], intensity: float = 10.0
) -> Scenes:
    """Crops with one bright pixel each: column, row and counts; and where the target is said."""
    crops = torch.zeros(len(light), SIZE, SIZE)
    for crop, (column, row, counts) in zip(crops, light, strict=True):
        crop[row, column] = counts
    x, y = torch.tensor(told, dtype=torch.float64).T[:, :, None]
    present = torch.ones(len(light), 1, dtype=torch.bool)
    return Scenes(
        crops, x, y, torch.full((len(light), 1), intensity), present, torch.zeros(len(light))
    )


def test_centroids_of_light_and_of_targets() -> None:
    true, light = _centroids(scenes_of([(3, 5, 10.0), (4, 2, 9.0)], [(3.25, 5.5), (4, 2)]))
    np.testing.assert_allclose(true, [[3.25, 5.5], [4, 2]])
    np.testing.assert_allclose(light, [[3, 5], [4, 2]])


def test_an_even_background_moves_no_centroid() -> None:
    scenes = scenes_of([(3, 5, 10.0)], [(3, 5)])
    scenes.crops[:] += 40.0
    np.testing.assert_allclose(_centroids(scenes)[1], [[3, 5]])


@pytest.mark.parametrize(("counts", "usable"), [(5.0, False), (5.1, True), (10.0, True)])
def test_a_crop_whose_light_is_lost_has_no_centroid(counts: float, usable: bool) -> None:
    assert len(_centroids(scenes_of([(3, 5, counts)], [(3, 5)]))[0]) == usable


@pytest.mark.parametrize("intensity", [0.5, 1.0, 10.0])
def test_a_faint_target_counts_as_a_bright_one(intensity: float) -> None:
    scenes = scenes_of([(3, 5, intensity)], [(3, 5)], intensity)
    assert len(_centroids(scenes)[0]) == 1
    scenes.intensity[:] = 0.0
    assert len(_centroids(scenes)[0]) == 0


@pytest.mark.parametrize(
    ("shift", "base"), [(-0.5, 0), (0.0, 0), (0.49, 0), (0.5, 1), (1.0, 1), (1.49, 1)]
)
def test_the_base_is_the_nearer_one(shift: float, base: int) -> None:
    scenes = scenes_of([(3, 5, 10.0)] * 3, [(3 + shift, 5 + shift)] * 3)
    assert find_coordinates(scenes, "auto", "here") == Coordinates(base, False)  # type: ignore[arg-type]


@pytest.mark.parametrize("shift", [-0.51, 1.5])
def test_positions_of_neither_base_are_refused_unless_it_is_given(shift: float) -> None:
    scenes = scenes_of([(3, 5, 10.0)] * 3, [(3 + shift, 5 + shift)] * 3)
    with pytest.raises(DatasetError, match="here: annotated positions are"):
        find_coordinates(scenes, "auto", "here")
    assert find_coordinates(scenes, 0, "here").base == 0


@pytest.mark.parametrize(("base", "expected"), [("auto", 0), (0, 0), (1, 1)])
def test_without_targets_the_base_is_as_given_or_0(base: object, expected: int) -> None:
    scenes = scenes_of([(3, 5, 0.0)], [(3, 5)])
    assert find_coordinates(scenes, base, "here") == Coordinates(expected, False)  # type: ignore[arg-type]


def test_axes_are_swapped_where_that_fits_better_in_eight_crops_or_more() -> None:
    light = np.array([[2.0, 5.0], [6.0, 3.0], [4.0, 1.0], [7.0, 2.0]] * 2)
    assert _is_swapped(light[:, ::-1], light)
    assert not _is_swapped(light[:7, ::-1], light[:7])
    assert not _is_swapped(light, light)


def test_axes_are_not_swapped_by_chance() -> None:
    """Of 12 crops some are swapped: they gain 2 px², the others lose as much."""
    light = np.tile([[3.0, 4.0]], (12, 1))
    for right, swapped in ((0, True), (2, True), (3, False), (6, False)):
        true = light[:, ::-1].copy()
        true[:right] = light[:right]
        # Three standard errors: 1.33 against 1.29 for two that lose, 1 against 1.5 for three.
        assert _is_swapped(true, light) == swapped
