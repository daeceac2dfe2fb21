"""Single files of a data set in the layout of CSIST-100K: a crop as PNG, its targets as XML."""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

import cv2
import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.errors import DscsnetError

LARGEST_FILE = 65536  # bytes; an 11x11 crop takes 300, its annotation about 1000
LARGEST_SIDE = 255  # px
MOST_TARGETS = 64  # in one crop

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY = 0  # the colour type of a PNG with one channel


class DatasetError(DscsnetError):
    """A data set cannot be read or written; the message names the file."""


@dataclass(frozen=True)
class Annotation:
    """Targets of one crop as they stand in its file.

    Attributes:
        targets: (xc, yc, brightness) of each, in the file's own coordinates, px and counts.
        noise: noise sigma, counts; 0 where the file has none, as in CSIST-100K.
        pedestal: counts that were added to every pixel; 0 where the file has none.
    """

    targets: tuple[tuple[float, float, float], ...]
    noise: float = 0.0
    pedestal: float = 0.0


def format_annotation(
    annotation: Annotation, name: str, *, crop_size: int, psf_sigma: float
) -> str:
    """XML text; numbers are written so that they come back exactly.

    `noise` and `pedestal` are written only where they are not 0: CSIST-100K does not know them.
    """
    lines = [
        '<?xml version="1.0" ?>',
        "<annotation>",
        f"\t<filename>{name}</filename>",
        f"\t<size><width>{crop_size}</width><height>{crop_size}</height><depth>1</depth></size>",
        f"\t<sigma>{psf_sigma!r}</sigma>",
    ]
    for tag, value in (("noise", annotation.noise), ("pedestal", annotation.pedestal)):
        if value:
            lines.append(f"\t<{tag}>{value!r}</{tag}>")
    for x, y, brightness in annotation.targets:
        lines += [
            "\t<object>",
            "\t\t<name>Target</name>",
            f"\t\t<coordinate><xc>{x!r}</xc><yc>{y!r}</yc>"
            f"<brightness>{brightness!r}</brightness></coordinate>",
            "\t</object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def read_annotation(path: Path) -> Annotation:
    """Read and check one annotation.

    Raises:
        DatasetError: unreadable, too large, broken XML, a document type, more than `MOST_TARGETS`
            objects, or a number that is missing, not finite or not positive where it must be.
    """
    root = parse_xml(path)
    objects = root.findall("object")
    if len(objects) > MOST_TARGETS:
        raise DatasetError(f"{path}: {len(objects)} objects, at most {MOST_TARGETS} are allowed")
    targets = tuple(_target(each, f"{path}: object {i}") for i, each in enumerate(objects, 1))
    return Annotation(targets, _optional(root, "noise", path), _optional(root, "pedestal", path))


def parse_xml(path: Path) -> ElementTree.Element:
    """The root element. A document type, the one place that can define entities, is refused.

    Raises:
        DatasetError: unreadable, larger than `LARGEST_FILE`, broken XML, or a document type.
    """
    content = _read_bounded(path)
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()

    def refuse(*_declaration: object) -> None:
        raise DatasetError(f"{path}: has a document type (<!DOCTYPE ...>), which is not allowed")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise DatasetError(f"{path}: broken XML: {error}") from None
    return builder.close()


def _target(element: ElementTree.Element, where: str) -> tuple[float, float, float]:
    coordinate = element.find("coordinate")
    if coordinate is None:
        raise DatasetError(f"{where}: coordinate: missing")
    x, y, brightness = (
        _number(coordinate.findtext(tag), f"{where}: coordinate/{tag}")
        for tag in ("xc", "yc", "brightness")
    )
    if brightness <= 0:
        raise DatasetError(
            f"{where}: coordinate/brightness: expected more than 0, got {brightness}"
        )
    return x, y, brightness


def _optional(root: ElementTree.Element, tag: str, path: Path) -> float:
    text = root.findtext(tag)
    if text is None:
        return 0.0
    value = _number(text, f"{path}: {tag}")
    if value < 0:
        raise DatasetError(f"{path}: {tag}: expected at least 0, got {value}")
    return value


def _number(text: str | None, where: str) -> float:
    if text is None:
        raise DatasetError(f"{where}: missing")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DatasetError(f'{where}: expected a number, got "{text.strip()[:40]}"')
    return value


def encode_crop(counts: NDArray[np.float32]) -> bytes:
    """PNG of whole counts, (n, n): 8-bit, as most readers expect, or 16-bit if one exceeds 255.

    Raises:
        ValueError: a value is not a whole number of 0 to 65535.
    """
    high = counts.max()
    if counts.min() < 0 or high > 65535 or (counts % 1).any():
        raise ValueError(f"expected whole counts of 0 to 65535, got {counts.min()} to {high}")
    _, encoded = cv2.imencode(".png", counts.astype(np.uint8 if high <= 255 else np.uint16))
    return encoded.tobytes()


def read_crop(path: Path) -> NDArray[np.generic]:
    """Read one crop: (height, width) uint8 or uint16, as stored.

    Raises:
        DatasetError: unreadable, too large, no PNG, damaged, or not one grey channel.
    """
    content = _read_bounded(path)
    if len(content) < 26 or not content.startswith(PNG_SIGNATURE):
        raise DatasetError(f"{path}: not a PNG image")
    width, height, depth, colour = struct.unpack(">IIBB", content[16:26])
    if max(width, height) > LARGEST_SIDE:
        raise DatasetError(f"{path}: {width}x{height} px, at most {LARGEST_SIDE} are allowed")
    if colour != GREY or depth not in (8, 16):
        raise DatasetError(f"{path}: expected one grey channel of 8 or 16 bit, got another PNG")
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise DatasetError(f"{path}: damaged PNG image")
    return np.asarray(image)


def _read_bounded(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_FILE:
        raise DatasetError(f"{path}: larger than {LARGEST_FILE} bytes")
    return content
