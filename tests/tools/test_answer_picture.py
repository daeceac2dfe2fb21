"""The picture of recorded frames: marks lie where the answers say."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import SourceError
from tools.answer_picture import CROP, MARGIN, ROW_HEIGHT, draw_answers, read_answers
from tools.drawing import RESOLVED


def answer(frame_id: int = 0, targets: tuple[float, float] = (20.0, 10.0)) -> dict[str, object]:
    x, y = targets
    return {
        "schema": "targets/1",
        "frame_id": frame_id,
        "status": "ok",
        "spots": {"x": [20.0], "y": [10.0], "count": [1], "chi2": [None], "flags": [8 | 1]},
        "targets": {"spot": [0], "x": [x], "y": [y], "intensity": [100.0]},
    }


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
    empty = answer(1)
    for table in ("spots", "targets"):
        empty[table] = {key: [] for key in empty[table]}  # type: ignore[attr-defined]
    frames = [(0, np.ones((30, 40), np.float32), answer()), (1, np.ones((90, 40)), empty)]
    picture = draw_answers(frames)
    assert picture.shape[0] == 2 * draw_answers(frames[:1]).shape[0]


def test_answers_are_read_by_frame(tmp_path: Path) -> None:
    path = tmp_path / "targets.jsonl"
    end = {"schema": "end/1", "frame_id": 3}
    path.write_text("\n".join(json.dumps(row) for row in (answer(2), answer(3), end)))
    assert sorted(read_answers(path)) == [2, 3]
    path.write_text("not json")
    with pytest.raises(SourceError, match="not what `dscsnet listen"):
        read_answers(path)
    with pytest.raises(SourceError, match="cannot be read"):
        read_answers(tmp_path / "none")
