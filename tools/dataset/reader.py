"""Reads data sets in the layout of CSIST-100K, so that it can be evaluated on directly.

    FOLDER/test/cso_img/image_90000.png      one crop: whole counts, one grey channel
    FOLDER/test/Annotations/CSO90000.xml     its targets: object/coordinate/{xc, yc, brightness}

and likewise `train` and `val`. An image and an annotation belong together by the number in their
names; `CSO_90000.xml` is as good. Published loaders know coordinates that count from 0 and from 1,
and index them as (column, row) here and (row, column) there; so the reader finds out from where
the light is. Ours count from 0, xc is the column, yc the row, integers are pixel centres.
"""

import logging
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from dscsnet.tools.dataset.coordinates import Base, Coordinates, find_coordinates
from dscsnet.tools.dataset.files import Annotation, DatasetError, read_annotation, read_crop
from dscsnet.tools.simulation.csist import CropProtocol
from dscsnet.tools.simulation.scenes import Scenes

SPLITS = ("train", "val", "test")
IMAGE_FOLDERS = ("cso_img", "images", "image")  # the first is CSIST-100K's, and the one we write
ANNOTATION_FOLDERS = ("Annotations", "annotations")
MANIFEST = "dataset.json"
MOST_CROPS = 1_000_000

Progress = Callable[[int, int], None]  # done, total
Stack = NDArray[np.generic]

logger = logging.getLogger(__name__)


class SplitRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest says of one split."""

    crops: int
    first: int
    seed: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """How a data set was made: `dataset.json` beside the splits that `dscsnet dataset` wrote."""

    format: Literal["dscsnet-dataset/1"] = "dscsnet-dataset/1"
    protocol: CropProtocol
    seed: int
    base: Literal[0, 1]
    pedestal: int
    splits: dict[str, SplitRecord]


def find_splits(folder: Path) -> dict[str, Path]:
    """Splits by name: those in a data set's folder, or the folder itself if it is one.

    Raises:
        DatasetError: there is none.
    """
    if _subfolder(folder, IMAGE_FOLDERS):
        return {folder.resolve().name: folder}
    names = sorted(_listing(folder))
    names.sort(key=lambda name: SPLITS.index(name) if name in SPLITS else len(SPLITS))
    splits = {name: folder / name for name in names if _subfolder(folder / name, IMAGE_FOLDERS)}
    if not splits:
        raise DatasetError(
            f"{folder}: no data set: neither it nor a folder in it has a folder {IMAGE_FOLDERS[0]}"
        )
    return splits


def load_dataset(folder: Path, *, base: Base = "auto", progress: Progress | None = None) -> Scenes:
    """Read all crops and targets of one split, in the order of their numbers.

    Args:
        folder: the split, e.g. `cso_data/test`.
        base: what the first pixel's coordinate is in the files. `auto` takes it from the manifest
            if there is one and else finds out; coordinates that count from 1, or whose xc is the
            row, are reported by a warning.
        progress: told after each crop.

    Returns:
        crops (B, n, n) float32 counts above the pedestal; targets padded to the crop with most.

    Raises:
        DatasetError: one line that names the file: an image without annotation or the reverse,
            broken files, unlike sizes, a target outside of its crop, too many, or fewer crops than
            the manifest says.
    """
    pairs = _pairs(folder)
    manifest = _manifest(folder)
    if manifest:
        _check_count(folder, manifest, len(pairs))
    images: list[Stack] = []
    annotations: list[Annotation] = []
    for done, (image, annotation) in enumerate(pairs, 1):
        images.append(_sized(read_crop(image), image, images))
        annotations.append(read_annotation(annotation))
        if progress:
            progress(done, len(pairs))
    _warn_of_clipping(folder, images)
    scenes = _assemble(images, annotations)
    if manifest and base == "auto":
        coordinates = Coordinates(manifest.base, swapped=False)
    else:
        coordinates = find_coordinates(scenes, base, str(folder))
    return _placed(scenes, coordinates, [annotation for _, annotation in pairs])


def _subfolder(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _listing(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read: {error.strerror}") from None


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Image and annotation of each crop, in the order of their numbers."""
    images, annotations = (
        _by_number(folder, names, suffix)
        for names, suffix in ((IMAGE_FOLDERS, ".png"), (ANNOTATION_FOLDERS, ".xml"))
    )
    if not images:
        raise DatasetError(f"{folder}: no PNG images in its folder {IMAGE_FOLDERS[0]}")
    if alone := images.keys() ^ annotations.keys():
        number = min(alone)
        if number in images:
            raise DatasetError(
                f"{images[number]}: its annotation is missing: no CSO{number:05d}.xml or the like"
            )
        raise DatasetError(f"{annotations[number]}: its image is missing")
    return [(images[number], annotations[number]) for number in sorted(images)]


