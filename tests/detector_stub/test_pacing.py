"""When the publishers send what, on a clock of the test's own: nothing here takes time."""

import threading
from types import SimpleNamespace

import msgspec
import pytest

from dscsnet.detector_stub import simulator as module
from dscsnet.detector_stub.config import FaultSettings, SimulatorConfig
from dscsnet.detector_stub.scene import Scene
from dscsnet.detector_stub.scene_config import CloudSettings, ClusterSettings, SceneConfig
from dscsnet.detector_stub.simulator import NAP_S, _Run
from dscsnet.pipeline.messages import Detections, End, Frame, Message
from dscsnet.pipeline.sockets import peers as peers_module
from dscsnet.pipeline.sockets.peers import await_peers, send

SCENE = Scene(
    SceneConfig(
        width=32,
        height=24,
        clouds=CloudSettings(texture_size=16),
        clusters=ClusterSettings(count=1, margin=4.0),
    )
)


class Clock:
    """Seconds that pass while somebody sleeps or is blocked."""

    def __init__(self) -> None:
        self.now = 100.0
        self.longest_nap = 0.0

    def monotonic(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.now * 1e9)

    def sleep(self, seconds: float) -> None:
        self.longest_nap = max(self.longest_nap, seconds)
        self.now += seconds


class Outlet:
    """A sender that notes what is sent when; `blocked` times it has no room first."""

    def __init__(self, clock: Clock, sent: list[tuple[str, int, int]], blocked: int = 0) -> None:
        self.clock, self.sent, self.blocked = clock, sent, blocked
        self.asked: list[int] = []

    def send(self, message: Message, timeout_ms: int) -> bool:
        self.asked.append(timeout_ms)
        if self.blocked:
            self.blocked -= 1
            self.clock.now += timeout_ms / 1000
            return False
        at = round(1000 * (self.clock.now - 100))
        self.sent.append((type(message).__name__, message.key.frame_id, at))
        return True


class Bench:
    """A run with its senders; changes are those of the configuration."""

    def __init__(self, clock: Clock, *, blocked: int = 0, **changes: object) -> None:
        self.clock, self.sent = clock, []  # type: tuple[Clock, list[tuple[str, int, int]]]
        self.stop = threading.Event()
        config = SimulatorConfig(mode="live", rate_hz=50.0, frame_count=3)
        self.frames = Outlet(clock, self.sent, blocked)
        self.detections = Outlet(clock, self.sent)
        self.run = _Run(
            msgspec.structs.replace(config, **changes),
            SCENE,
            self.frames,  # type: ignore[arg-type]
            self.detections,  # type: ignore[arg-type]
            truth=None,
            stop=self.stop,
        )

    def publish(self) -> list[tuple[str, int, int]]:
        self.run.publish()
        return self.sent


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(peers_module, "time", clock)
    return clock


def test_frames_leave_on_time_and_their_detections_with_them(clock: Clock) -> None:
    assert Bench(clock, first_frame=7).publish() == [
        *[("Frame", 7, 0), ("Detections", 7, 0), ("Frame", 8, 20), ("Detections", 8, 20)],
        *[("Frame", 9, 40), ("Detections", 9, 40), ("End", 9, 40), ("End", 9, 40)],
    ]


def test_delayed_detections_leave_between_the_frames_and_after_them(clock: Clock) -> None:
    bench = Bench(clock, faults=FaultSettings(delay_ms=30.0))
    assert bench.publish() == [
        *[("Frame", 0, 0), ("Frame", 1, 20), ("Detections", 0, 30), ("Frame", 2, 40)],
        *[("End", 2, 40), ("Detections", 1, 50), ("Detections", 2, 70), ("End", 2, 70)],
    ]
    assert bench.run.counts == {"frames": 3, "detections": 3, "late": 0}


def test_it_naps_so_that_it_hears_when_to_stop(clock: Clock) -> None:
    bench = Bench(clock, rate_hz=0.1, frame_count=2)
    assert bench.publish()[2] == ("Frame", 1, 10_000)
    assert clock.longest_nap == NAP_S


