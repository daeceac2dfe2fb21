"""The whole node over real sockets: a publisher of frames and detections in, targets out."""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, closing
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.imaging import render
from dscsnet.engines.model_engine import ModelEngine
from dscsnet.pipeline.config import (
    Batching,
    EngineSettings,
    Http,
    Inputs,
    Join,
    NodeConfig,
    Output,
    Overload,
)
from dscsnet.pipeline.errors import MessageError
from dscsnet.pipeline.join import Joiner, Ledger, Ticket
from dscsnet.pipeline.messages import Detections, End, EngineInfo, Frame, Message, Status, Targets
from dscsnet.pipeline.node import Node
from dscsnet.pipeline.node import node as node_module
from dscsnet.pipeline.node.intake import Intake
from dscsnet.pipeline.node.outlet import Outlet
from dscsnet.pipeline.sockets import Channel, Receiver
from dscsnet.pipeline.worker import plain_answer

Start = Callable[..., AbstractContextManager[Any]]
KINDS = ("targets", "end", "status")
PATIENCE_S = 60.0  # only a failure waits that long
ENGINE = EngineInfo(runtime="none", model="none", sha256="", psf_sigma=0.5)


def scene(dtype: str = "uint16") -> np.ndarray:
    """Two isolated bright targets on a flat noisy background."""
    noise = np.random.default_rng(1).normal(1000, 5, (64, 80))
    image = noise + render([20.0, 60.0], [30.0, 40.0], [5000.0, 4000.0], (64, 80), 0.5)
    return np.round(image).astype(dtype)


def test_targets_are_found_where_they_are(harness: Start) -> None:
    with harness() as node:
        node.send_frame(0, scene())
        node.send_detections(0, [20.4, 59.7], [30.3, 40.2])
        answer = node.receive()
    assert isinstance(answer, Targets)
    assert answer.status == "ok"
    assert answer.key.frame_id == 0
    assert answer.timestamp_ns == 7
    assert answer.spots.count == [1, 1]
    assert answer.spots.flags == [0, 0]
    np.testing.assert_allclose(answer.targets.x, [20, 60], atol=0.17)
    np.testing.assert_allclose(answer.targets.y, [30, 40], atol=0.17)
    np.testing.assert_allclose(answer.targets.intensity, [5000, 4000], rtol=0.1)
    np.testing.assert_allclose(answer.spots.background, 1000, atol=3)
    np.testing.assert_allclose(answer.spots.noise, 5, rtol=0.4)
    assert answer.timing.total >= answer.timing.infer > 0


def test_answers_do_not_depend_on_gain_or_offset(harness: Start) -> None:
    with harness() as node:
        for frame_id, pixels in enumerate((scene("float32"), scene("float32") * 7 + 3000)):
            node.send_frame(frame_id, pixels.astype("float32"))
            node.send_detections(frame_id, [20, 60], [30, 40])
        first, second = node.receive(), node.receive()
    assert isinstance(first, Targets)
    assert isinstance(second, Targets)
    np.testing.assert_allclose(first.targets.x, second.targets.x, atol=1e-5)
    np.testing.assert_allclose(
        np.multiply(first.targets.intensity, 7), second.targets.intensity, rtol=1e-3
    )


def test_targets_beyond_the_likeliest_number_on_request(harness: Start) -> None:
    """A close pair that one model takes for one or for two, beside a clear target."""
    image = np.random.default_rng(4).normal(1000, 5, (64, 80))
    image += render([20.0, 20.6, 60.0], [30.0, 30.0, 40.0], [300.0, 260, 4000], (64, 80), 0.6)
    answers = []
    for least in (None, 0.02):
        with harness(engine=EngineSettings(model="field-mlp", least_existence=least)) as node:
            node.send_frame(0, np.round(image).astype(np.uint16))
            node.send_detections(0, [59.7, 20.4], [40.2, 30.3])
            answers.append(node.receive())
    plain, full = answers
    assert full.spots == plain.spots
    assert sum(plain.spots.count) == len(plain.targets.x) < len(full.targets.x)
    assert full.targets.spot == sorted(full.targets.spot)
    for spot, count in enumerate(plain.spots.count):
        first, second = full.targets.spot.index(spot), plain.targets.spot.index(spot)
        for name in ("x", "y", "intensity", "score", "sigma_x"):
            theirs = getattr(plain.targets, name)[second : second + count]
            assert getattr(full.targets, name)[first : first + count] == theirs


