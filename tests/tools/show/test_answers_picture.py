"""The picture of recorded frames: marks lie where the answers say."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from dscsnet.pipeline.errors import SourceError
from dscsnet.tools.drawing.canvas import RESOLVED
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
