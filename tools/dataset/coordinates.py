"""Finds out, from where the light is, in which convention a data set gives its positions."""

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.tools.dataset.files import DatasetError
from dscsnet.tools.simulation.scenes import Scenes

Base = Literal[0, 1, "auto"]

#: Crops from which on a swap of the axes can be told from chance.
FEWEST_TO_SWAP = 8


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Coordinates:
    """A convention.

    Attributes:
        base: coordinate of the first pixel's centre, 0 or 1.
        swapped: xc is the row and yc the column.
    """

    base: Literal[0, 1]
    swapped: bool


def find_coordinates(scenes: Scenes, base: Base, where: str) -> Coordinates:
    """Compare each crop's centroid of light with that of its annotated targets.

    Args:
        scenes: positions as they stand in the files.
        base: given, or to be found; what is found otherwise is reported by a warning.
        where: names the data set in warnings and errors.

    Raises:
        DatasetError: `auto`, and the positions fit neither base.
    """
    true, light = _centroids(scenes)
    if len(true) == 0:
        return Coordinates(0 if base == "auto" else base, swapped=False)
    shift = float(np.median((true - light).mean(1)))
    if base == "auto" and not -0.5 <= shift < 1.5:
        raise DatasetError(
            f"{where}: annotated positions are {shift:+.2f} px from the light, expected 0 or 1: "
            "images and annotations do not belong together, or their base must be given"
        )
    found: Literal[0, 1] = 1 if shift >= 0.5 else 0
    if base == "auto" and found == 1:
        logger.warning(
            "%s: coordinates look 1-based (shift %+.2f px): 1 is taken off", where, shift
        )
    if base not in ("auto", found):
        logger.warning("%s: read as %d-based, but coordinates look %d-based", where, base, found)
    swapped = _is_swapped(true - found, light)
    if swapped:
        logger.warning("%s: xc looks like the row and yc like the column: they are swapped", where)
    return Coordinates(found if base == "auto" else base, swapped)


def _centroids(scenes: Scenes) -> tuple[Float, Float]:
    """(crops with targets, 2) x, y of the targets, intensity-weighted, and of the light."""
    intensity = scenes.intensity.double().numpy()
    crops = scenes.crops.double().numpy()
    # What background there is would draw the centroid to the crop's centre.
    border = np.ones(crops.shape[1:], bool)
    border[1:-1, 1:-1] = False
    light = crops - np.median(crops[:, border], axis=1)[:, None, None]
    total, weight = light.sum((1, 2)), intensity.sum(1)
    # A crop whose light is lost in noise has no centroid.
    usable = (weight > 0) & (total > 0.5 * weight)
    pixel = np.arange(crops.shape[1])
    seen = np.stack([light.sum(1) @ pixel, light.sum(2) @ pixel], 1)[usable]
    true = np.stack([(intensity * p.double().numpy()).sum(1) for p in (scenes.x, scenes.y)], 1)[
        usable
    ]
    return true / weight[usable, None], seen / total[usable, None]


def _is_swapped(true: Float, light: Float) -> bool:
    """Whether (row, column) fits better, beyond chance: three standard errors."""
    if len(true) < FEWEST_TO_SWAP:
        return False
    gain = ((true - light) ** 2).sum(1) - ((true[:, ::-1] - light) ** 2).sum(1)
    return bool(gain.mean() > 3 * gain.std() / np.sqrt(len(gain)))