def test_every_frame_is_answered_in_order_and_the_end_passed_on(harness: Start) -> None:
    frames = 50
    with harness(join=Join(timeout_ms=2000), overload=Overload(max_age_ms=5000)) as node:
        for frame_id in range(frames):
            node.send_frame(frame_id, scene())
            position = [20.0] if frame_id % 3 else []
            node.send_detections(frame_id, position, position)
        node.frames.send(End("cam", node.epoch, frames - 1, 7))
        answers = [node.receive() for _ in range(frames + 1)]
        state = node.node.snapshot()
    assert [answer.frame_id for answer in answers] == [*range(frames), frames - 1]
    assert isinstance(answers[-1], End)
    statuses = [answer.status for answer in answers[:-1] if isinstance(answer, Targets)]
    assert statuses == ["ok" if i % 3 else "empty" for i in range(frames)]
    assert state["received"] == state["published"] == frames
    assert state["lost_upstream"] == 0


def test_two_streams_share_the_engine_and_batches(harness: Start) -> None:
    with harness(batch=Batching(max_delay_ms=20)) as node:
        for stream in ("a", "b"):
            node.send_frame(0, scene(), stream)
        for stream in ("a", "b"):
            node.send_detections(0, [20, 60], [30, 40], stream)
        answers = [node.receive() for _ in range(2)]
        _, page = node.get("metrics")
    assert {answer.key.stream for answer in answers} == {"a", "b"}
    assert "dscsnet_batch_frames_sum 2.0" in page


def test_frame_without_detections_is_answered_after_the_deadline(harness: Start) -> None:
    with harness(join=Join(timeout_ms=50)) as node:
        node.send_frame(0, scene())
        answer = node.receive()
    assert isinstance(answer, Targets)
    assert (answer.status, answer.reason) == ("no_detections", "timeout")


@pytest.mark.parametrize(
    ("pixels", "status"),
    [
        (np.full((64, 80), np.nan, np.float32), "error"),
        (np.zeros((64, 80), np.uint8), "ok"),
        (np.full((64, 80), 65535, np.uint16), "ok"),
        (np.ones((3, 2), np.float32), "ok"),
    ],
)
def test_strange_frames_are_answered(harness: Start, pixels: np.ndarray, status: str) -> None:
    with harness() as node:
        node.send_frame(0, pixels)
        node.send_detections(0, [1.0], [1.0])
        answer = node.receive()
        node.send_frame(1, scene())
        node.send_detections(1, [20.0], [30.0])
        after = node.receive()
    assert isinstance(answer, Targets)
    assert isinstance(after, Targets)
    assert answer.status == status
    assert answer.reason == ("no usable pixel in any candidate's crop" if status == "error" else "")
    assert answer.targets.x == []
    assert after.spots.count == [1]


def test_candidates_outside_the_frame_keep_their_entry(harness: Start) -> None:
    with harness() as node:
        node.send_frame(0, scene())
        node.send_detections(0, [-50.0, 20.0, 1e6], [3.0, 30.0, 1e6])
        answer = node.receive()
    assert isinstance(answer, Targets)
    assert answer.spots.count == [0, 1, 0]
    assert answer.spots.flags[1] == 0
    assert 0 not in (answer.spots.flags[0], answer.spots.flags[2])


