"""Data sets in the layout of CSIST-100K: written and read again, found out, refused, evaluated."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")

import dscsnet.tools.dataset.reader  # noqa: E402
from dscsnet.engines.errors import DscsnetError  # noqa: E402
from dscsnet.engines.opening import open_engine  # noqa: E402
from dscsnet.tools.commands.dataset import app  # noqa: E402
from dscsnet.tools.dataset.contact_sheet import GAP, HEAD, LABEL, SIDE, _reach, draw_sheet  # noqa: E402
from dscsnet.tools.dataset.files import MOST_TARGETS, DatasetError, read_crop  # noqa: E402
from dscsnet.tools.dataset.reader import MANIFEST, Manifest, find_splits, load_dataset  # noqa: E402
from dscsnet.tools.dataset.writer import write_dataset, write_split  # noqa: E402
from dscsnet.tools.evaluation.simulated_crops import evaluate_scenes  # noqa: E402
from dscsnet.tools.simulation.csist import CropProtocol, Simulator  # noqa: E402
from dscsnet.tools.simulation.scenes import Scenes  # noqa: E402

# Members up to 2.5 times as bright, empty crops, negative pixels.
NOISY = CropProtocol(
    placement="cluster",
    empty=0.2,
    intensity=(1000, 1000),
    brightness_ratio=2.5,
    noise=(1.2, 58.0),
    neighbour=0.25,
)
PUBLIC = CropProtocol(targets=(1, 3))

CSIST_XML = """<?xml version="1.0" ?>
<annotation>
\t<filename>CSO0</filename>
\t<size>
\t\t<width>11</width>
\t\t<height>11</height>
\t\t<depth>1</depth>
\t</size>
\t<sigma>0.5</sigma>
\t<object>
\t\t<name>Target</name>
\t\t<coordinate>
\t\t\t<xc>4.75</xc>
\t\t\t<yc>5.125</yc>
\t\t\t<brightness>231</brightness>
\t\t</coordinate>
\t</object>
</annotation>
"""

Maker = Callable[..., Path]


@pytest.fixture(name="split")
def _split(tmp_path: Path) -> Maker:
    """Writes crops without a manifest beside them, so that the reader must find out."""

    def make(
        scenes: Scenes, protocol: CropProtocol = PUBLIC, base: Literal[0, 1] = 0, pedestal: int = 0
    ) -> Path:
        manifest = Manifest(protocol=protocol, seed=0, base=base, pedestal=pedestal, splits={})
        write_split(tmp_path / "test", scenes, manifest, first=7)
        return tmp_path / "test"

    return make


@pytest.fixture(name="scenes", scope="module")
def _scenes() -> Scenes:
    return Simulator(PUBLIC, seed=1, exact=True).draw(40)


def compacted(scenes: Scenes) -> Scenes:
    """Present targets first, as a file lists them, and no more columns than needed."""
    order = torch.sort(~scenes.present, dim=1, stable=True).indices
    most = max(1, int(scenes.present.sum(1).max()))
    x, y, intensity, present = (
        v.gather(1, order)[:, :most] for v in (scenes.x, scenes.y, scenes.intensity, scenes.present)
    )
    center = scenes.crops.shape[-1] // 2
    x, y = (torch.where(present, v, center) for v in (x, y))
    return Scenes(scenes.crops, x, y, intensity, present, scenes.noise)


def assert_same(read: Scenes, written: Scenes) -> None:
    for name in Scenes.__dataclass_fields__:
        result, expected = getattr(read, name), getattr(compacted(written), name)
        assert result.dtype == expected.dtype, name
        assert torch.equal(result, expected), name


def read_picture(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


@pytest.mark.parametrize("base", [0, 1])
def test_what_is_written_comes_back_exactly(
    split: Maker, scenes: Scenes, base: Literal[0, 1]
) -> None:
    folder = split(scenes, base=base)
    assert_same(load_dataset(folder, base=base), scenes)


def test_noise_negative_pixels_and_empty_crops_come_back_exactly(split: Maker) -> None:
    scenes = Simulator(NOISY, seed=2, exact=True).draw(60)
    assert scenes.crops.min() < 0
    assert not scenes.present.any(1).all()
    assert_same(load_dataset(split(scenes, NOISY, pedestal=500), base=0), scenes)


def test_an_image_is_8_bit_unless_a_count_exceeds_255(split: Maker, scenes: Scenes) -> None:
    folder = split(scenes)
    peaks = scenes.crops.amax((1, 2))
    assert 0 < (peaks > 255).sum() < len(peaks)
    for index, peak in enumerate(peaks.tolist()):
        stored = read_picture(folder / f"cso_img/image_{index + 7:05d}.png")
        assert stored.dtype == (np.uint16 if peak > 255 else np.uint8)
        assert np.array_equal(stored, scenes.crops[index].numpy())


def write_crop(folder: Path, number: str, xml: str, counts: np.ndarray, prefix: str) -> None:
    """A crop as another program would write it."""
    for name in ("cso_img", "Annotations"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f"cso_img/image_{number}.png"), counts)
    (folder / f"Annotations/{prefix}{number}.xml").write_text(xml)


@pytest.mark.parametrize("prefix", ["CSO", "CSO_", "COS"])
def test_names_of_the_public_sets_are_read_in_order_of_their_numbers(
    tmp_path: Path, prefix: str
) -> None:
    for number in ("10", "9", "2"):
        counts = np.full((11, 11), int(number), np.uint8)
        write_crop(tmp_path, number, CSIST_XML, counts, prefix)
    (tmp_path / "cso_img/._image_3.png").write_text("left by a file manager")
    scenes = load_dataset(tmp_path, base=0)
    assert scenes.crops[:, 0, 0].tolist() == [2, 9, 10]
    assert (scenes.x[0].item(), scenes.y[0].item()) == (4.75, 5.125)
    assert scenes.intensity.tolist() == [[231.0]] * 3
    assert scenes.noise.tolist() == [0.0] * 3


@pytest.mark.parametrize("protocol", [PUBLIC, NOISY])
@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("swapped", [False, True])
def test_base_and_axes_are_found_out(
    split: Maker,
    caplog: pytest.LogCaptureFixture,
    protocol: CropProtocol,
    base: Literal[0, 1],
    swapped: bool,
) -> None:
    scenes = Simulator(protocol, seed=3, exact=True).draw(200)
    stored = scenes
    if swapped:
        present, noise = scenes.present, scenes.noise
        stored = Scenes(scenes.crops, scenes.y, scenes.x, scenes.intensity, present, noise)
    with caplog.at_level(logging.WARNING):
        read = load_dataset(split(stored, protocol, base, pedestal=500))
    assert_same(read, scenes)
    assert ("1-based" in caplog.text) == (base == 1)
    assert ("swapped" in caplog.text) == swapped


def test_a_base_that_the_light_contradicts_is_kept_with_a_warning(
    split: Maker, scenes: Scenes, caplog: pytest.LogCaptureFixture
) -> None:
    read = load_dataset(split(scenes, base=1), base=0)
    assert torch.equal(read.x[scenes.present], scenes.x[scenes.present] + 1)
    assert "read as 0-based, but coordinates look 1-based" in caplog.text


def test_annotations_of_other_images_are_refused(split: Maker, scenes: Scenes) -> None:
    shifted = Scenes(
        scenes.crops.roll(3, 2),
        *(scenes.x, scenes.y, scenes.intensity),
        scenes.present,
        scenes.noise,
    )
    with pytest.raises(DatasetError, match=r"-1\.\d\d px from the light"):
        load_dataset(split(shifted))


def test_clipped_images_are_reported(
    split: Maker, scenes: Scenes, caplog: pytest.LogCaptureFixture
) -> None:
    clipped = scenes.crops.clamp(max=255)
    number = int((clipped.amax((1, 2)) == 255).sum())
    folder = split(
        Scenes(clipped, scenes.x, scenes.y, scenes.intensity, scenes.present, scenes.noise)
    )
    load_dataset(folder)
    assert f"{number} of 40 crops are 8-bit images that reach 255" in caplog.text


def expect_error(folder: Path, *parts: str) -> None:
    with pytest.raises(DatasetError) as caught:
        load_dataset(folder)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_an_image_without_annotation_and_the_reverse(split: Maker, scenes: Scenes) -> None:
    folder = split(scenes)
    annotation = folder / "Annotations/CSO00012.xml"
    text = annotation.read_text()
    annotation.unlink()
    expect_error(folder, "image_00012.png", "annotation is missing")
    annotation.write_text(text)
    (folder / "cso_img/image_00012.png").unlink()
    expect_error(folder, "CSO00012.xml", "image is missing")


def test_two_annotations_with_one_number(split: Maker, scenes: Scenes) -> None:
    folder = split(scenes)
    (folder / "Annotations/CSO_12.xml").write_text(CSIST_XML)
    expect_error(folder, "same number", "CSO_12.xml", "CSO00012.xml")


LAUGHS = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;">]>
<annotation><object><coordinate><xc>&c;</xc></coordinate></object></annotation>"""


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("<annotation><object></annotation>", "broken XML: mismatched tag: line 1"),
        ("", "broken XML: no element found"),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', "broken XML"),
        (LAUGHS, "document type"),
        (CSIST_XML.replace("<xc>4.75</xc>", ""), "object 1: coordinate/xc: missing"),
        (CSIST_XML.replace("coordinate>", "place>"), "object 1: coordinate: missing"),
        (CSIST_XML.replace("5.125", "five"), 'coordinate/yc: expected a number, got "five"'),
        (CSIST_XML.replace("5.125", "nan"), 'coordinate/yc: expected a number, got "nan"'),
        (CSIST_XML.replace("231", "0"), "coordinate/brightness: expected more than 0, got 0.0"),
        (CSIST_XML.replace("4.75", "10.51"), "outside of its crop of 11x11 px"),
        (CSIST_XML.replace("4.75", "-0.51"), "outside of its crop of 11x11 px"),
        (CSIST_XML.replace("5.125", "10.51"), "outside of its crop of 11x11 px"),
        (CSIST_XML.replace("5.125", "-0.51"), "outside of its crop of 11x11 px"),
        (CSIST_XML.replace("<sigma>", "<noise>-1</noise><sigma>"), "noise: expected at least 0"),
        (
            f"<annotation>{'<object/>' * (MOST_TARGETS + 1)}</annotation>",
            f"{MOST_TARGETS + 1} objects, at most {MOST_TARGETS}",
        ),
        (CSIST_XML + " " * 70_000, "larger than 65536 bytes"),
    ],
)
def test_bad_annotations_are_named(split: Maker, scenes: Scenes, content: str, part: str) -> None:
    folder = split(scenes)
    (folder / "Annotations/CSO00012.xml").write_text(content)
    expect_error(folder, "CSO00012.xml", part)


