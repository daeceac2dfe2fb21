"""The picture of recorded frames: marks lie where the answers say."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dscsnet.pipeline.errors import SourceError
from dscsnet.pipeline.messages import SpotFlag
from dscsnet.tools.drawing.canvas import BOX, RESOLVED
from dscsnet.tools.show import answers_picture as module
from dscsnet.tools.show.answers_picture import (
    CROP,
    MARGIN,
    ROW_HEIGHT,
    Answer,
    AnswerSpots,
    AnswerTargets,
    draw_answers,
    read_answers,
)


def line(frame_id: int = 0, targets: tuple[float, float] = (20.0, 10.0)) -> dict[str, object]:
    x, y = targets
    return {
        "schema": "targets/1",
        "frame_id": frame_id,
        "status": "ok",
        "spots": {"x": [20.0], "y": [10.0], "count": [1], "chi2": [None], "flags": [8 | 1]},
        "targets": {"spot": [0], "x": [x], "y": [y], "intensity": [100.0]},
    }


def answer(frame_id: int = 0, targets: tuple[float, float] = (20.0, 10.0)) -> Answer:
    return msgspec.convert(line(frame_id, targets), Answer)


def marked(picture: np.ndarray) -> tuple[float, float]:
    """Mean place of the pixels in the colour of resolved targets, in the enlarged candidate."""
    left = 2 * MARGIN + round(ROW_HEIGHT * 40 / 30)
    view = picture[MARGIN : MARGIN + ROW_HEIGHT, left : left + ROW_HEIGHT]
    rows, columns = np.nonzero((view == RESOLVED).all(2))
    return float(columns.mean()), float(rows.mean())


@pytest.mark.parametrize("target", [(20.0, 10.0), (22.5, 12.25), (17.0, 6.0)])
def test_a_cross_lies_at_its_target(target: tuple[float, float]) -> None:
    pixels = np.random.default_rng(0).integers(0, 50, (30, 40)).astype(np.uint8)
    picture = draw_answers([(0, pixels, answer(targets=target))])
    zoom = ROW_HEIGHT / CROP
    left, top = 20 - CROP // 2, 10 - CROP // 2
    expected = ((target[0] - left + 0.5) * zoom - 0.5, (target[1] - top + 0.5) * zoom - 0.5)
    np.testing.assert_allclose(marked(picture), expected, atol=1)


def test_rows_of_different_widths_are_stacked() -> None:
    empty = Answer(1, "empty", AnswerSpots([], [], [], [], []), AnswerTargets([], [], [], []))
    frames = [(0, np.ones((30, 40), np.float32), answer()), (1, np.ones((90, 40)), empty)]
    picture = draw_answers(frames)
    assert picture.shape[0] == 2 * draw_answers(frames[:1]).shape[0]


def test_answers_are_read_by_frame(tmp_path: Path) -> None:
    path = tmp_path / "targets.jsonl"
    end = {"schema": "end/1", "frame_id": 3}
    path.write_text("\n".join(json.dumps(row) for row in (line(2), line(3), end)))
    assert sorted(read_answers(path)) == [2, 3]
    path.write_text("not json")
    with pytest.raises(SourceError, match="not what `dscsnet listen"):
        read_answers(path)
    with pytest.raises(SourceError, match="cannot be read"):
        read_answers(tmp_path / "none")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"x": [20.0]', '"x": [20.0, 3.0]'),
        ('"spot": [0]', '"spot": [1]'),
        ('"y": [10.0]', '"y": [1e300]'),
        ('"spots": {"x": [20.0]', '"spots": {"x": [1e300]'),
        ('"y": [10.0], "count"', '"y": [1e300], "count"'),
        ('"spot": [0], "x": [20.0]', '"spot": [0], "x": [1e300]'),
        ('"y": [10.0], "intensity"', '"y": [1e300], "intensity"'),
        ('"spot": [0]', '"spot": [-1]'),
        ('"chi2": [null]', '"chi2": []'),
        ('"flags": [9]', '"flags": [9, 0]'),
        ('"intensity": [100.0]', '"intensity": []'),
        ('"count": [1]', '"count": []'),
        ('"status": "ok"', '"status": "\xff"'),
        ('"status"', '"other": ' + "[" * 5000 + "]" * 5000 + ', "status"'),
    ],
)
def test_damaged_answers_are_refused_with_their_line(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "targets.jsonl"
    text = json.dumps(line())
    assert old in text
    path.write_bytes(f"{text}\n{text.replace(old, new)}".encode("latin1"))
    with pytest.raises(SourceError, match=r"jsonl:2: not what `dscsnet listen"):
        read_answers(path)


def test_spots_outside_of_the_frame_are_passed_over() -> None:
    spots = AnswerSpots([20.0, 1e6, -5.0], [10.0, 3.0, 2e9], [1, 1, 1], [None] * 3, [0, 0, 0])
    targets = AnswerTargets([0, 1], [20.0, 1e6], [10.0, 3.0], [5.0, None])
    picture = draw_answers([(0, np.ones((30, 40)), Answer(0, "ok", spots, targets))])
    assert picture.shape == draw_answers([(0, np.ones((30, 40)), answer())]).shape


def test_the_three_with_most_light_in_the_frame_are_enlarged() -> None:
    spots = AnswerSpots(
        [5.0, 6.0, 7.0, 39.4, 39.6, -0.6, 8.0],
        [29.4, -0.4, 7.0, 8.0, 8.0, 8.0, 29.6],
        *([1] * 7, [None] * 7, [0] * 7),
    )
    targets = AnswerTargets(
        [1, 0, 3, 3, 4, 5, 6], [1.0] * 7, [1.0] * 7, [30.0, 50.0, 20.0, 20.0, 900.0, 900.0, None]
    )
    assert module._strongest(Answer(0, "ok", spots, targets), (30, 40)) == [0, 3, 1]
    inside = [module._inside(Answer(0, "ok", spots, targets), k, (30, 40)) for k in range(7)]
    assert inside == [True, True, True, True, False, False, False]


SPOTS = AnswerSpots(
    [20.0, 3.25, 39.0, 500.0], [10.0, 28.75, 0.0, 5.0], [1, 2, 0, 1], [1.26, None, 0.5, 1.0],
    [0, int(SpotFlag.EDGE | SpotFlag.MERGED), 0, 0],
)  # fmt: skip


def four(*targets: tuple[int, float, float, float]) -> Answer:
    spot, x, y, intensity = (list(each) for each in zip(*targets, strict=True))
    return Answer(7, "ok", SPOTS, AnswerTargets(spot, x, y, intensity))


def test_words_below_a_candidate() -> None:
    given = four((0, 20.0, 10.0, 5.0))
    assert module._caption(given, 0) == "(20.0, 10.0): 1 targets"
    assert module._caption(given, 1) == "(3.2, 28.8): 2 targets"
    assert module._quality(given, 0) == "chi2 1.3  "
    assert module._quality(given, 1) == "chi2 unknown  edge merged"


def test_a_row_has_its_words_below_what_they_are_of(monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[tuple[str, float, float]] = []
    monkeypatch.setattr(module, "write", lambda _view, text, x, y, **_: words.append((text, x, y)))
    given = four((0, 20.0, 10.0, 5.0), (2, 39.0, 0.0, 9.0))
    row = module._draw_row(7, np.ones((30, 40)), given)
    frame, crop = round(ROW_HEIGHT * 40 / 30), ROW_HEIGHT
    assert row.shape == (ROW_HEIGHT + module.CAPTION + MARGIN, 5 * MARGIN + frame + 3 * crop, 3)
    below = MARGIN + ROW_HEIGHT + 18
    lefts = [2 * MARGIN + frame + k * (crop + MARGIN) for k in range(3)]
    assert words[0] == ("frame 7: ok, 4 spots, 2 targets", MARGIN, below)
    assert [(x, y) for _, x, y in words[1::2]] == [(left, below) for left in lefts]
    assert [(x, y) for _, x, y in words[2::2]] == [(left, below + 18) for left in lefts]
    # Most light first; the candidate outside of the frame is not enlarged.
    assert [text[:5] for text, _, _ in words[1::2]] == ["(39.0", "(20.0", "(3.2,"]


def test_boxes_lie_around_the_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes: list[tuple[float, ...]] = []
    colours: list[object] = []

    def outline(_view: np.ndarray, box: tuple[float, ...], colour: object, thickness: int) -> None:
        assert thickness == 1
        boxes.append(box)
        colours.append(colour)

    monkeypatch.setattr(module, "outline", outline)
    view = np.zeros((300, 400, 3), np.uint8)
    module._draw_frame(view, np.ones((30, 40)), four((0, 20.0, 10.0, 5.0)), [0, 2])
    half = module.BOX_SIDE / 2
    centers = [(204.5, 104.5), (37.0, 292.0), (394.5, 4.5)]
    np.testing.assert_allclose([((a + c) / 2, (b + d) / 2) for a, b, c, d in boxes], centers)
    assert {(c - a, d - b) for a, b, c, d in boxes} == {(2 * half, 2 * half)}
    assert colours == [RESOLVED, BOX, RESOLVED]


def test_a_crop_shows_its_own_pixels_and_repeats_the_edge() -> None:
    pixels = np.arange(30 * 40, dtype=float).reshape(30, 40)
    pixels[0, 39] = np.inf
    view = np.zeros((ROW_HEIGHT, ROW_HEIGHT, 3), np.uint8)
    module._draw_spot(view, pixels, four((0, 20.0, 10.0, 5.0)), 2)
    zoom = ROW_HEIGHT / CROP
    middles = (np.arange(CROP) * zoom + zoom / 2).astype(int)
    shown = view[np.ix_(middles, middles)][..., 0].astype(float)
    rows = np.clip(np.arange(CROP) - CROP // 2, 0, 29)
    columns = np.clip(np.arange(CROP) - CROP // 2 + 39, 0, 39)
    counts = np.where(np.isfinite(pixels), pixels, 0)[np.ix_(rows, columns)]
    expected = 255 * (counts - counts.min()) / (counts.max() - counts.min())
    np.testing.assert_allclose(shown, expected, atol=0.51)


def test_targets_beside_a_crop_have_no_cross_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[tuple[float, float]] = []
    monkeypatch.setattr(module, "cross", lambda _view, x, y, reach, _colour: places.append((x, y)))
    half = CROP // 2
    given = four(
        *((0, 20.0, 10.0, 1.0), (0, 20.0 + half, 10.0, 1.0), (0, 20.0, 10.0 - half, 1.0)),
        *((0, 20.0 + half + 0.6, 10.0, 1.0), (0, 20.0, 10.0 - half - 0.6, 1.0)),
        *((0, 20.0 - half - 0.6, 10.0, 1.0), (0, 20.0, 10.0 + half + 0.6, 1.0)),
    )
    view = np.zeros((ROW_HEIGHT, ROW_HEIGHT, 3), np.uint8)
    module._draw_spot(view, np.ones((30, 40)), given, 0)
    zoom = ROW_HEIGHT / CROP
    middle = (half + 0.5) * zoom - 0.5
    far, near = (CROP - 0.5) * zoom - 0.5, 0.5 * zoom - 0.5
    expected = [(middle, middle), (far, middle), (middle, near)]
    np.testing.assert_allclose(places, expected)


@pytest.mark.parametrize(("end", "seen"), [(0.0, True), (-1 / 64, False)])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_cross_may_lie_on_the_first_pixel(
    monkeypatch: pytest.MonkeyPatch, axis: str, end: float, seen: bool
) -> None:
    """Of 16 view pixels a pixel the first one's centre is 1/32 px from the crop's edge."""
    places: list[tuple[float, float]] = []
    monkeypatch.setattr(module, "cross", lambda _view, x, y, reach, _colour: places.append((x, y)))
    edge = {"x": 20.0, "y": 10.0, axis: (20.0 if axis == "x" else 10.0) - CROP // 2 - 0.5}
    edge[axis] += 1 / 32 + end
    view = np.zeros((16 * CROP, 16 * CROP, 3), np.uint8)
    module._draw_spot(view, np.ones((30, 40)), four((0, edge["x"], edge["y"], 1.0)), 0)
    assert len(places) == seen
    if seen:
        assert places[0][0 if axis == "x" else 1] == 0


def test_grey_leaves_out_a_hundredth_of_the_dark_and_a_thousandth_of_the_bright() -> None:
    values = np.arange(1001.0).reshape(7, 143)
    grey = module._grey(values)[..., 0].ravel().astype(float)
    np.testing.assert_allclose(grey, 255 * np.clip((np.arange(1001) - 10) / 989, 0, 1), atol=0.51)
    values[0, 0] = np.nan
    assert module._grey(values)[0, 0, 0] == 0