def test_malformed_messages_are_counted_and_harm_nothing(harness: Start) -> None:
    with harness() as node:
        good = Frame("cam", node.epoch, 0, 7, scene())
        for parts in (
            [b"frame/cam"],
            [b"frame/cam", b"\xc1", b""],
            [b"frame/bad stream!", b"\x80", b""],
            [b"frame/cam", b"\x80" * 2, b"1234"],
        ):
            node.frames.socket.send_multipart(parts)
        node.frames.send(good)
        node.send_detections(0, [20.0], [30.0])
        answer = node.receive()
        state = node.heartbeat().body
        status, _ = node.get("healthz")
    assert isinstance(answer, Targets)
    assert answer.status == "ok"
    assert sum(state["rejected"].values()) == 4
    assert status == 200


def test_health_pages(harness: Start) -> None:
    with harness() as node:
        assert node.get("healthz") == (200, "ok\n")
        assert node.get("readyz") == (200, "ok\n")
        node.send_frame(0, scene())
        node.send_detections(0, [20.0], [30.0])
        node.receive()
        status, page = node.get("metrics")
        assert node.get("nothing")[0] == 404
    assert status == 200
    assert 'dscsnet_published_total{status="ok"} 1.0' in page
    for stage in ("join", "queue", "crop", "infer", "readout", "total"):
        assert f'dscsnet_stage_seconds_count{{stage="{stage}"}} 1.0' in page


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop may take as long as a loaded machine needs: that it takes 5 s at most is set apart."""
    module = sys.modules[Node.__module__]
    assert module.DRAIN_S < module.PUBLISH_S < module.LEAVE_S < 5
    for name in ("DRAIN_S", "PUBLISH_S", "LEAVE_S"):
        monkeypatch.setattr(module, name, PATIENCE_S)


@pytest.mark.usefixtures("patient")
def test_stop_answers_what_was_accepted(harness: Start) -> None:
    with harness(join=Join(timeout_ms=600_000)) as node:
        node.send_frame(0, scene())
        node.send_frame(1, scene())
        node.send_detections(1, [20.0], [30.0])
        while node.node.snapshot()["received"] < 2:
            time.sleep(0.01)
        node.stop.set()
        answers = [node.receive(), node.receive()]
        node.thread.join(PATIENCE_S)
        assert not node.thread.is_alive()
        assert node.error is None
    assert [a.status for a in answers if isinstance(a, Targets)] == ["no_detections", "ok"]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_slow_engine_cannot_finish_is_answered_as_dropped(
    harness: Start, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """The first batches take longer than the time to drain; every key is answered all the same."""
    monkeypatch.setattr(sys.modules[Node.__module__], "DRAIN_S", 0.1)
    frames, in_engine, run = 4, threading.Event(), ModelEngine.run

    def slow(self: ModelEngine, batch: Any) -> Any:
        in_engine.set()
        assert hold.wait(PATIENCE_S)
        return run(self, batch)

    hold = threading.Event()
    with harness(
        join=Join(timeout_ms=60_000),
        overload=Overload(max_age_ms=60_000),
        batch=Batching(max_crops=1, workers=workers),
    ) as node:
        monkeypatch.setattr(ModelEngine, "run", slow)
        for frame_id in range(frames):
            node.send_frame(frame_id, scene())
            node.send_detections(frame_id, [20.0], [30.0])
        assert in_engine.wait(60)
        while node.node.snapshot()["queue"]["ready"] < frames - workers:
            time.sleep(0.01)
        node.stop.set()
        while node.node.snapshot()["drops"].get("shutdown", 0) < frames - workers:
            assert node.thread.is_alive()
            time.sleep(0.01)
        hold.set()
        answers = [node.receive() for _ in range(frames)]
        node.thread.join(PATIENCE_S)
        assert not node.thread.is_alive()
        assert node.error is None
        last = node.heartbeat().body
        while last["pending"]:
            last = node.heartbeat().body
    assert [a.status for a in answers if isinstance(a, Targets)] == ["ok"] * workers + [
        "dropped"
    ] * (4 - workers)
    assert last["drops"] == {"shutdown": frames - workers}
    assert last["received"] == last["published"] == frames


def test_an_engine_that_hangs_does_not_keep_the_node(
    harness: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_engine, release = threading.Event(), threading.Event()

    def hang(self: ModelEngine, batch: Any) -> Any:
        in_engine.set()
        release.wait(2 * PATIENCE_S)
        raise DscsnetError("released")

    with harness() as node:
        monkeypatch.setattr(ModelEngine, "run", hang)
        node.send_frame(0, scene())
        node.send_detections(0, [20.0], [30.0])
        assert in_engine.wait(60)
        node.stop.set()
        node.thread.join(PATIENCE_S)
        assert not node.thread.is_alive()
        assert isinstance(node.error, DscsnetError)
        assert "the worker did not end in time" in str(node.error)
        release.set()


def test_stop_is_heeded_while_subscribers_are_awaited() -> None:
    local = Channel("tcp://127.0.0.1:*", bind=True)
    output = Output(targets=local, expected_subscribers=1, wait_s=600)
    node, stop = Node(NodeConfig(output=output, http=Http(enabled=False))), threading.Event()
    thread = threading.Thread(target=node.run, args=(stop,))
    thread.start()
    while node._unready() != "waiting for subscribers":
        assert thread.is_alive()
        time.sleep(0.01)
    stop.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_subscribers_are_waited_for_in_slices_and_no_longer_than_asked() -> None:
    class Nobody:
        def __init__(self) -> None:
            self.asked: list[float] = []

        def wait_for_peers(self, count: int, timeout_s: float) -> int:
            self.asked.append(timeout_s)
            threading.Event().wait(timeout_s)
            return 0

    output = Output(targets=Channel("ipc://nowhere", bind=True), wait_s=0.3)
    node, sender = Node(NodeConfig(output=output, http=Http(enabled=False))), Nobody()
    node._wait_for_subscribers(sender, threading.Event())  # type: ignore[arg-type]
    assert sum(sender.asked) <= 0.3
    assert max(sender.asked) <= 0.2
    stopped = threading.Event()
    stopped.set()
    asked = len(sender.asked)
    node._wait_for_subscribers(sender, stopped)  # type: ignore[arg-type]
    assert len(sender.asked) == asked


def test_threads_that_end_in_time_are_waited_for() -> None:
    release, never = threading.Event(), threading.Event()
    soon, stuck = (threading.Thread(target=each.wait) for each in (release, never))
    for thread in (soon, stuck):
        thread.start()
    threading.Timer(0.1, release.set).start()
    assert node_module._join_until([soon], time.monotonic() + 30) == []
    assert node_module._join_until([soon, stuck], time.monotonic() + 0.05) == [stuck]
    assert node_module._join_until([stuck], time.monotonic() - 1) == [stuck]  # long past
    never.set()
    assert node_module._join_until([soon, stuck], time.monotonic() + 30) == []


def test_an_engine_that_is_silent_for_30_s_fails_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(NodeConfig(http=Http(enabled=False)))
    now = [100.0]
    node._crew = SimpleNamespace(silent_s=lambda: now[0] - 100.0)  # type: ignore[assignment]
    node.ready.set()
    for now[0], dead in ((129.5, False), (130.0, False), (130.5, True)):
        assert bool(node._dead()) == dead
    node.ready.clear()
    assert node._dead() is None  # it may still be compiling
    node._failure = ValueError("no room")
    assert node._dead() == "failed: no room"


def test_a_stopped_node_has_2_s_to_unmix_and_is_gone_within_5(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deadlines: list[float] = []
    monkeypatch.setattr(
        node_module, "_join_until", lambda _, deadline: deadlines.append(deadline) or []
    )
    monkeypatch.setattr(node_module, "time", SimpleNamespace(monotonic=lambda: 100.0))
    node, stop = Node(NodeConfig(http=Http(enabled=False))), threading.Event()
    idle = SimpleNamespace(run=lambda _: None)
    stop.set()
    node._serve(idle, idle, stop)  # type: ignore[arg-type]
    assert deadlines == [102.0, 103.0, 103.5, 103.5]


class FullSender:
    """A channel whose subscriber takes nothing; the node is told to leave at the third attempt."""

    def __init__(self, give_up: threading.Event) -> None:
        self.timeouts: list[int] = []
        self._give_up = give_up

    def send(self, message: Message, timeout_ms: int) -> bool:
        if not isinstance(message, Status):
            self.timeouts.append(timeout_ms)
            if len(self.timeouts) == 3:
                self._give_up.set()
        return False


def test_giving_up_waits_for_no_message_more() -> None:
    """Else a full output of many messages would hold up the exit for seconds."""

    def answer(ticket: Ticket, status: Any, reason: str) -> Targets:
        return plain_answer(ticket, status, reason, ENGINE)

    joiner = Joiner(Join(), Overload(mode="lossless"), Batching(), Ledger(), answer)
    for frame_id in range(20):
        joiner.offer(Frame("cam", b"e" * 16, frame_id, 7, scene()))
    joiner.close()
    give_up = threading.Event()
    sender = FullSender(give_up)
    outlet = Outlet(
        sender,  # type: ignore[arg-type]
        joiner,
        lossless=True,
        name="node0",
        body=lambda: {},
    )
    outlet.run(give_up)
    assert len(sender.timeouts) == 22
    assert set(sender.timeouts[3:]) == {0}
    assert outlet.unsent == 20


def test_errors_of_every_frame_are_answered_but_not_all_logged(
    harness: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error's text may be one that no message can carry."""

    def fail(self: ModelEngine, batch: Any) -> Any:
        raise RuntimeError("half a pair: \udc80")

    frames = 10
    with harness(join=Join(timeout_ms=60_000), overload=Overload(max_age_ms=60_000)) as node:
        with (
            monkeypatch.context() as patch,
            caplog.at_level(logging.ERROR, "dscsnet.pipeline.worker.worker"),
        ):
            patch.setattr(ModelEngine, "run", fail)
            for frame_id in range(frames):
                node.send_frame(frame_id, scene())
                node.send_detections(frame_id, [20.0], [30.0])
            answers = [node.receive() for _ in range(frames)]
        node.send_frame(frames, scene())
        node.send_detections(frames, [20.0], [30.0])
        after = node.receive()
    assert {answer.status for answer in answers} == {"error"}
    assert answers[0].reason == "internal error: RuntimeError: half a pair: ?"
    assert after.status == "ok"
    assert len([r for r in caplog.records if r.name == "dscsnet.pipeline.worker.worker"]) == 1


