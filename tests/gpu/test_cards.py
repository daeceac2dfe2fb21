"""What the tests that need a GPU do where one, or a library, is missing."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dscsnet.engines.model import load_model
from dscsnet.engines.runtimes import RuntimeOptions, Unavailable
from dscsnet.engines.runtimes.driver import require_driver
from tests.gpu import cards, test_runtimes

MODEL = load_model("csist100k-mlp")
FOLDER = Path(__file__).parent


def offer(monkeypatch: pytest.MonkeyPatch, found: Any) -> None:
    """A machine with a driver, on which opening a runtime ends like this."""

    def open_runtime(*_: object) -> Any:
        if isinstance(found, Exception):
            raise found
        return SimpleNamespace(name=found)

    monkeypatch.setattr(cards, "require_driver", lambda: None)
    monkeypatch.setattr(cards, "open_runtime", open_runtime)


def open_it() -> Any:
    return cards.open_on_gpu("torch", MODEL, RuntimeOptions())


@pytest.mark.parametrize("cause", ["no_library", "no_driver"])
def test_what_is_not_there_is_skipped(monkeypatch: pytest.MonkeyPatch, cause: str) -> None:
    offer(monkeypatch, Unavailable("not installed", cause))
    with pytest.raises(pytest.skip.Exception, match="not installed"):
        open_it()


def test_what_is_refused_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, Unavailable("out of memory", "refused"))
    with pytest.raises(Unavailable, match="out of memory"):
        open_it()


def test_the_cpu_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, "torch 2.13 CPU")
    with pytest.raises(AssertionError, match=r"not on the GPU: torch 2\.13 CPU"):
        open_it()
    offer(monkeypatch, "torch 2.13 fp16 on some GPU")
    assert open_it().name.endswith("some GPU")


def test_what_fails_in_a_thread_fails_the_test() -> None:
    with pytest.raises(ZeroDivisionError):
        cards.in_threads(lambda index: print(1 // index), 3)


def test_a_first_build_has_time() -> None:
    """Full TensorRT compiles five profiles of a model in minutes, before its first test."""
    (limit,) = (mark.args[0] for mark in test_runtimes.pytestmark if mark.name == "timeout")
    assert limit >= 1800


def test_without_a_gpu_all_is_skipped() -> None:
    try:
        require_driver()
    except Unavailable:
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-rN", FOLDER]
        done = subprocess.run(
            command, cwd=FOLDER.parents[1], capture_output=True, text=True, check=False
        )
        last = done.stdout.strip().splitlines()[-1]
        assert "skipped" in last
        assert not {"passed", "failed", "error", "errors"} & set(last.split()), last
    else:
        pytest.skip("there is a GPU")
