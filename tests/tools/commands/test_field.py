"""`dscsnet evaluate --field`: which engines are opened and closed, and what is written where."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import dscsnet.engines.model
import dscsnet.engines.model_engine
import dscsnet.engines.opening
import dscsnet.tools.field.benchmark
import dscsnet.tools.field.frames
import dscsnet.tools.field.picture
import dscsnet.tools.field.text
from dscsnet.engines.card import GridlessReadout
from dscsnet.engines.readouts.score import FURTHER_FROM
from dscsnet.tools.commands import field as command
from dscsnet.tools.field.report import card_figures
from tests.tools.field.made_up import RESULT


class FakeEngine:
    """Of a model whose card can be written to; counts how often it is closed."""

    def __init__(self, name: str, given: dict[str, Any]) -> None:
        self.name, self.given, self.closed = name, given, 0
        card = dscsnet.engines.model.load_model("csist100k-compact").card
        self.model = SimpleNamespace(card=card, folder=Path(name))

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(name="played")
def _played(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What is opened, run, printed and written; nothing is measured."""
    played = SimpleNamespace(opened=[], run=[], printed=[], cards=[], further=False, widths=[])

    def open_engine(model: str, **given: Any) -> FakeEngine:
        played.opened.append(FakeEngine(model, given))
        return played.opened[-1]

    def run_benchmark(engine: Any, drawn: Any, *, tell: Any, **given: Any) -> Any:
        tell("a variant")
        played.run.append((engine, drawn, given))
        return RESULT, "answers"

    def draw_samples(frames: Any, crops: int, seed: int) -> Any:
        return SimpleNamespace(samples=(frames, crops, seed))

    def print_result(result: Any, console: Any) -> None:
        played.printed.append(result)
        played.widths.append(console.width)

    def draw_field(result: Any, samples: Any, answers: Any) -> np.ndarray:
        played.drawn = (result, samples, answers)
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(dscsnet.engines.opening, "open_engine", open_engine)
    monkeypatch.setattr(dscsnet.engines.model_engine, "ModelEngine", FakeEngine)
    monkeypatch.setattr(
        dscsnet.engines.model_engine, "gives_further", lambda readout: played.further
    )
    monkeypatch.setattr(
        dscsnet.engines.model,
        "write_card",
        lambda card, folder: played.cards.append((card, folder)),
    )
    tools = dscsnet.tools.field
    monkeypatch.setattr(tools.benchmark, "run_benchmark", run_benchmark)
    monkeypatch.setattr(tools.benchmark, "draw_samples", draw_samples)
    monkeypatch.setattr(tools.frames, "read_frames", lambda folder: f"frames of {folder}")
    monkeypatch.setattr(tools.text, "print_result", print_result)
    monkeypatch.setattr(tools.picture, "draw_field", draw_field)
    return played


def run(**changes: Any) -> None:
    given: dict[str, Any] = {"crops": 80, "seed": 2, "out": None, "threads": 3}
    command.run_field("one", Path("folder"), **given | changes)


def test_an_engine_alone(played: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    (engine,) = played.opened
    assert (engine.name, engine.given, engine.closed) == ("one", {"threads": 3}, 1)
    ((_, drawn, given),) = played.run
    assert drawn.samples == ("frames of folder", 80, 2)
    assert given == {"further": None, "references": [], "reference_crops": 1000}
    assert played.printed == [RESULT]
    assert played.cards == []
    told = capsys.readouterr()
    assert "running: a variant" in told.err
    assert "Python" in told.out
    assert "written" not in told.out


def test_the_same_with_further_targets_and_others_beside_it(played: SimpleNamespace) -> None:
    played.further = True
    run(references=["two", "scipy-fit"], reference_crops=30)
    one, further, two = played.opened
    assert further.given == {"threads": 3, "least_existence": FURTHER_FROM}
    assert (further.name, two.name, two.given) == ("one", "two", {"threads": 3})
    assert [engine.closed for engine in played.opened] == [1, 1, 1]
    ((engine, _, given),) = played.run
    assert engine is one
    assert given["further"] is further
    assert given["references"][0] is two
    assert type(given["references"][1]).__name__ == "ScipyFitEngine"
    assert given["reference_crops"] == 30


@pytest.mark.parametrize(("terminal", "width"), [("80", 150), ("150", 150), ("170", 170)])
def test_tables_have_their_width(
    played: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, terminal: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", terminal)
    run()
    assert played.widths == [width]


def test_a_report_is_written(
    played: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "report"
    run(out=out)
    run(out=out)  # again: a folder that is there
    assert played.drawn == (RESULT, ("frames of folder", 80, 2), "answers")
    text = (out / "field.json").read_text()
    assert text.endswith("}\n")
    assert "\n  " in text
    assert json.loads(text)["engine"] == "mine"
    assert (out / "field.png").exists()
    told = " ".join(capsys.readouterr().out.split())
    assert f"written: {out / 'field.json'}, {out / 'field.png'}" in told


def test_figures_are_written_into_the_card_where_told(played: SimpleNamespace) -> None:
    run(write=True)
    ((card, folder),) = played.cards
    assert folder == Path("one")
    assert card.name == "csist100k-compact"
    assert card.measured == {**card_figures(RESULT.report), "crops": 80.0, "seed": 2.0}


def test_an_engine_without_a_card_is_measured_all_the_same(
    played: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dscsnet.engines.model_engine, "ModelEngine", GridlessReadout)
    run(write=True)
    assert played.cards == []
    assert played.run[0][2]["further"] is None