def png(shape: tuple[int, ...]) -> bytes:
    return cv2.imencode(".png", np.full(shape, 7, np.uint8))[1].tobytes()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "not a PNG image"),
        (b"GIF89a" + bytes(40), "not a PNG image"),
        (png((11, 11))[:-20], "damaged PNG image"),
        (png((11, 11, 3)), "expected one grey channel of 8 or 16 bit"),
        (png((11, 13)), "expected an odd square such as 11x11 px, got 13x11"),
        (png((10, 10)), "expected an odd square such as 11x11 px, got 10x10"),
        (png((13, 13)), "13x13 px, but the crops before it are 11x11"),
        (png((301, 301)), "301x301 px, at most 255 are allowed"),
    ],
)
def test_bad_images_are_named(split: Maker, scenes: Scenes, content: bytes, part: str) -> None:
    folder = split(scenes)
    (folder / "cso_img/image_00012.png").write_bytes(content)
    expect_error(folder, "image_00012.png", part)


def test_a_folder_that_is_no_split(tmp_path: Path, split: Maker, scenes: Scenes) -> None:
    expect_error(tmp_path / "nowhere", "nowhere")
    expect_error(tmp_path, "no data set")
    folder = split(scenes)
    expect_error(tmp_path, "holds several splits", str(folder))
    for path in (folder / "cso_img").iterdir():
        path.unlink()
    expect_error(folder, "no PNG images")