def test_a_blocked_input_is_not_polled_without_a_pause() -> None:
    """With both inputs blocked a spinning receiver would take the engine's time."""

    class Blocked:
        rounds = 0

        def expire(self) -> None:
            self.rounds += 1

        def blocked(self) -> tuple[bool, bool]:
            return True, True

    joiner, stop = Blocked(), threading.Event()
    local = Channel("tcp://127.0.0.1:*", bind=True)
    intake = Intake(Inputs(frames=local, detections=local), joiner)  # type: ignore[arg-type]
    with closing(intake):
        timer = threading.Timer(0.2, stop.set)
        timer.start()
        intake.run(stop)
    assert joiner.rounds <= 0.2 * 1000


class Backlog:
    """An input with a queue of its own making."""

    def __init__(self, messages: Iterable[Message | MessageError]) -> None:
        self.messages = deque(messages)

    def receive(self, timeout_ms: int) -> Message | None:
        message = self.messages.popleft() if self.messages else None
        if isinstance(message, MessageError):
            raise message
        return message


class Collecting:
    """Takes what is offered; nothing else is asked of it."""

    def __init__(self) -> None:
        self.taken: list[Message] = []
        self.rejected: list[str] = []

    def offer(self, message: Message) -> None:
        self.taken.append(message)

    def reject(self, reason: str) -> None:
        self.rejected.append(reason)

    def blocked(self) -> tuple[bool, bool]:
        return False, False