def test_without_a_rate_frames_leave_at_once(clock: Clock) -> None:
    bench = Bench(clock, rate_hz=None, frame_count=4)
    assert [at for _, _, at in bench.publish()] == [0] * 10
    assert bench.run.counts["late"] == 0


@pytest.mark.parametrize(("busy_s", "late"), [(0.0, 0), (0.039, 0), (0.041, 1)])
def test_a_frame_is_late_that_is_due_more_than_a_period_ago(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, busy_s: float, late: int
) -> None:
    bench = Bench(clock)

    def render(frame_id: int) -> object:
        clock.now += busy_s if frame_id == 1 else 0  # due 20 ms after the first
        return SCENE.frame(frame_id)

    run = bench.run
    monkeypatch.setattr(run, "_scene", SimpleNamespace(frame=render, full_scale=16383))
    bench.publish()
    assert run.counts["late"] == late


def test_live_a_frame_without_room_is_counted_and_the_run_goes_on(clock: Clock) -> None:
    bench = Bench(clock, blocked=1)
    sent = bench.publish()
    assert [number for kind, number, _ in sent if kind == "Frame"] == [1, 2]
    assert bench.run.counts["unsent"] == 1
    assert bench.frames.asked == [0] * 4


def test_live_detections_without_room_are_counted_and_the_run_goes_on(clock: Clock) -> None:
    bench = Bench(clock)
    bench.detections.blocked = 2
    sent = bench.publish()
    assert [number for kind, number, _ in sent if kind == "Detections"] == [2]
    counts = bench.run.counts
    assert (counts["frames"], counts["detections"], counts["unsent"]) == (3, 1, 2)


def test_lossless_detections_leave_while_a_frame_waits_for_room(clock: Clock) -> None:
    bench = Bench(clock, mode="lossless", rate_hz=None, faults=FaultSettings(delay_ms=12.0))
    send_frame = bench.frames.send

    def busy(message: Message, timeout_ms: int) -> bool:
        if isinstance(message, Frame) and message.frame_id == 1 and len(bench.frames.asked) == 1:
            bench.frames.blocked = 4
        return send_frame(message, timeout_ms)

    bench.frames.send = busy  # type: ignore[method-assign]
    sent = bench.publish()
    # 5 ms at a time while detections wait, which leave at the first look after 12 ms ...
    assert sent[:2] == [("Frame", 0, 0), ("Detections", 0, 15)]
    assert bench.frames.asked[:4] == [50, 5, 5, 5]
    # ... and 50 ms at a time when none does.
    assert bench.frames.asked[4] == 50
    assert sent[2] == ("Frame", 1, 65)


@pytest.mark.parametrize("mode", ["live", "lossless"])
def test_told_to_stop_it_sends_what_is_left_at_once(clock: Clock, mode: str) -> None:
    bench = Bench(clock, mode=mode, frame_count=None, faults=FaultSettings(delay_ms=9e6))
    send_frame = bench.frames.send

    def stop_after(message: Message, timeout_ms: int) -> bool:
        if message.key.frame_id == 1 and isinstance(message, Frame):
            bench.stop.set()
        return send_frame(message, timeout_ms)

    bench.frames.send = stop_after  # type: ignore[method-assign]
    assert bench.publish() == [
        *[("Frame", 0, 0), ("Frame", 1, 20), ("End", 1, 20)],
        *[("Detections", 0, 20), ("Detections", 1, 20), ("End", 1, 20)],
    ]


def test_a_blocked_frame_is_given_up_when_told_to_stop(clock: Clock) -> None:
    bench = Bench(clock, mode="lossless", blocked=10**6)
    bench.stop.set()
    bench.stop.is_set = iter([False, False, False, True, True, True]).__next__  # type: ignore[method-assign]
    assert bench.publish() == []
    assert bench.run.counts["frames"] == 0


