"""A rehearsal ends with what the other process said, in time, and leaves no process behind."""

import signal
import sys
import threading
from typing import Any

import pytest

from dscsnet.engines.errors import ModelError
from dscsnet.pipeline.config import NodeConfig
from dscsnet.pipeline.worker import rehearsal as module
from dscsnet.pipeline.worker.rehearsal import rehearse


def rehearsed(monkeypatch: pytest.MonkeyPatch, code: str, give_up: bool = False) -> None:
    """With a program of one's own in place of the check."""
    monkeypatch.setattr(module, "COMMAND", (sys.executable, "-c", code))
    event = threading.Event()
    if give_up:
        event.set()
    rehearse(NodeConfig(name="played"), event)


READ = "import os, signal, sys; text = sys.stdin.read(); "


def test_the_check_is_given_the_configuration_and_little_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rehearsed(monkeypatch, READ + "assert 'name: played' in text and os.nice(0) == 10")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("sys.stderr.write('early\\ndscsnet: the model is not there\\n'); sys.exit(1)",
         r"^the model is not there$"),
        ("sys.exit(3)", "^engine: exit code 3$"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "^engine: loading it ended with SIGSEGV$"),
    ],
)  # fmt: skip
def test_an_engine_that_cannot_be_loaded(
    monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    with pytest.raises(ModelError, match=words):
        rehearsed(monkeypatch, READ + code)


SLEEP = READ + "import time; time.sleep(60)"


@pytest.fixture(name="processes")
def _processes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """All that were started."""
    started: list[Any] = []
    popen = module.subprocess.Popen

    def start(*given: Any, **more: Any) -> Any:
        started.append(popen(*given, **more))
        return started[-1]

    monkeypatch.setattr(module.subprocess, "Popen", start)
    return started


def test_a_node_that_stops_does_not_wait(
    monkeypatch: pytest.MonkeyPatch, processes: list[Any]
) -> None:
    with pytest.raises(ModelError, match=r"^engine: the node stops$"):
        rehearsed(monkeypatch, SLEEP, give_up=True)
    assert processes[0].returncode == -signal.SIGKILL


def test_an_engine_that_hangs_is_given_up(
    monkeypatch: pytest.MonkeyPatch, processes: list[Any]
) -> None:
    assert module.LONGEST_S == 600
    monkeypatch.setattr(module, "LONGEST_S", 0.3)
    with pytest.raises(ModelError, match=r"^engine: loading it took more than 0\.3 s$"):
        rehearsed(monkeypatch, SLEEP)
    assert processes[0].returncode == -signal.SIGKILL