def read_all(
    frames: Iterable[Message | MessageError], detections: Iterable[Message | MessageError]
) -> tuple[list[tuple[str, int]], Collecting]:
    """Kind and frame_id of all messages, in the order in which the intake reads two backlogs."""
    joiner, local = Collecting(), Channel("tcp://127.0.0.1:*", bind=True)
    intake = Intake(Inputs(frames=local, detections=local), joiner)  # type: ignore[arg-type]
    intake.close()
    one, other = Backlog(frames), Backlog(detections)
    intake.frames, intake.detections = one, other  # type: ignore[assignment]
    while one.messages or other.messages:
        intake._read([0, 1])
    return [(message.kind, message.frame_id) for message in joiner.taken], joiner


def image(frame_id: int, stream: str = "cam", epoch: bytes = bytes(16)) -> Frame:
    return Frame(stream, epoch, frame_id, 7, np.zeros((2, 2), np.uint8))


def spots(frame_id: int, stream: str = "cam", epoch: bytes = bytes(16)) -> Detections:
    return Detections(stream, epoch, frame_id, 7, x=[1.0], y=[1.0])


@pytest.mark.parametrize("behind", ["frame", "detections"])
def test_of_two_backlogs_the_one_behind_is_read_first(behind: str) -> None:
    """One has lost the first 200 messages at its publisher; read in turn, it would stay ahead."""
    ids = {"frame": range(200, 300), "detections": range(200, 300), behind: range(300)}
    order, _ = read_all(map(image, ids["frame"]), map(spots, ids["detections"]))
    assert len(order) == 400
    # Turns of the one ahead, should the other never catch up, cost little.
    assert [kind for kind, _ in order[:200]].count(behind) >= 195
    places = {key: place for place, key in enumerate(order)}
    apart = [abs(places["frame", i] - places["detections", i]) for i in range(210, 300)]
    assert max(apart) <= 12