def test_without_a_detections_channel_frames_go_alone(clock: Clock) -> None:
    bench = Bench(clock)
    bench.run._detections = None
    assert [kind for kind, _, _ in bench.publish()] == ["Frame"] * 3 + ["End"]


class Waiting:
    """A sender to which a peer comes with every look."""

    endpoint = "tcp://here"

    def __init__(self, clock: Clock, first: int = 0) -> None:
        self.clock, self.peers, self.waits = clock, first - 1, []  # type: ignore[var-annotated]

    def wait_for_peers(self, count: int, timeout_s: float) -> int:
        self.waits.append(round(timeout_s, 6))
        self.clock.now += timeout_s
        self.peers += 1
        return self.peers


def test_peers_are_awaited_in_slices_until_enough_are_there(clock: Clock) -> None:
    sender = Waiting(clock)
    assert await_peers(sender, 2, 10.0, threading.Event()) == 2  # type: ignore[arg-type]
    assert sender.waits == [0.05] * 3


def test_the_wait_for_peers_ends_in_time_or_when_told(clock: Clock) -> None:
    sender = Waiting(clock)
    assert await_peers(sender, 99, 0.12, threading.Event()) == 3  # type: ignore[arg-type]
    assert sender.waits == [0.05, 0.05, 0.02, 0.0]
    stop = threading.Event()
    stop.set()
    assert await_peers(Waiting(clock), 99, 10.0, stop) == 0  # type: ignore[arg-type]
    none_awaited = Waiting(clock)
    assert await_peers(none_awaited, 0, 0.0, threading.Event()) == 0  # type: ignore[arg-type]
    assert none_awaited.waits == [0.0]


def test_the_detections_subscriber_has_what_is_left_of_the_time(clock: Clock) -> None:
    config = SimulatorConfig(wait_subscribers=3, wait_timeout_s=0.2)
    frames, detections = Waiting(clock), Waiting(clock)
    module._await_subscribers(config, frames, detections, threading.Event())  # type: ignore[arg-type]
    assert frames.waits == [0.05] * 4  # the fourth look finds three
    # Only one is awaited, and none where none is awaited of the frames; no time is left.
    assert set(detections.waits) == {0.0}
    nobody = SimulatorConfig(wait_subscribers=0, wait_timeout_s=5.0)
    frames, detections = Waiting(clock), Waiting(clock)
    module._await_subscribers(nobody, frames, detections, threading.Event())  # type: ignore[arg-type]
    assert (frames.waits, detections.waits) == ([0.05], [0.05])
    one = Waiting(clock)
    module._await_subscribers(
        SimulatorConfig(wait_subscribers=5, wait_timeout_s=5.0),
        Waiting(clock, first=9),  # type: ignore[arg-type]
        one,  # type: ignore[arg-type]
        threading.Event(),
    )
    assert one.waits == [0.05] * 2


def test_a_message_waits_for_room_only_without_loss(clock: Clock) -> None:
    end = End("cam", bytes(16), 0, 0)
    stop = threading.Event()
    live = Outlet(clock, [], blocked=3)
    assert not send(live, end, False, stop)  # type: ignore[arg-type]
    assert live.asked == [0]
    lossless = Outlet(clock, [], blocked=3)
    assert send(lossless, end, True, stop)  # type: ignore[arg-type]
    assert lossless.asked == [50] * 4
    stop.set()
    given_up = Outlet(clock, [], blocked=3)
    assert not send(given_up, end, True, stop)  # type: ignore[arg-type]
    assert given_up.asked == [50]


def test_detections_are_those_of_the_truth_with_its_faults(clock: Clock) -> None:
    bench = Bench(clock, frame_count=1)
    found: list[Message] = []
    bench.detections.send = lambda message, timeout_ms: found.append(message) or True  # type: ignore[method-assign]
    bench.publish()
    truth = SCENE.truth(0).clusters()
    assert isinstance(found[0], Detections)
    assert (found[0].x, found[0].y) == (truth.x.tolist(), truth.y.tolist())
