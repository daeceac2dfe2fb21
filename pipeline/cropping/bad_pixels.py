"""The bad-pixel mask file."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.files.arrays import ArrayFileError, map_array
from dscsnet.engines.files.images import ImageFileError, read_image
from dscsnet.pipeline.errors import ConfigError

EXPECTED = "expected a one-channel image (PNG, TIFF, BMP) or a 2-D .npy array of numbers"


def load_bad_pixels(path: str | None, key: str = "crop.bad_pixels") -> NDArray[np.bool_] | None:
    """Read a mask image or `.npy` array of the frame's size; anything above 0 is a bad pixel.

    Args:
        key: of the configuration, named in errors.

    Returns:
        (height, width) bool, in C order; None without a path.

    Raises:
        ConfigError: the file is not there or is no two-dimensional image.
    """
    if path is None:
        return None
    if not Path(path).is_file():
        raise ConfigError(f"{key}: {path}: no such file; {EXPECTED}")
    try:
        mask = map_array(Path(path)) if Path(path).suffix == ".npy" else read_image(Path(path))
    except (ArrayFileError, ImageFileError) as error:
        raise ConfigError(f"{key}: {path}: {EXPECTED}; {error}") from None
    if mask.ndim != 2 or mask.dtype.kind not in "buif":
        raise ConfigError(f"{key}: {path}: {EXPECTED}")
    with np.errstate(invalid="ignore"):  # a NaN is not above 0
        return np.asarray(mask > 0, np.bool_, order="C")
