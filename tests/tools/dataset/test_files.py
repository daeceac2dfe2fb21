"""Files of a data set at the limits of what is read and written."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dscsnet.tools.dataset.files import (
    Annotation,
    DatasetError,
    encode_crop,
    format_annotation,
    read_annotation,
    read_crop,
)

TARGET = "<object><coordinate><xc>1</xc><yc>2</yc><brightness>3</brightness></coordinate></object>"


def annotation(path: Path, targets: int, size: int = 0) -> Path:
    text = f"<annotation>{TARGET * targets}</annotation>"
    path.write_text(text + " " * (size - len(text)))
    return path


def test_an_annotation_has_64_targets_at_most(tmp_path: Path) -> None:
    assert len(read_annotation(annotation(tmp_path / "most.xml", 64)).targets) == 64
    with pytest.raises(DatasetError, match=r"more\.xml: 65 objects, at most 64 are allowed"):
        read_annotation(annotation(tmp_path / "more.xml", 65))


def test_a_file_has_64_kibibytes_at_most(tmp_path: Path) -> None:
    assert read_annotation(annotation(tmp_path / "most.xml", 1, 65536)).targets == ((1, 2, 3),)
    with pytest.raises(DatasetError, match=r"more\.xml: larger than 65536 bytes"):
        read_annotation(annotation(tmp_path / "more.xml", 1, 65537))


@pytest.mark.parametrize("shape", [(255, 255), (1, 255), (255, 1), (1, 256), (256, 1)])
def test_a_crop_has_255_pixels_along_a_side_at_most(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = tmp_path / "crop.png"
    path.write_bytes(encode_crop(np.zeros(shape, np.float32)))
    if max(shape) <= 255:
        assert read_crop(path).shape == shape
    else:
        with pytest.raises(DatasetError, match=f"{shape[1]}x{shape[0]} px, at most 255 are"):
            read_crop(path)


@pytest.mark.parametrize(
    ("high", "dtype"), [(0, np.uint8), (255, np.uint8), (256, np.uint16), (65535, np.uint16)]
)
def test_counts_come_back_in_as_few_bits_as_hold_them(
    tmp_path: Path, high: int, dtype: type
) -> None:
    counts = np.array([[0, high], [high // 2, 0]], np.float32)
    path = tmp_path / "crop.png"
    path.write_bytes(encode_crop(counts))
    found = read_crop(path)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, counts)


@pytest.mark.parametrize("count", [-1, 0.5, 65536])
def test_what_is_no_count_is_refused(count: float) -> None:
    counts = np.array([[0, 7], [0, count]], np.float32)
    with pytest.raises(
        ValueError, match=f"expected whole counts of 0 to 65535, got {counts.min()}"
    ):
        encode_crop(counts)


@pytest.mark.parametrize(
    "image",
    [np.zeros((3, 3, 3), np.uint8), np.zeros((3, 3, 3), np.uint16), np.zeros((3, 3, 4), np.uint8)],
)
def test_colours_are_no_counts(tmp_path: Path, image: np.ndarray) -> None:
    path = tmp_path / "crop.png"
    cv2.imwrite(str(path), image)
    with pytest.raises(DatasetError, match="expected one grey channel of 8 or 16 bit"):
        read_crop(path)


def test_few_bits_a_pixel_are_no_counts(tmp_path: Path) -> None:
    path = tmp_path / "crop.png"
    cv2.imwrite(str(path), np.zeros((3, 3), np.uint8), [cv2.IMWRITE_PNG_BILEVEL, 1])
    with pytest.raises(DatasetError, match="expected one grey channel of 8 or 16 bit"):
        read_crop(path)


@pytest.mark.parametrize(("length", "told"), [(25, "not a PNG image"), (26, "damaged PNG image")])
def test_a_png_that_breaks_off(tmp_path: Path, length: int, told: str) -> None:
    path = tmp_path / "crop.png"
    path.write_bytes(encode_crop(np.zeros((3, 3), np.float32))[:length])
    with pytest.raises(DatasetError, match=f"crop.png: {told}"):
        read_crop(path)


@pytest.mark.parametrize("raises", [True, False])
def test_a_png_that_cannot_be_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raises: bool
) -> None:
    path = tmp_path / "crop.png"
    path.write_bytes(encode_crop(np.zeros((3, 3), np.float32)))

    def decode(*_: object) -> None:
        if raises:
            raise cv2.error("out of memory")

    monkeypatch.setattr(cv2, "imdecode", decode)
    with pytest.raises(DatasetError, match=r"crop\.png: damaged PNG image"):
        read_crop(path)


def test_noise_and_pedestal_are_told_where_there_are_any() -> None:
    plain = format_annotation(Annotation(()), "a", crop_size=11, psf_sigma=0.5)
    assert "noise" not in plain
    assert "pedestal" not in plain
    told = format_annotation(Annotation((), 1.5, 100), "a", crop_size=11, psf_sigma=0.5)
    assert "<noise>1.5</noise>" in told
    assert "<pedestal>100</pedestal>" in told
