"""Real frames: their order, what refuses one, and places at the limits."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from dscsnet.engines.errors import DscsnetError
from dscsnet.tools.field import frames as module
from dscsnet.tools.field.frames import FieldFrame, read_frames

NONE = np.empty(0)


def textured(shape: tuple[int, int] = (110, 120)) -> np.ndarray:
    return np.random.default_rng(0).integers(60, 180, shape).astype(np.uint8)


def frame_of(pixels: np.ndarray, x: float | None = None, y: float = 50.0) -> FieldFrame:
    targets = (NONE, NONE) if x is None else (np.array([x]), np.array([y]))
    return FieldFrame("a", pixels, *targets)


def test_frames_come_by_name_whatever_the_folder_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    files = [tmp_path / "images" / f"{name}.png" for name in "abc"]
    for file in files:
        cv2.imwrite(str(file), textured())
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(files[::-1]))
    assert [frame.name for frame in read_frames(tmp_path)] == ["a", "b", "c"]


def test_frames_just_large_enough(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for side in (44, 45):
        cv2.imwrite(str(tmp_path / "images" / f"{side}.png"), textured((side, 60)))
    assert [frame.name for frame in read_frames(tmp_path)] == ["45"]


def test_counts_are_whole(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/a.tif"), textured().astype(np.float32))
    with pytest.raises(DscsnetError, match=r"a\.tif: expected 8- or 16-bit counts, got float32"):
        read_frames(tmp_path)


def test_centroids_are_finite(tmp_path: Path) -> None:
    for name in ("images", "centroids"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "images/a.png"), textured())
    place = "<object><centroid><xc>nan</xc><yc>3</yc></centroid></object>"
    (tmp_path / "centroids/a.xml").write_text(f"<annotation>{place}</annotation>")
    with pytest.raises(DscsnetError, match="a position that is not finite"):
        read_frames(tmp_path)


def test_sixteen_pixels_from_a_target_are_far_enough() -> None:
    frame = frame_of(textured(), x=40.0)
    assert not frame.near_target(56, 50)
    assert frame.near_target(55, 50)
    assert frame.near_target(40, 65)
    assert not frame_of(textured()).near_target(40, 50)


def test_a_place_must_not_be_saturated_flat_or_black() -> None:
    pixels = textured()
    usable = [module._is_usable(frame_of(pixels), 50, 50)]
    bright = pixels.copy()
    for value, row in ((249, 40), (250, 40), (255, 39)):  # the last one is outside
        bright[40], bright[row, 50] = pixels[40], value
        usable.append(module._is_usable(frame_of(bright), 50, 50))
        bright = pixels.copy()
    for value, number in ((70, 215), (70, 230), (1, 44), (1, 45), (2, 60)):
        part = pixels.copy()
        near = part[40:61, 40:61]
        near[near == value] += 1
        near.reshape(-1)  # 441 pixels
        flat = near.ravel()
        flat[:number] = value
        part[40:61, 40:61] = flat.reshape(21, 21)
        usable.append(module._is_usable(frame_of(part), 50, 50))
    assert usable == [True, True, False, True, True, False, True, False, True]


@pytest.mark.parametrize(
    ("peak", "end"),
    [
        ((60, 50), (60, 50)),
        ((21, 50), (22, 50)),
        ((98, 50), (97, 50)),
        ((60, 21), (60, 22)),
        ((60, 88), (60, 87)),
    ],
)
def test_a_climb_ends_at_the_peak_or_at_the_border(
    peak: tuple[int, int], end: tuple[int, int]
) -> None:
    rows, columns = np.indices((110, 120))
    hill = np.exp(-((columns - peak[0]) ** 2 + (rows - peak[1]) ** 2) / 18)
    frame = frame_of((20 + 200 * hill).astype(np.uint8))
    assert module._draw_peak(frame, np.random.default_rng(0)) == end


def test_a_climb_begins_away_from_targets() -> None:
    rows, columns = np.indices((110, 120))
    image = np.full((110, 120), 20.0)
    for x, height in ((40, 200), (80, 100)):
        image += height * np.exp(-((columns - x) ** 2 + (rows - 50) ** 2) / 18)
    pixels = image.clip(0, 255).astype(np.uint8)
    assert module._draw_peak(frame_of(pixels), np.random.default_rng(0)) == (40, 50)
    assert module._draw_peak(frame_of(pixels, x=40.0), np.random.default_rng(0)) == (80, 50)


def test_twenty_thousand_places_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[int, int]] = []

    def refuse(_: FieldFrame, x: int, y: int) -> bool:
        tried.append((x, y))
        return False

    monkeypatch.setattr(module, "_is_usable", refuse)
    with pytest.raises(DscsnetError, match="20000 places in 1 frames were all flat"):
        module.choose_places([frame_of(textured())], np.zeros(1, bool), np.random.default_rng(0))
    assert len(tried) == 20_000
