"""The demo on a terminal: progress, report and picture."""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from dscsnet.detector_stub.scene import Scene
from dscsnet.pipeline.commands.progress import plain_progress
from dscsnet.pipeline.messages import FrameKey, Targets
from dscsnet.pipeline.process.signals import stop_on_signals
from dscsnet.tools.demo.picture import choose_frame, draw_picture
from dscsnet.tools.demo.report import print_report
from dscsnet.tools.demo.run import DemoRun, DemoSettings, Interrupted, Progress, run_demo
from dscsnet.tools.demo.scoring import check_delivery, score_frame
from dscsnet.tools.drawing.canvas import save_picture


def show_demo(settings: DemoSettings) -> int:
    """Run the demo and print what came of it.

    Returns:
        The exit code: 0 if every frame was answered exactly once and in order, 130 if interrupted.
    """
    console = Console(highlight=False)
    with stop_on_signals() as stop:
        try:
            run = _run(console, settings, stop)
        except Interrupted:
            console.print("interrupted: simulator, detector and node are stopped")
            return 130
    return 0 if _conclude(console, settings, run) else 1


def _run(console: Console, settings: DemoSettings, stop: threading.Event) -> DemoRun:
    scene = f"{settings.frames} frames at {settings.rate_hz:g} Hz, scene {settings.seed}"
    console.print(f"dscsnet demo: {scene}; files go to {settings.output}", soft_wrap=True)
    console.print("(the first run on a machine compiles its loops before it starts)")
    with _progress(console, settings.frames) as progress:
        return run_demo(settings, progress, stop)


def _conclude(console: Console, settings: DemoSettings, run: DemoRun) -> bool:
    """Print the report and draw the picture; return whether each frame had its one answer."""
    delivery = check_delivery(
        [frame.key for frame in run.truth], [answer.key for answer in run.answers]
    )
    by_key: dict[FrameKey, Targets] = {}
    for each in run.answers:
        by_key.setdefault(each.key, each)
    answers = [by_key.get(frame.key) for frame in run.truth]
    scores = [score_frame(true, answer) for true, answer in zip(run.truth, answers, strict=True)]
    print_report(console, settings, run, delivery, answers, scores)
    console.print()
    console.print(f"picture  {_draw(settings, run, answers)}", soft_wrap=True)
    kept = "targets.jsonl, truth.jsonl, and a .yaml and a .log of simulator, detector and node"
    console.print(f"files    in {settings.output}: {kept}", soft_wrap=True)
    return delivery.exact


def _draw(settings: DemoSettings, run: DemoRun, answers: Sequence[Targets | None]) -> str:
    """Write the picture; return where it is, or why there is none."""
    shown = choose_frame(run.truth, answers)
    answer = None if shown is None else answers[shown]
    if shown is None or answer is None:
        # One of an earlier run must not be taken for this one's.
        settings.picture.unlink(missing_ok=True)
        return "none: no frame was unmixed"
    truth = run.truth[shown]
    pixels = Scene(run.scene).frame(truth.frame_id).pixels
    engine = f"{answer.engine.model} on {answer.engine.runtime}"
    title = f"Frame {truth.frame_id} of {len(run.truth)}, scene {settings.seed}: {engine}"
    save_picture(settings.picture, draw_picture(pixels, truth, answer, title))
    return f"{settings.picture} (frame {truth.frame_id})"


class _Lines:
    """Progress as plain lines: each phase once, and the frames now and then."""

    def __init__(self, frames: int) -> None:
        self._frames, self._phase = frames, ""
        self._show = plain_progress(self._write)

    def phase(self, text: str) -> None:
        if text != self._phase:
            self._phase = text
            self._write(text)

    def answered(self, frames: int) -> None:
        self._show(frames, self._frames)

    def _write(self, text: str) -> None:
        print(text, file=sys.stdout, flush=True)


class _Bar:
    """Progress as a bar on a terminal."""

    def __init__(self, bar: Bar, frames: int) -> None:
        self._bar, self._task = bar, bar.add_task("starting", total=frames)

    def phase(self, text: str) -> None:
        self._bar.update(self._task, description=text)

    def answered(self, frames: int) -> None:
        self._bar.update(self._task, description="frames answered", completed=frames)


@contextmanager
def _progress(console: Console, frames: int) -> Iterator[Progress]:
    if not console.is_terminal:
        yield _Lines(frames)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bar(*columns, TimeElapsedColumn(), console=console) as bar:
        yield _Bar(bar, frames)
