"""`dscsnet picture`: which of the recorded frames are drawn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import dscsnet.tools.show.answers_picture
from dscsnet.pipeline.errors import SourceError
from dscsnet.tools.cli import new_cli


@pytest.fixture(name="drawn")
def _drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float, int]]:
    """Index, first pixel and answer of the frames that are drawn; there are 10, 9 answered."""
    np.save(
        tmp_path / "frames.npy",
        np.arange(10, dtype=np.uint16)[:, None, None] + np.zeros((30, 40), np.uint16),
    )
    empty = {"x": [], "y": [], "count": [], "chi2": [], "flags": []}
    targets: dict[str, Any] = {"spot": [], "x": [], "y": [], "intensity": []}
    lines = [
        {"schema": "targets/1", "frame_id": k, "status": "ok", "spots": empty, "targets": targets}
        for k in range(10)
        if k != 4
    ]
    (tmp_path / "targets.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    (tmp_path / "none.jsonl").write_text("")
    rows: list[tuple[int, float, int]] = []

    def draw(frames: list[Any]) -> np.ndarray:
        rows.extend((index, pixels[0, 0], answer.frame_id) for index, pixels, answer in frames)
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(dscsnet.tools.show.answers_picture, "draw_answers", draw)
    return rows


def picture(folder: Path, targets: str, *arguments: str) -> Result:
    paths = (folder / "frames.npy", folder / targets, folder / "out.png")
    return CliRunner().invoke(new_cli(), ["picture", *map(str, paths), *arguments])


def test_by_default_four_of_all_from_the_first_to_the_last(
    tmp_path: Path, drawn: list[tuple[int, float, int]]
) -> None:
    result = picture(tmp_path, "targets.jsonl")
    assert result.exit_code == 0, result.output
    assert drawn == [(k, k, k) for k in (0, 3, 6, 9)]
    assert result.output == f"{tmp_path / 'out.png'}: frames 0, 3, 6, 9\n"
    assert (tmp_path / "out.png").exists()


def test_answers_in_another_order_are_put_in_order(
    tmp_path: Path, drawn: list[tuple[int, float, int]]
) -> None:
    lines = (tmp_path / "targets.jsonl").read_text().splitlines()
    (tmp_path / "mixed.jsonl").write_text("\n".join([*lines[5:], *lines[:5]]))
    assert picture(tmp_path, "mixed.jsonl").exit_code == 0
    assert [row[0] for row in drawn] == [0, 3, 6, 9]


def test_frames_that_were_named_and_have_an_answer(
    tmp_path: Path, drawn: list[tuple[int, float, int]]
) -> None:
    assert (
        picture(
            tmp_path, "targets.jsonl", *["--frame", "7", "--frame", "4", "--frame", "2"]
        ).exit_code
        == 0
    )
    assert drawn == [(2, 2, 2), (7, 7, 7)]


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize(
    ("targets", "frame", "words"),
    [
        ("none.jsonl", "1", "none.jsonl: no targets messages in this file"),
        ("targets.jsonl", "4", "frames.npy: none of the frames [4] is there and has an answer"),
        ("targets.jsonl", "12", "frames.npy: none of the frames [12] is there"),
    ],
)
def test_nothing_to_draw(tmp_path: Path, targets: str, frame: str, words: str) -> None:
    result = picture(tmp_path, targets, "--frame", frame)
    assert isinstance(result.exception, SourceError)
    assert words in str(result.exception)
    assert not (tmp_path / "out.png").exists()