def _by_number(folder: Path, names: Sequence[str], suffix: str) -> dict[int, Path]:
    """Files by the last number in their names; those with a leading dot are left out."""
    where = _subfolder(folder, names)
    if where is None and names is IMAGE_FOLDERS:
        splits = ", ".join(str(path) for path in find_splits(folder).values())
        raise DatasetError(f"{folder}: holds several splits; take one of them: {splits}")
    if where is None:
        raise DatasetError(f"{folder}: has no folder {names[0]}")
    found: dict[int, Path] = {}
    for name in _listing(where):
        if name[0] == "." or not name.lower().endswith(suffix):
            continue
        number = re.search(r"(\d{1,15})\D*$", name[: -len(suffix)])
        if number is None:
            raise DatasetError(f"{where / name}: expected a number in its name")
        other = found.setdefault(int(number[1]), where / name)
        if other.name != name:
            raise DatasetError(f"{where / name}: has the same number as {other.name}")
    if len(found) > MOST_CROPS:
        raise DatasetError(f"{where}: {len(found)} files, at most {MOST_CROPS} are allowed")
    return found


def _manifest(folder: Path) -> Manifest | None:
    """How the split was made, if `dscsnet dataset write` made it."""
    try:
        manifest = msgspec.json.decode(
            (folder.resolve().parent / MANIFEST).read_bytes(), type=Manifest
        )
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Anyone may keep a file of this name beside a data set that is not ours.
        return None
    return manifest if folder.resolve().name in manifest.splits else None


def _check_count(folder: Path, manifest: Manifest, crops: int) -> None:
    expected = manifest.splits[folder.resolve().name].crops
    if crops != expected:
        raise DatasetError(
            f"{folder}: {crops} crops, but {MANIFEST} says {expected}: "
            "files are missing or writing was interrupted; write it again with --force"
        )


def _sized(image: Stack, path: Path, earlier: Sequence[Stack]) -> Stack:
    height, width = image.shape
    if height != width or width % 2 == 0:
        raise DatasetError(f"{path}: expected an odd square such as 11x11 px, got {width}x{height}")
    if earlier and image.shape != earlier[0].shape:
        side = len(earlier[0])
        raise DatasetError(
            f"{path}: {width}x{height} px, but the crops before it are {side}x{side}"
        )
    return image


def _warn_of_clipping(folder: Path, images: Sequence[Stack]) -> None:
    clipped = sum(image.dtype == np.uint8 and bool((image == 255).any()) for image in images)
    # A crop whose brightest pixel happens to be 255 is rare; a clipped data set is full of them.
    if clipped > 0.05 * len(images):
        logger.warning(
            "%s: %d of %d crops are 8-bit images that reach 255: their bright pixels were probably "
            "clipped when they were stored",
            *(folder, clipped, len(images)),
        )


def _assemble(images: Sequence[Stack], annotations: Sequence[Annotation]) -> Scenes:
    """Scenes whose positions are still those of the files."""
    most = max(1, *(len(each.targets) for each in annotations))
    table = np.zeros((len(annotations), most, 3))
    for row, each in zip(table, annotations, strict=True):
        row[: len(each.targets)] = np.reshape(each.targets, (-1, 3))
    pedestal = np.array([each.pedestal for each in annotations])
    crops = np.stack([image.astype(np.float32) for image in images])
    x, y, intensity = torch.from_numpy(table).unbind(-1)
    return Scenes(
        torch.from_numpy((crops - pedestal[:, None, None]).astype(np.float32)),
        *(x, y, intensity.float(), intensity > 0),
        torch.tensor([each.noise for each in annotations], dtype=torch.float32),
    )


def _placed(scenes: Scenes, coordinates: Coordinates, paths: Sequence[Path]) -> Scenes:
    """Positions in our convention, checked; absent targets at the centre."""
    size = scenes.crops.shape[-1]
    columns, rows = (scenes.y, scenes.x) if coordinates.swapped else (scenes.x, scenes.y)
    x, y = (
        torch.where(scenes.present, (p - coordinates.base).float(), size // 2)
        for p in (columns, rows)
    )
    outside = (torch.maximum((x - size // 2).abs(), (y - size // 2).abs()) > size / 2).any(1)
    for index in outside.nonzero()[:1, 0].tolist():
        raise DatasetError(
            f"{paths[index]}: a target lies outside of its crop of {size}x{size} px "
            f"(coordinates were taken to count from {coordinates.base})"
        )
    return Scenes(scenes.crops, x, y, scenes.intensity, scenes.present, scenes.noise)
