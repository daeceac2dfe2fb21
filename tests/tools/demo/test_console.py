"""The demo on a terminal: exit codes, progress, and the picture that is made or not."""

import io
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from dscsnet.detector_stub.scene_config import ClusterSettings, SceneConfig
from dscsnet.pipeline.messages import Targets
from dscsnet.tools.demo import console
from dscsnet.tools.demo.run import DemoRun, DemoSettings, Interrupted, Progress
from dscsnet.tools.demo.scene_truth import TrueFrame

Truth = Callable[..., TrueFrame]
Answer = Callable[..., Targets]


def settings_for(folder: Path) -> DemoSettings:
    return DemoSettings(folder, frames=2, rate_hz=12.5, seed=3, model="m")


@pytest.fixture
def run(true_frame: Truth, published: Answer) -> DemoRun:
    """Two frames, both answered."""
    truth = [true_frame([[(20.0, 20.0, 100.0)]], k) for k in range(2)]
    answers = [published([(20, 20)], [(20.1, 20.0, 100.0)], k) for k in range(2)]
    return DemoRun(truth, answers, SceneConfig(clusters=ClusterSettings(count=2)), 1.0)


def concluded(settings: DemoSettings, run: DemoRun) -> tuple[bool, str]:
    shown = Console(file=io.StringIO(), width=300)
    exact = console._conclude(shown, settings, run)
    assert isinstance(shown.file, io.StringIO)
    return exact, shown.file.getvalue()


def test_a_run_without_fault_has_its_picture(tmp_path: Path, run: DemoRun) -> None:
    exact, text = concluded(settings_for(tmp_path), run)
    assert exact
    # Both frames show one cluster; the second one is the middle of two.
    assert f"picture  {tmp_path / 'demo.png'} (frame 1)" in text
    assert (tmp_path / "demo.png").stat().st_size > 10_000
    assert f"files    in {tmp_path}: " in text


def test_of_two_answers_to_a_frame_the_first_counts(tmp_path: Path, run: DemoRun) -> None:
    second = msgspec.structs.replace(run.answers[0], status="dropped")
    exact, text = concluded(settings_for(tmp_path), replace(run, answers=[*run.answers, second]))
    assert not exact
    assert "2 true, 2 found" in text


def test_without_an_unmixed_frame_no_old_picture_is_left(tmp_path: Path, run: DemoRun) -> None:
    dropped = [msgspec.structs.replace(each, status="dropped") for each in run.answers]
    (tmp_path / "demo.png").write_text("of an earlier run")
    for _ in range(2):
        _, text = concluded(settings_for(tmp_path), replace(run, answers=dropped))
        assert "picture  none: no frame was unmixed" in text
        assert not (tmp_path / "demo.png").exists()


@pytest.mark.parametrize(("lost", "code"), [(False, 0), (True, 1)])
def test_the_exit_code_says_whether_every_frame_was_answered(
    tmp_path: Path, run: DemoRun, monkeypatch: pytest.MonkeyPatch, lost: bool, code: int
) -> None:
    answers = run.answers[:1] if lost else run.answers
    told: list[bool] = []

    def played(_settings: DemoSettings, progress: Progress, stop: threading.Event) -> DemoRun:
        progress.phase("starting")
        told.append(stop.is_set())
        return replace(run, answers=answers)

    monkeypatch.setattr(console, "run_demo", played)
    assert console.show_demo(settings_for(tmp_path)) == code
    assert told == [False]


def test_an_interrupted_run_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> DemoRun:
        raise Interrupted

    monkeypatch.setattr(console, "run_demo", interrupted)
    assert console.show_demo(settings_for(tmp_path)) == 130
    text = " ".join(capsys.readouterr().out.split())
    assert "2 frames at 12.5 Hz, scene 3" in text
    assert text.endswith("interrupted: simulator, detector and node are stopped")


def test_lines_name_each_phase_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with console._progress(Console(file=io.StringIO()), 9) as progress:
        for text in ("starting", "starting", "ready", "starting"):
            progress.phase(text)
        progress.answered(3)  # too soon after the start for a line
        monkeypatch.setattr(progress, "_show", lambda *given: progress.phase(str(given)))
        progress.answered(4)
    assert capsys.readouterr().out.splitlines() == ["starting", "ready", "starting", "(4, 9)"]


def test_a_terminal_has_a_bar() -> None:
    shown = Console(file=io.StringIO(), width=120, force_terminal=True)
    with console._progress(shown, 9) as progress:
        assert isinstance(progress, console._Bar)
        (task,) = progress._bar.tasks
        assert (task.description, task.total, task.completed) == ("starting", 9, 0)
        progress.phase("the node is ready")
        assert task.description == "the node is ready"
        progress.answered(4)
        assert (task.description, task.completed) == ("frames answered", 4)
