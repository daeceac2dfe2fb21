"""The bad-pixel mask's file: what counts as bad, and what is no mask."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dscsnet.pipeline.cropping.bad_pixels import load_bad_pixels
from dscsnet.pipeline.errors import ConfigError


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_what_is_above_zero_is_bad(tmp_path: Path, dtype: type) -> None:
    values = np.array([[0, 1, 0], [1, 0, 0]]).astype(dtype)
    np.save(tmp_path / "mask.npy", values)
    mask = load_bad_pixels(str(tmp_path / "mask.npy"))
    assert mask is not None
    assert mask.dtype == np.bool_
    assert mask.flags.c_contiguous
    np.testing.assert_array_equal(mask, values == 1)


def test_negative_numbers_and_none_are_good(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.array([[-1.0, np.nan, 1e-9, np.inf]]))
    mask = load_bad_pixels(str(tmp_path / "mask.npy"))
    assert mask is not None
    assert mask.tolist() == [[False, False, True, True]]
    assert load_bad_pixels(None) is None


def test_images_are_masks_too(tmp_path: Path) -> None:
    values = np.zeros((4, 5), np.uint8)
    values[1, 2] = 1
    cv2.imwrite(str(tmp_path / "mask.png"), values)
    mask = load_bad_pixels(str(tmp_path / "mask.png"))
    assert mask is not None
    np.testing.assert_array_equal(mask, values == 1)


@pytest.mark.parametrize(
    "array", [np.zeros(3), np.zeros((2, 3, 3)), np.zeros((2, 3), complex), np.zeros((2, 3), "U1")]
)
def test_what_is_no_mask_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "mask.npy"
    np.save(path, array)
    with pytest.raises(ConfigError, match=r"crop\.bad_pixels: .*mask\.npy: expected a one-channel"):
        load_bad_pixels(str(path))
    path.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="expected a one-channel"):
        load_bad_pixels(str(path))
    with pytest.raises(ConfigError, match="no such file"):
        load_bad_pixels(str(tmp_path / "none.png"))
