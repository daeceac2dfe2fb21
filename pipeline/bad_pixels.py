"""The bad-pixel mask file."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError

EXPECTED = "expected a one-channel image or a 2-D .npy array of numbers"


def load_bad_pixels(path: str | None) -> NDArray[np.bool_] | None:
    """Read a mask image or `.npy` array of the frame's size; anything above 0 is a bad pixel.

    Raises:
        ConfigError: the file is not there or is no two-dimensional image.
    """
    if path is None:
        return None
    if not Path(path).is_file():
        raise ConfigError(f"crop.bad_pixels: {path}: no such file; {EXPECTED}")
    if Path(path).suffix == ".npy":
        mask = _read_array(Path(path))
    else:
        mask = cv2.imread(path, cv2.IMREAD_UNCHANGED)
    if mask is None or mask.ndim != 2 or mask.dtype.kind not in "buif":
        raise ConfigError(f"crop.bad_pixels: {path}: {EXPECTED}")
    return np.ascontiguousarray(mask.astype(float) > 0)


def _read_array(path: Path) -> NDArray[np.generic] | None:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return None
