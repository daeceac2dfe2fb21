"""Camera, detector and subscriber of the trials, with sockets that are played."""

from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from dscsnet.pipeline.join import Ticket
from dscsnet.pipeline.messages import Detections, End, EngineInfo, Frame, FrameKey, Message
from dscsnet.pipeline.sockets import Channel
from dscsnet.pipeline.worker import plain_answer
from dscsnet.tools.bench.node import make_load
from dscsnet.tools.trials import peers as module
from dscsnet.tools.trials.peers import Camera, Detector, Subscriber

SECOND = 1_000_000_000


def channel(port: int, *, bind: bool = True) -> Channel:
    return Channel(f"tcp://127.0.0.1:{port}", bind=bind)


class World:
    """What was sent where, slept and said; `going` ends after so many looks at it."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.sent: dict[str, list[Message]] = {}
        self.told: list[str] = []
        self.options: list[dict[str, Any]] = []
        self.inbox: list[Message | None] = []
        self.now = 0

    def until_terminated(self) -> Any:
        world = self

        class Going:
            def __getitem__(self, _index: int) -> bool:
                world.looks -= 1
                return world.looks >= 0

        return Going()

    def end(self, own: Channel, **options: Any) -> Any:
        world = self
        world.options.append(options)
        box = world.sent.setdefault(own.endpoint[-4:], [])

        class End_:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None: ...
            def send(self, message: Message) -> None:
                box.append(message)

            def wait_for_peers(self, number: int, seconds: float) -> None:
                world.told.append(f"await {number} for {seconds:g} s at {own.endpoint[-4:]}")

            def receive(self, timeout_ms: int) -> Message | None:
                assert timeout_ms == 200
                return world.inbox.pop(0) if world.inbox else None

        return End_()

    def say(self, what: str) -> int:
        self.told.append(what)
        return 77


@pytest.fixture(name="world")
def _world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(7)
    for name in ("Sender", "Receiver"):
        monkeypatch.setattr(module, name, world.end)
    monkeypatch.setattr(module, "_until_terminated", world.until_terminated)
    monkeypatch.setattr(module, "_say", world.say)
    clock = SimpleNamespace(
        time_ns=lambda: world.now,
        monotonic_ns=lambda: world.now,
        sleep=lambda seconds: world.told.append(f"sleep {seconds:g}"),
    )
    monkeypatch.setattr(module, "time", clock)
    return world


def camera(**changes: Any) -> Camera:
    given = {"endpoints": (channel(4001), channel(4002)), "shape": (60, 60), "candidates": 1}
    return Camera(**{**given, "rate_hz": None, **changes})


def keys(messages: list[Message]) -> list[tuple[str, int]]:
    return [(type(each).__name__, each.frame_id) for each in messages]  # type: ignore[union-attr]


@pytest.mark.parametrize(("lossless", "wait"), [(False, "sleep 2"), (True, "sleep 0")])
def test_a_camera_sends_to_both_and_ends_its_stream(
    world: World, lossless: bool, wait: str
) -> None:
    camera(lossless=lossless).run()
    node, detector = world.sent["4001"], world.sent["4002"]
    assert keys(detector) == [("Frame", k) for k in range(7)]
    assert keys(node) == [*(("Frame", k) for k in range(7)), ("End", 6)]
    assert len({each.epoch for each in node}) == 1  # type: ignore[union-attr]
    assert world.told == ["up", "await 1 for 30 s at 4001", "await 1 for 30 s at 4002", wait]
    assert world.options == [{"lossless": lossless}] * 2
    frames = [each for each in node if isinstance(each, Frame)]
    assert not np.array_equal(frames[0].pixels, frames[1].pixels)
    assert frames[0].stream == "cam"


def test_a_camera_begins_a_new_epoch_after_a_life(world: World) -> None:
    camera(life_frames=3).run()
    node = world.sent["4001"]
    assert keys(node) == [
        *(("Frame", 0), ("Frame", 1), ("Frame", 2), ("End", 2)),
        *(("Frame", 0), ("Frame", 1), ("Frame", 2), ("End", 2)),
        *(("Frame", 0), ("End", 0)),
    ]
    epochs = [each.epoch for each in node]  # type: ignore[union-attr]
    assert epochs[:4] == epochs[:1] * 4
    assert len(set(epochs)) == 3
    assert keys(world.sent["4002"])[:4] == [("Frame", k) for k in (0, 1, 2, 0)]


def test_a_camera_between_two_lives_has_no_stream_to_end(world: World) -> None:
    world.looks = 6
    camera(life_frames=3).run()
    assert keys(world.sent["4001"])[-1] == ("End", 2)
    assert len(world.sent["4001"]) == 8
    assert not any(word.startswith("sleep") for word in world.told)


@pytest.mark.parametrize(("second", "jump"), [(4, 3), (5, -3)])
def test_timestamps_jump_forth_and_back(world: World, second: int, jump: int) -> None:
    world.now = second * SECOND + 7
    assert camera(jump_s=3.0)._timestamp() == world.now + jump * SECOND
    assert camera()._timestamp() == world.now


def frame(frame_id: int) -> Frame:
    return Frame("cam", bytes(16), frame_id, 5, np.zeros((4, 4), np.uint16))


def test_a_detector_answers_frames_but_for_every_so_many(world: World) -> None:
    world.inbox = [frame(0), None, End("cam", bytes(16), 9, 0), *(frame(k) for k in range(1, 6))]
    world.looks = 8
    Detector(
        frames=channel(4002, bind=False),
        detections=channel(4003),
        candidates=2,
        shape=(60, 60),
        empty_every=2,
        missing_every=3,
    ).run()
    sent = [each for each in world.sent["4003"] if isinstance(each, Detections)]
    # Of 0 to 5 the third and the sixth are missing, of the others the second of two is empty.
    assert [(each.frame_id, len(each.x)) for each in sent] == [(0, 2), (1, 0), (3, 0), (4, 2)]
    assert [each.id for each in sent] == [[77, 77], [], [], [77, 77]]
    assert all(each.timestamp_ns == 5 for each in sent)
    load = make_load(2, shape=(60, 60))
    assert load.x != load.y
    for each in sent:
        assert (each.x, each.y) == ((load.x, load.y) if each.id else ([], []))
    assert world.told == ["up", "await 1 for 30 s at 4003"]


@pytest.mark.parametrize(
    ("every", "nth"), [(0, []), (1, [0, 1, 2, 3, 4, 5]), (2, [1, 3, 5]), (3, [2, 5]), (6, [5])]
)
def test_one_of_so_many(every: int, nth: list[int]) -> None:
    assert [k for k in range(6) if module._is_nth(frame(k), every)] == nth


def test_a_subscriber_says_when_the_first_answer_comes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: dict[str, int] = {}

    def say(what: str) -> int:
        left[what] = len(world.inbox)
        return world.say(what)

    monkeypatch.setattr(module, "_say", say)
    ticket = Ticket(FrameKey("cam", bytes(16), 1), 0, 0)
    engine = EngineInfo(runtime="none", model="none", sha256="", psf_sigma=0.5)
    answer = plain_answer(ticket, "ok", "", engine)
    world.inbox = [None, End("cam", bytes(16), 9, 0), answer, None]
    world.looks = 9
    Subscriber(targets=channel(4004, bind=False)).run()
    assert world.told == ["up", "first"]
    assert left == {"up": 4, "first": 1}  # the answer is the third
    assert not world.inbox
    assert world.options == [{"kinds": ("targets", "end", "status")}]


def test_a_peer_is_read_back_from_its_json() -> None:
    for peer in (camera(jump_s=2.0), Subscriber(targets=channel(4004, bind=False))):
        text = msgspec.json.encode(peer)
        assert msgspec.json.decode(text, type=module.Peer) == peer


def test_peers_do_nothing_special_unless_told() -> None:
    usual = camera()
    assert (usual.stream, usual.lossless, usual.life_frames, usual.jump_s) == ("cam", False, 0, 0)
    ends = {"frames": channel(4002, bind=False), "detections": channel(4003)}
    detector = Detector(**ends, candidates=2, shape=(60, 60))
    assert (detector.lossless, detector.empty_every, detector.missing_every) == (False, 0, 0)


def test_what_is_said_is_said_at_once_with_its_moment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed: list[tuple[str, bool]] = []
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic_ns=lambda: 4711))
    monkeypatch.setattr(
        module, "print", lambda text, flush: printed.append((text, flush)), raising=False
    )
    assert module._say("up") == 4711
    assert printed == [("up 4711", True)]


def test_a_signal_to_end_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: dict[int, Any] = {}
    monkeypatch.setattr(module.signal, "signal", handlers.__setitem__)
    going = module._until_terminated()
    assert going == [True]
    handlers[module.signal.SIGTERM](15, None)
    assert going == [False]