def test_folders_and_names_of_a_split(tmp_path: Path, split: Maker, scenes: Scenes) -> None:
    folder = split(scenes)
    assert find_splits(folder) == {"test": folder}
    (folder / "Annotations").rename(folder / "elsewhere")
    expect_error(folder, f"{folder}: has no folder Annotations")
    (folder / "elsewhere").rename(folder / "annotations")
    (folder / "cso_img").rename(folder / "images")
    for name in (".hidden.png", "notes.txt", "thumbs.db"):
        (folder / "images" / name).write_text("")
    assert_same(load_dataset(folder), scenes)
    (folder / "images" / "first.PNG").write_bytes(b"")
    expect_error(folder, f"{folder / 'images' / 'first.PNG'}: expected a number in its name")


def test_a_split_has_so_many_crops_at_most(
    split: Maker, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = split(scenes)
    monkeypatch.setattr(dscsnet.tools.dataset.reader, "MOST_CROPS", 40)
    assert len(load_dataset(folder).x) == 40
    monkeypatch.setattr(dscsnet.tools.dataset.reader, "MOST_CROPS", 39)
    expect_error(folder, f"{folder / 'cso_img'}: 40 files, at most 39 are allowed")


def test_a_whole_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    told: list[tuple[int, int]] = []
    crops = {"train": 30, "val": 0, "test": 20}
    write_dataset(
        *(folder, PUBLIC, crops), seed=5, base=1, progress=lambda *done: told.append(done)
    )
    assert told == [(30, 50), (50, 50)]
    assert list(find_splits(folder)) == ["train", "test"]
    assert (folder / "test/Annotations/CSO00049.xml").is_file()
    readme = (folder / "README.md").read_text()
    for fact in ("| test | 20 | 30 to 49 |", "(1, 1)", "seed 5", "min_separation: 0.494"):
        assert fact in readme
    train, test = (load_dataset(folder / name) for name in ("train", "test"))
    assert (len(train.x), len(test.x)) == (30, 20)
    assert not torch.equal(train.crops[:20], test.crops)


def test_a_split_depends_on_the_seed_and_not_on_the_others(tmp_path: Path) -> None:
    sets = [(1, {"test": 10}), (1, {"train": 5, "test": 10}), (2, {"test": 10})]
    read = []
    for index, (seed, crops) in enumerate(sets):
        write_dataset(tmp_path / str(index), PUBLIC, crops, seed=seed)
        read.append(load_dataset(tmp_path / str(index) / "test"))
    assert_same(read[1], read[0])
    assert not torch.equal(read[2].crops, read[0].crops)


def test_a_manifest_settles_the_base_where_noise_would_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # One target of 60 counts in noise of 50: its light cannot be found.
    protocol = CropProtocol(targets=(1, 1), intensity=(60, 60), noise=(50.0, 50.0))
    manifest = write_dataset(tmp_path, protocol, {"test": 9}, seed=0, base=1)
    expected = Simulator(protocol, seed=manifest.splits["test"].seed, exact=True).draw(9)
    assert_same(load_dataset(tmp_path / "test"), expected)
    assert not caplog.records


def test_a_base_that_is_told_counts_more_than_a_manifest(tmp_path: Path) -> None:
    write_dataset(tmp_path, PUBLIC, {"test": 10}, seed=1)
    known, told = (load_dataset(tmp_path / "test", base=base) for base in ("auto", 1))
    present = known.present
    torch.testing.assert_close(told.x[present], known.x[present] - 1)
    torch.testing.assert_close(told.y[present], known.y[present] - 1)


def test_crops_are_whole_counts_whatever_the_protocol_says(tmp_path: Path) -> None:
    protocol = CropProtocol(targets=(1, 1), integer=False)
    manifest = write_dataset(tmp_path, protocol, {"test": 5}, seed=0)
    assert manifest.protocol.integer
    assert torch.equal(
        *(f(load_dataset(tmp_path / "test").crops) for f in (torch.round, torch.abs))
    )


def test_only_a_data_set_of_ours_is_replaced_and_only_with_force(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(DatasetError, match="not empty"):
            write_dataset(tmp_path, PUBLIC, {"test": 5}, seed=0, force=force)
    (tmp_path / "notes.txt").unlink()
    write_dataset(tmp_path, PUBLIC, {"train": 5, "test": 5}, seed=0)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match="--force"):
        write_dataset(tmp_path, PUBLIC, {"test": 3}, seed=1)
    write_dataset(tmp_path, PUBLIC, {"test": 3}, seed=1, force=True)
    assert len(load_dataset(tmp_path / "test").x) == 3
    assert list(find_splits(tmp_path)) == ["test"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_nothing_to_write_and_nowhere_to_write(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="every split has 0 crops"):
        write_dataset(tmp_path, PUBLIC, {"test": 0}, seed=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="file: cannot be written"):
        write_dataset(tmp_path / "file", PUBLIC, {"test": 1}, seed=0)


def test_an_interrupted_data_set_is_not_taken_for_the_whole(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path, PUBLIC, {"train": 5, "test": 5}, seed=0, progress=stop)
    assert len(load_dataset(tmp_path / "train").x) == 5
    last = sorted((tmp_path / "train/cso_img").iterdir())[-1]
    last.unlink()
    (tmp_path / "train/Annotations/CSO00004.xml").unlink()
    expect_error(tmp_path / "train", "4 crops", f"{MANIFEST} says 5")


def test_counts_that_png_cannot_hold_are_refused(split: Maker, scenes: Scenes) -> None:
    negative = Scenes(
        scenes.crops - 1, *(scenes.x, scenes.y, scenes.intensity), scenes.present, scenes.noise
    )
    with pytest.raises(DatasetError, match=r"image_00007\.png: expected whole counts"):
        split(negative)


def test_a_written_folder_evaluates_as_the_scenes_in_memory(split: Maker) -> None:
    engine = open_engine("csist100k-compact", threads=1)
    scenes = Simulator(CropProtocol(), seed=4, exact=True).draw(60)
    read = evaluate_scenes(engine, load_dataset(split(scenes, base=1)))
    in_memory = evaluate_scenes(engine, scenes)
    assert read.figures() == in_memory.figures()
    assert read.by_count == in_memory.by_count
    assert read.precision.cso_map > 20
    with pytest.raises(DscsnetError, match="9x9 px, but csist100k-compact takes 11x11"):
        evaluate_scenes(engine, Simulator(CropProtocol(crop_size=9), seed=0, exact=True).draw(1))


def test_the_sheet_shows_all_targets_and_one_pixel_more() -> None:
    """Along whichever axis the outermost lies."""
    crops = torch.zeros(1, 21, 21)
    for off, reach in ((0.0, 1), (1.0, 2), (1.1, 3), (8.9, 10), (10.0, 10)):
        for x, y in ((off, 0.0), (-off, 0.0), (0.0, off), (0.0, -off)):
            columns = (torch.tensor([[10 + value]]) for value in (x, y, -9.0))
            scenes = Scenes(crops, *columns, torch.ones(1, 1, dtype=torch.bool), torch.zeros(1))
            assert _reach(scenes) == reach


def test_the_sheet_has_a_row_for_each_number_of_targets(scenes: Scenes) -> None:
    sheet = draw_sheet(scenes, "test")
    assert sheet.shape[0] == HEAD + 3 * (LABEL + SIDE + GAP)
    # Of the first crop with one target the central 5x5 px are enlarged: the corners of its
    # brightest pixel are white, but for one or two that the ring may cover.
    index = int((scenes.present.sum(1) == 1).nonzero()[0])
    view = sheet[HEAD + LABEL : HEAD + LABEL + SIDE, GAP : GAP + SIDE]
    row, column = divmod(int(scenes.crops[index, 3:8, 3:8].argmax()), 5)
    inside = np.array([3, SIDE / 5 - 4])
    rows, columns = (np.rint(first * SIDE / 5 + inside).astype(int) for first in (row, column))
    assert (view[np.ix_(rows, columns)] == 255).all(-1).sum() >= 2
    assert view[2, 2].max() < 20


def test_the_commands_write_and_show(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("name: a\ndescription: b\nprotocol: {targets: [1, 2]}\n")
    out, picture = tmp_path / "out", tmp_path / "sheet.png"
    counts = ["--train", "0", "--val", "4", "--test", "12"]
    result = CliRunner().invoke(app, ["write", str(config), str(out), *counts, "--base", "1"])
    assert result.exit_code == 0, result.output
    assert "4 val, 12 test crops, seed 0" in result.output
    result = CliRunner().invoke(app, ["show", str(out), "--picture", str(picture)])
    assert result.exit_code == 0, result.output
    assert "val: 4 crops of 11x11 px" in result.output
    assert "test: 12 crops of 11x11 px" in result.output
    assert read_picture(picture).ndim == 3


def test_a_crop_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.png: cannot be read: "):
        read_crop(tmp_path / "gone.png")


def test_what_is_missing_first_is_named_whatever_the_folder_says(
    split: Maker, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = split(scenes)
    names = sorted(path.name for path in (folder / "Annotations").iterdir())
    for name in names[3:5]:
        (folder / "Annotations" / name).unlink()
    first = names[3].removeprefix("CSO").removesuffix(".xml")
    listdir = os.listdir
    for backwards in (False, True):
        monkeypatch.setattr(
            os, "listdir", lambda path, b=backwards: sorted(listdir(path), reverse=b)
        )
        expect_error(folder, f"image_{first}.png", "annotation is missing")


def test_splits_come_in_the_order_of_their_use_then_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["train", "val", "test", "a", "b"]
    for name in names:
        (tmp_path / name / "cso_img").mkdir(parents=True)
    for backwards in (False, True):
        listing = sorted(names, reverse=backwards)
        monkeypatch.setattr(
            "dscsnet.tools.dataset.reader._listing", lambda folder, found=listing: found
        )
        assert list(find_splits(tmp_path)) == names
