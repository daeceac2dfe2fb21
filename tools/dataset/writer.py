"""Writes simulated crops as a data set in the layout of CSIST-100K (see `reader.py`)."""

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from dscsnet.tools.dataset.files import Annotation, DatasetError, encode_crop, format_annotation
from dscsnet.tools.dataset.reader import (
    ANNOTATION_FOLDERS,
    IMAGE_FOLDERS,
    MANIFEST,
    SPLITS,
    Manifest,
    Progress,
    SplitRecord,
)
from dscsnet.tools.simulation.csist import CropProtocol, Simulator
from dscsnet.tools.simulation.scenes import Scenes

README = "README.md"
CHUNK = 1000  # crops drawn at once


def write_dataset(
    folder: Path,
    protocol: CropProtocol,
    crops: Mapping[str, int],
    *,
    seed: int,
    base: Literal[0, 1] = 0,
    force: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Draw and write the splits of a data set, its manifest and a README.

    Numbers run on from split to split, as in CSIST-100K; each split has a seed of its own, so it
    does not depend on the size of the others. PNG holds whole counts: crops are rounded. Where the
    protocol has noise, every pixel is raised by a pedestal, which the annotations state.

    Args:
        crops: number of crops of each split, of those in `SPLITS`; splits with 0 are left out.
        base: what the first pixel's coordinate is in the annotations.
        force: write into a folder that is not empty; an earlier data set in it is removed.
        progress: told after each chunk of crops.

    Raises:
        DatasetError: no crops asked for, the folder is not empty, or writing failed.
    """
    wanted = {name: crops[name] for name in SPLITS if crops.get(name)}
    if not wanted:
        raise DatasetError(f"{folder}: nothing to write: every split has 0 crops")
    protocol = msgspec.structs.replace(protocol, integer=True)
    manifest = Manifest(
        protocol=protocol,
        seed=seed,
        base=base,
        pedestal=_pedestal(protocol),
        splits=_records(wanted, seed),
    )
    try:
        _prepare(folder, force)
        # First, so that what an interruption leaves is not taken for the whole.
        text = msgspec.json.format(msgspec.json.encode(manifest)).decode()
        (folder / MANIFEST).write_text(text + "\n")
        (folder / README).write_text(_readme(manifest))
        _draw(folder, manifest, progress)
    except OSError as error:
        where = error.filename or folder
        raise DatasetError(f"{where}: cannot be written: {error.strerror}") from None
    return manifest


def _draw(folder: Path, manifest: Manifest, progress: Progress | None) -> None:
    done, total = 0, sum(record.crops for record in manifest.splits.values())
    for name, record in manifest.splits.items():
        simulator = Simulator(manifest.protocol, seed=record.seed, exact=True)
        for start in range(0, record.crops, CHUNK):
            scenes = simulator.draw(min(CHUNK, record.crops - start))
            write_split(folder / name, scenes, manifest, first=record.first + start)
            done += len(scenes.x)
            if progress:
                progress(done, total)


def write_split(folder: Path, scenes: Scenes, manifest: Manifest, *, first: int = 0) -> None:
    """Write or go on with one split.

    Args:
        folder: the split.
        scenes: whole counts.
        manifest: gives base, pedestal and PSF.
        first: number of the first of these crops.

    Raises:
        DatasetError: a pixel with its pedestal is not a whole number of 0 to 65535.
        OSError: writing failed.
    """
    images, annotations = folder / IMAGE_FOLDERS[0], folder / ANNOTATION_FOLDERS[0]
    for each in (images, annotations):
        each.mkdir(parents=True, exist_ok=True)
    pixels = scenes.crops.numpy() + np.float32(manifest.pedestal)
    columns = (scenes.x.double() + manifest.base, scenes.y.double() + manifest.base)
    table = torch.stack([*columns, scenes.intensity.double()], -1).numpy()
    present, noise = scenes.present.numpy(), scenes.noise.tolist()
    for index, crop in enumerate(pixels):
        rows = table[index, present[index]].tolist()
        targets = tuple((x, y, brightness) for x, y, brightness in rows)
        annotation = Annotation(targets, noise[index], manifest.pedestal)
        _write_crop(images, annotations, first + index, crop, annotation, manifest.protocol)


def _write_crop(
    images: Path,
    annotations: Path,
    number: int,
    counts: NDArray[np.float32],
    annotation: Annotation,
    protocol: CropProtocol,
) -> None:
    image, name = images / f"image_{number:05d}.png", f"CSO{number:05d}"
    try:
        content = encode_crop(counts)
    except ValueError as error:
        raise DatasetError(f"{image}: {error}; choose another intensity or noise") from None
    text = format_annotation(
        annotation, name, crop_size=protocol.crop_size, psf_sigma=protocol.psf_sigma
    )
    (annotations / f"{name}.xml").write_text(text)
    image.write_bytes(content)


def _pedestal(protocol: CropProtocol) -> int:
    """Counts that keep noise above 0: eight sigma, in hundreds."""
    return 100 * math.ceil(8 * protocol.noise[1] / 100)


def _records(crops: Mapping[str, int], seed: int) -> dict[str, SplitRecord]:
    records, first = {}, 0
    for name, number in crops.items():
        own_seed = len(SPLITS) * seed + SPLITS.index(name)
        records[name] = SplitRecord(crops=number, first=first, seed=own_seed)
        first += number
    return records


def _prepare(folder: Path, force: bool) -> None:
    """An existing folder must be empty; with `force`, an earlier data set in it is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        return
    if not force:
        raise DatasetError(
            f"{folder}: not empty; take another folder, or --force to replace the data set in it"
        )
    if not (folder / MANIFEST).is_file():
        raise DatasetError(
            f"{folder}: not empty and without {MANIFEST}, so not written by this command: "
            "take another folder"
        )
    for split in SPLITS:
        for name in (IMAGE_FOLDERS[0], ANNOTATION_FOLDERS[0]):
            if (folder / split / name).is_dir():
                shutil.rmtree(folder / split / name)


def _readme(manifest: Manifest) -> str:
    protocol = manifest.protocol
    size = f"{protocol.crop_size}x{protocol.crop_size}"
    rows = [
        f"| {name} | {record.crops} | {record.first} to {record.first + record.crops - 1} "
        f"| {record.seed} |"
        for name, record in manifest.splits.items()
    ]
    settings = [f"- {key}: {value}" for key, value in msgspec.to_builtins(protocol).items()]
    pedestal = (
        f"Every pixel was raised by {manifest.pedestal} counts, so that noise stays above 0; each "
        "annotation states this `pedestal` and the noise sigma of its crop, in counts. "
        if manifest.pedestal
        else ""
    )
    return "\n".join(
        [
            "# Simulated crops with known targets",
            "",
            "Made by `dscsnet dataset write` in the layout of CSIST-100K; it is not that data.",
            f"`{MANIFEST}` holds the same facts for programs.",
            "",
            "| split | crops | numbers | seed |",
            "|---|---|---|---|",
            *rows,
            "",
            f"- `SPLIT/{IMAGE_FOLDERS[0]}/image_NUMBER.png`: a crop of {size} px, whole counts, "
            "8-bit, or 16-bit where one exceeds 255.",
            f"- `SPLIT/{ANNOTATION_FOLDERS[0]}/CSONUMBER.xml`: its targets, each an `object` with "
            "`coordinate/xc`, `yc` (px) and `brightness` (total counts).",
            "",
            f"xc is the column and yc the row; integers are pixel centres, and the centre of the "
            f"top-left pixel is ({manifest.base}, {manifest.base}). {pedestal}".rstrip(),
            "",
            f"Protocol, seed {manifest.seed}:",
            "",
            *settings,
            "",
        ]
    )