def test_an_input_far_behind_by_its_numbers_does_not_keep_the_other_from_being_read() -> None:
    order, _ = read_all(map(image, range(1000)), [spots(2**60), *map(spots, range(10))])
    assert max(place for place, (kind, _) in enumerate(order) if kind == "detections") < 800


def test_streams_and_epochs_are_read_in_turn_where_nothing_compares_them() -> None:
    frames = [image(i, f"cam{i % 300}") for i in range(600)]
    order, joiner = read_all(
        [*frames, MessageError("header", "cut short")], [spots(5, "other", b"b" * 16)] * 600
    )
    assert joiner.rejected == ["header"]
    kinds = [kind for kind, _ in order]
    assert 250 < kinds[:600].count("frame") < 350


def test_lossless_node_loses_nothing_to_a_slow_engine(
    harness: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Detections wait for longer than the deadline, as the node itself does not read frames."""
    frames, run, pause = 40, ModelEngine.run, threading.Event()

    def slow(self: ModelEngine, batch: Any) -> Any:
        pause.wait(0.08)
        return run(self, batch)

    join = Join(max_frames=4, timeout_ms=50)
    with harness(join=join, overload=Overload(mode="lossless")) as node:
        monkeypatch.setattr(ModelEngine, "run", slow)
        for frame_id in range(frames):
            node.send_frame(frame_id, scene())
            node.send_detections(frame_id, [20.0], [30.0])
        node.frames.send(End("cam", node.epoch, frames - 1, 7))
        answers = [node.receive() for _ in range(frames + 1)]
    assert [answer.frame_id for answer in answers] == [*range(frames), frames - 1]
    assert {answer.status for answer in answers[:-1]} == {"ok"}


def test_push_output_counts_as_one_subscriber() -> None:
    """How many take from a PUSH socket cannot be told: waiting for two would never end."""
    targets = Channel("tcp://127.0.0.1:*", bind=True, kind="pushpull")
    output = Output(targets=targets, expected_subscribers=2, wait_s=600)
    node, stop = Node(NodeConfig(output=output, http=Http(enabled=False))), threading.Event()
    thread = threading.Thread(target=node.run, args=(stop,))
    thread.start()
    try:
        while not node.targets_endpoint:
            assert thread.is_alive()
            time.sleep(0.01)
        with Receiver(Channel(node.targets_endpoint, bind=False, kind="pushpull"), kinds=KINDS):
            assert node.ready.wait(30)
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
