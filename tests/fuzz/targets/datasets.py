"""Data sets in the layout of CSIST-100K, and annotated real frames."""

import functools
from typing import Any

import cv2
import msgpack
import numpy as np

from tests.fuzz.contract import attempt, scratch, scratch_file


def dataset_crop(data: bytes) -> None:
    """One crop as PNG."""
    from dscsnet.tools.dataset.files import read_crop

    path = scratch_file("image_1.png", data)
    attempt(lambda: read_crop(path))


def dataset_annotation(data: bytes) -> None:
    """The targets of one crop as XML."""
    from dscsnet.tools.dataset.files import read_annotation

    path = scratch_file("CSO1.xml", data)
    attempt(lambda: read_annotation(path))


def dataset(data: bytes) -> None:
    """A map of `manifest`, `png` and `xml`: a split of two crops, the second always the same."""
    from dscsnet.tools.dataset.reader import (
        ANNOTATION_FOLDERS,
        IMAGE_FOLDERS,
        MANIFEST,
        find_splits,
        load_dataset,
    )

    try:
        files: Any = msgpack.unpackb(data)
    except (ValueError, msgpack.exceptions.UnpackException):
        return
    if not isinstance(files, dict) or not all(isinstance(each, bytes) for each in files.values()):
        return
    folder = scratch("dataset")
    images, annotations = (
        scratch(f"dataset/test/{each[0]}") for each in (IMAGE_FOLDERS, ANNOTATION_FOLDERS)
    )
    (folder / MANIFEST).write_bytes(files.get("manifest", b""))
    (images / "image_1.png").write_bytes(files.get("png", b""))
    (annotations / "CSO1.xml").write_bytes(files.get("xml", b""))
    (images / "image_2.png").write_bytes(_image(11))
    (annotations / "CSO2.xml").write_bytes(b"<annotation/>")
    attempt(lambda: find_splits(folder))
    attempt(lambda: load_dataset(folder / "test"))


def field_frames(data: bytes) -> None:
    """The annotation of a real frame."""
    from dscsnet.tools.field.frames import read_frames

    folder = scratch("field")
    (scratch("field/images") / "1.png").write_bytes(_image(64))
    (scratch("field/centroids") / "1.xml").write_bytes(data)
    attempt(lambda: read_frames(folder))


@functools.cache
def _image(side: int) -> bytes:
    pixels = np.random.default_rng(side).integers(0, 255, (side, side), np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])
