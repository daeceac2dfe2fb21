"""Another engine while frames flow: each is answered, by the engine that its answer names."""

import logging
import math
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import dscsnet.pipeline.worker.engine_change
import dscsnet.pipeline.worker.pool_loading
import dscsnet.pipeline.worker.rehearsal
from dscsnet.engines.imaging import render
from dscsnet.engines.model import file_sha256, load_model
from dscsnet.engines.model_engine import ModelEngine
from dscsnet.pipeline.config import Batching, EngineSettings, Join, Overload
from dscsnet.pipeline.messages import Status, Targets
from dscsnet.pipeline.sockets import Channel, Receiver
from dscsnet.pipeline.worker.engine_change import changed_keys

Start = Callable[..., AbstractContextManager[Any]]

ROOT = Path(__file__).parents[3]
X, Y = [20.0, 60.0], [30.0, 40.0]
PATIENT = {"join": Join(timeout_ms=60_000), "overload": Overload(max_age_ms=60_000)}
#: A node keeps 32 frames a stream; on a loaded machine a free publisher would overtake it.
IN_FLIGHT = 16
MLP = EngineSettings(model="field-mlp", psf_sigma=0.5, threads=1)


@pytest.fixture(autouse=True)
def _no_rehearsal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process in which an engine is loaded first takes seconds: some tests do with it."""
    if "rehearsed" not in request.keywords:
        monkeypatch.setattr(dscsnet.pipeline.worker.engine_change, "rehearse", lambda *_: None)


def scene() -> np.ndarray:
    """Two bright single targets."""
    noise = np.random.default_rng(1).normal(1000, 5, (64, 80))
    return np.round(noise + render(X, Y, [5000.0, 4000.0], (64, 80), 0.5)).astype(np.uint16)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def changes(node: Any) -> dict[str, Any]:
    return node.node.snapshot()["engine_changes"]


def change(node: Any, file: Path, text: str) -> dict[str, Any]:
    """Ask for the engine of this configuration, and wait for what comes of it."""
    before = changes(node)
    file.write_text(text)
    node.node.reload()
    wait_for(
        lambda: changes(node)["done"] + changes(node)["failed"] > before["done"] + before["failed"],
        "the engine has neither changed nor failed",
    )
    return changes(node)


@contextmanager
def flow(node: Any, answers: list[Targets]) -> Iterator[None]:
    """Frames from the start of the block to its end, few enough at once that none is dropped."""
    end, closed, sent, pixels = threading.Event(), threading.Event(), [0], scene()

    def publish() -> None:
        while not end.wait(0.005):
            if sent[0] - len(answers) >= IN_FLIGHT:
                continue
            node.send_frame(sent[0], pixels)
            node.send_detections(sent[0], X, Y)
            sent[0] += 1

    def listen() -> None:
        while not closed.is_set():
            message = node.targets.receive(100)
            if isinstance(message, Targets):
                answers.append(message)

    publisher, listener = (threading.Thread(target=part) for part in (publish, listen))
    publisher.start()
    listener.start()
    try:
        wait_for(lambda: len(answers) > 20, "no flow")
        yield
        reached = len(answers) + 20
        wait_for(lambda: len(answers) > reached, "no flow after the change")
    finally:
        end.set()
        publisher.join(30)
        try:
            wait_for(lambda: len(answers) >= sent[0], "answers are missing")
        finally:
            closed.set()
            listener.join(30)


def test_no_frame_is_lost_and_each_names_its_engine(harness: Start, tmp_path: Path) -> None:
    """All frames are alike, so that every engine gives answers of its own, always the same."""
    file, answers = tmp_path / "node.yaml", []
    with harness(file=file, engine=MLP, **PATIENT) as node:
        with flow(node, answers):
            for engine in (
                "{model: scene-compact, psf_sigma: 0.5, threads: 1}",
                "{model: psf-fit, psf_fit: {crop_size: 13, most: 2, starts: 0}}",
                "{model: field-mlp, psf_sigma: 0.6, threads: 1}",
            ):
                reached = len(answers)
                state = change(node, file, f"engine: {engine}")
                assert state["error"] == ""
                wait_for(lambda n=reached: len(answers) > n + 10, "no flow between two changes")
        books = node.node.snapshot()
    assert [answer.frame_id for answer in answers] == list(range(len(answers)))
    assert {answer.status for answer in answers} == {"ok"}
    assert books["received"] == books["published"] == len(answers)
    assert books["pending"] == books["lost_upstream"] == 0
    assert (books["engine_changes"]["done"], books["engine_changes"]["failed"]) == (3, 0)
    engines = [(answer.engine.model, answer.engine.psf_sigma) for answer in answers]
    assert [engine for engine, _ in groupby(engines)] == [
        ("field-mlp", 0.5),
        ("scene-compact", 0.5),
        ("psf-fit", 0.5),
        ("field-mlp", 0.6),
    ]
    found = {engine: signature(answer) for engine, answer in zip(engines, answers, strict=True)}
    assert len({tuple(np.round(values, 3)) for values in found.values()}) == 4
    for engine, answer in zip(engines, answers, strict=True):
        assert signature(answer) == pytest.approx(found[engine], abs=1e-4)
        assert answer.spots.count == [1, 1]
        assert answer.targets.x == pytest.approx(X, abs=0.17)
        network = answer.engine.model != "psf-fit"
        assert answer.engine.sha256 == (load_model(answer.engine.model).sha256 if network else "")


def signature(answer: Targets) -> list[float]:
    """What engines differ in on a spot that all of them solve."""
    return [*answer.spots.chi2, *answer.targets.score, *answer.targets.sigma_x]


def altered(model: str, folder: Path, file: str, *, known: bool) -> Path:
    """A model with a file changed, and whether its card knows of the change."""
    shutil.copytree(load_model(model).folder, folder)
    path, card = folder / file, load_model(model).card
    if file == "golden.npz":
        arrays = dict(np.load(path))
        np.savez(path, **{name: values * np.float32(1.01) for name, values in arrays.items()})
    else:
        path.write_bytes(path.read_bytes()[:-100])
    if known:
        changed = msgspec.structs.replace(card, files={**card.files, file: file_sha256(path)})
        (folder / "model.yaml").write_bytes(msgspec.yaml.encode(changed))
    return folder


def test_what_cannot_be_loaded_leaves_the_old_engine_at_work(
    harness: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, answers = tmp_path / "node.yaml", []
    other_sha = altered("field-mlp", tmp_path / "sha", "model.onnx", known=False)
    cut_off = altered("field-mlp", tmp_path / "cut", "model.onnx", known=True)
    wrong = altered("field-mlp", tmp_path / "wrong", "golden.npz", known=True)
    psf = tmp_path / "none.npy"
    cases = (
        ("engine: {model: no-such-model}", 'no model "no-such-model"'),
        (f"engine: {{model: {other_sha}}}", "altered: its sha256 starts"),
        (f"engine: {{model: {cut_off}}}", "ONNX Runtime cannot load it"),
        (f"engine: {{model: {wrong}}}", "golden check failed"),
        ("engine: {model: scene-compact, psf_sigma: 2.5}", "PSF sigma 2.5 px"),
        (f"engine: {{model: psf-fit, psf_fit: {{file: {psf}}}}}", str(psf)),
        ("engine: {modell: field-mlp}", "modell"),
        ("engine: [", "line 2, column 1: "),
    )
    with harness(file=file, engine=MLP, **PATIENT) as node, caplog.at_level(logging.ERROR):
        with flow(node, answers):
            for number, (text, complaint) in enumerate(cases, 1):
                state = change(node, file, text)
                assert complaint in state["error"]
                assert "\n" not in state["error"]
                assert (state["done"], state["failed"]) == (0, number)
            file.unlink()
            node.node.reload()
            wait_for(lambda: changes(node)["failed"] == len(cases) + 1, "a file that is gone")
        heartbeat = node.heartbeat().body
        _, page = node.get("metrics")
        mended = change(node, file, "engine: {model: field-mlp, psf_sigma: 0.6}")
    assert {(a.status, a.engine.model, a.engine.psf_sigma) for a in answers} == {
        ("ok", "field-mlp", 0.5)
    }
    assert heartbeat["engine"]["psf_sigma"] == 0.5
    assert "cannot be read" in heartbeat["engine_changes"]["error"]
    assert f'dscsnet_engine_changes_total{{result="failed"}} {len(cases) + 1}.0' in page
    assert "dscsnet_engine_loading 0.0" in page
    assert (mended["done"], mended["error"]) == (1, "")
    told = [r.message for r in caplog.records if r.name == "dscsnet.pipeline.worker.engine_change"]
    assert len(told) == len(cases) + 1
    assert all(line.startswith("engine not changed, field-mlp (sha256 ") for line in told)


@pytest.mark.rehearsed
def test_an_engine_is_loaded_in_a_process_of_its_own_first(
    harness: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails or crashes there is not tried in the node's own process."""
    file, gate = tmp_path / "node.yaml", Gate(monkeypatch)
    wrong = altered("field-mlp", tmp_path / "wrong", "golden.npz", known=True)
    with harness(file=file, engine=MLP) as node:
        assert "golden check failed" in change(node, file, f"engine: {{model: {wrong}}}")["error"]
        killed = (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
        monkeypatch.setattr(dscsnet.pipeline.worker.rehearsal, "COMMAND", killed)
        assert "ended with SIGKILL" in change(node, file, "engine: {}")["error"]
        silent = (sys.executable, "-c", "import sys; sys.exit(7)")
        monkeypatch.setattr(dscsnet.pipeline.worker.rehearsal, "COMMAND", silent)
        assert change(node, file, "engine: {}")["error"] == "engine: exit code 7"
        hangs = (sys.executable, "-c", "import time; time.sleep(600)")
        monkeypatch.setattr(dscsnet.pipeline.worker.rehearsal, "COMMAND", hangs)
        monkeypatch.setattr(dscsnet.pipeline.worker.rehearsal, "LONGEST_S", 0.5)
        assert "took more than 0.5 s" in change(node, file, "engine: {}")["error"]
        monkeypatch.setattr(dscsnet.pipeline.worker.rehearsal, "LONGEST_S", 600)
        node.node.reload()
        wait_for(lambda: changes(node)["loading"], "the rehearsal")
        node.stop.set()
        node.thread.join(60)
        assert not node.thread.is_alive()
        assert changes(node)["failed"] == 4
    assert gate.loads == [0.5]


def test_without_a_file_the_reason_is_told(harness: Start) -> None:
    with harness(engine=MLP) as node:
        node.node.reload()
        wait_for(lambda: changes(node)["failed"] == 1, "no failure")
        assert "start the node with -c FILE" in changes(node)["error"]


class Gate:
    """Stands before the loading of engines, from its second one on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.loads: list[Any] = []
        self.open, self.reached = threading.Event(), threading.Event()
        self._load = dscsnet.pipeline.worker.pool_loading.load_engines
        patch.setattr(dscsnet.pipeline.worker.pool_loading, "load_engines", self)

    def __call__(self, settings: EngineSettings, workers: int) -> Any:
        self.loads.append(settings.psf_sigma)
        if len(self.loads) > 1:
            self.reached.set()
            assert self.open.wait(60)
        return self._load(settings, workers)


def test_requests_during_a_load_are_served_once_with_the_latest_file(
    harness: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, gate = tmp_path / "node.yaml", Gate(monkeypatch)
    with harness(file=file, engine=MLP) as node:
        file.write_text("engine: {model: field-mlp, psf_sigma: 0.6}")
        node.node.reload()
        assert gate.reached.wait(60)
        assert changes(node)["loading"]
        for sigma in (0.7, 0.75, 0.8):
            file.write_text(f"engine: {{model: field-mlp, psf_sigma: {sigma}}}")
            node.node.reload()
        gate.open.set()
        wait_for(lambda: changes(node)["done"] == 2, "two changes")
        assert not changes(node)["loading"]
        assert node.node.snapshot()["engine"]["psf_sigma"] == pytest.approx(0.8)
    assert gate.loads == [0.5, 0.6, 0.8]


def test_a_stop_does_not_wait_for_an_engine_that_is_being_loaded(
    harness: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, gate, closed = tmp_path / "node.yaml", Gate(monkeypatch), threading.Semaphore(0)
    close = ModelEngine.close
    monkeypatch.setattr(ModelEngine, "close", lambda engine: (close(engine), closed.release()))
    with harness(file=file, engine=MLP, batch=Batching(workers=2)) as node:
        file.write_text("engine: {model: field-mlp, psf_sigma: 0.6}")
        node.node.reload()
        assert gate.reached.wait(60)
        node.stop.set()
        node.thread.join(50)  # the gate would open after 60
        assert not node.thread.is_alive()
        assert node.error is None
        gate.open.set()
        for _ in range(4):  # both old ones, and the new ones that came too late
            assert closed.acquire(timeout=60)


def test_the_old_engine_is_closed_and_the_drift_forgotten(
    harness: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[float] = []
    close = ModelEngine.close
    monkeypatch.setattr(
        ModelEngine, "close", lambda engine: (closed.append(engine.psf[0]), close(engine))
    )
    file = tmp_path / "node.yaml"
    with harness(file=file, engine=MLP, batch=Batching(workers=2), **PATIENT) as node:
        answers: list[Targets] = []
        with flow(node, answers):
            pass
        assert node.node.snapshot()["psf_scale"] == pytest.approx(1, abs=0.1)
        change(node, file, "engine: {model: field-mlp, psf_sigma: 0.6}")
        assert math.isnan(node.node.snapshot()["psf_scale"])
        assert closed == [0.5, 0.5]
    assert closed == [0.5, 0.5, 0.6, 0.6]


def test_keys_that_need_a_restart_are_named_in_one_line(
    harness: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "node.yaml"
    with harness(file=file, engine=MLP) as node:
        root = logging.getLogger()
        with caplog.at_level(logging.INFO):
            given = node.node.config
            wanted = msgspec.structs.replace(
                given,
                join=Join(timeout_ms=70),
                overload=Overload(max_age_ms=300),
                log=msgspec.structs.replace(given.log, level="warning"),
            )
            change(node, file, msgspec.yaml.encode(wanted).decode())
            level = root.level
    told = [r.message for r in caplog.records if "without a restart" in r.message]
    assert told == [
        f"{file}: join.timeout_ms, overload.max_age_ms changed: only engine and log.level change "
        "without a restart of the node"
    ]
    assert level == logging.WARNING
    assert changed_keys(given, wanted) == ["join.timeout_ms", "overload.max_age_ms", "log.level"]


CONFIG = """
inputs:
  frames: {{endpoint: "tcp://127.0.0.1:*", bind: true}}
  detections: {{endpoint: "tcp://127.0.0.1:*", bind: true}}
output: {{targets: {{endpoint: "ipc://{folder}/targets", bind: true}}, wait_s: 60}}
http: {{enabled: false}}
engine: {{model: field-mlp, psf_sigma: {sigma}, threads: 1}}
"""


@pytest.mark.rehearsed
def test_signals_change_the_engine_and_a_closed_terminal_ends_the_node(tmp_path: Path) -> None:
    """A burst of signals, the last after the file was written; then the terminal hangs up."""
    file = tmp_path / "node.yaml"
    file.write_text(CONFIG.format(folder=tmp_path, sigma=0.5))
    master, slave = pty.openpty()
    starter = "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    # Tests that were started with nohup hand on a signal that is ignored.
    starter += "signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    with (tmp_path / "node.log").open("w") as log:
        node = subprocess.Popen(
            [
                *(sys.executable, "-c", starter + "os.execv(sys.executable, sys.argv[1:])"),
                *(sys.executable, "-m", "dscsnet.pipeline", "node", "-c", str(file)),
            ],
            **{"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(ROOT)}},
            **{"stdin": slave, "stdout": log, "stderr": log, "start_new_session": True},
        )
    os.close(slave)
    try:
        targets = Channel(f"ipc://{tmp_path}/targets", bind=False)
        with Receiver(targets, kinds=("status",)) as receiver:
            assert next_body(receiver)["engine"]["psf_sigma"] == 0.5
            for sigma in (0.55, 0.6, 0.65):
                file.write_text(CONFIG.format(folder=tmp_path, sigma=sigma))
                node.send_signal(signal.SIGHUP)
            deadline = time.monotonic() + 60
            while (body := next_body(receiver))["engine"]["psf_sigma"] < 0.64:
                assert time.monotonic() < deadline, body
            assert body["engine_changes"]["failed"] == 0
            assert node.poll() is None
            os.close(master)
            assert node.wait(60) == 0  # 5 s where the machine has the time
    finally:
        node.kill()
        node.wait()
    text = (tmp_path / "node.log").read_text()
    assert "stopped: 0 frame keys received" in text
    assert "Traceback" not in text


def next_body(receiver: Receiver) -> dict[str, Any]:
    message = receiver.receive(60_000)
    assert isinstance(message, Status), "no heartbeat"
    return message.body
