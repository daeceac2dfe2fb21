"""The rules that a node's answers are held to."""

import threading
from typing import Any

import msgspec
import pytest

from dscsnet.pipeline.join import Ticket
from dscsnet.pipeline.messages import End, EngineInfo, FrameKey, Spots, Status, Targets
from dscsnet.pipeline.sockets import Channel
from dscsnet.pipeline.worker import plain_answer
from dscsnet.tools.trials import listener as module
from dscsnet.tools.trials.listener import Listener

ENGINE = EngineInfo(runtime="none", model="some model", sha256="", psf_sigma=0.5)
FIRST, SECOND = bytes(16), bytes(range(16))


@pytest.fixture(name="listener")
def _listener() -> Listener:
    return Listener(Channel("tcp://127.0.0.1:1", bind=False))


def answer(frame_id: int, epoch: bytes = FIRST, status: Any = "ok") -> Targets:
    return plain_answer(Ticket(FrameKey("cam", epoch, frame_id), 0, 0), status, "", ENGINE)


def take(listener: Listener, *numbers: int, epoch: bytes = FIRST) -> None:
    for number in numbers:
        listener._take(answer(number, epoch))


def test_gaps_are_counted_also_before_an_end(listener: Listener) -> None:
    take(listener, 0, 1, 4, 5)
    assert listener.life.gaps == 2
    listener._take_end(End("cam", FIRST, 7, 0))
    assert (listener.life.gaps, listener.life.ends) == (4, 1)
    assert listener.faults == []
    assert listener.life.statuses == {"ok": 4}


def test_another_epoch_counts_anew(listener: Listener) -> None:
    take(listener, 5, 6)
    take(listener, 3, 4, epoch=SECOND)
    assert (listener.life.gaps, listener.faults) == (0, [])


@pytest.mark.parametrize("number", [6, 5])
def test_twice_and_backwards_are_faults(listener: Listener, number: int) -> None:
    take(listener, 5, 6, number)
    (fault,) = listener.faults
    assert fault.endswith(f": {number} after 6")


def test_what_comes_after_an_end_is_a_fault(listener: Listener) -> None:
    take(listener, 0)
    listener._take_end(End("cam", FIRST, 0, 0))
    take(listener, 1)
    (fault,) = listener.faults
    assert fault.endswith(": 1 after 1")


def test_another_life_goes_on_where_the_one_before_ended(listener: Listener) -> None:
    take(listener, 0, 1)
    listener.begin_life()
    assert listener.last == {}
    take(listener, 6, 7)
    assert [life.missed for life in listener.lives] == [0, 4]
    assert [life.gaps for life in listener.lives] == [0, 0]
    assert listener.faults == []
    listener.begin_life()
    take(listener, 7)
    (fault,) = listener.faults
    assert fault.endswith(": 7 after 7 in the life before")


def test_a_heartbeat_must_balance(listener: Listener) -> None:
    listener._check({"received": 5, "published": 3, "pending": 2})
    assert listener.faults == []
    first = listener.life.first_ns
    listener._check({"received": 6, "published": 3, "pending": 2})
    (fault,) = listener.faults
    assert fault.startswith("a heartbeat does not balance: ")
    assert listener.life.first_ns == first
    assert listener.last["received"] == 6
    assert [body["received"] for _, body in listener.beats] == [5, 6]


def test_the_first_good_answer_after_a_moment_and_as_wanted(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0]
    monkeypatch.setattr(module.time, "monotonic_ns", lambda: now[0])
    for moment, status, epoch in ((10, "ok", FIRST), (20, "dropped", FIRST), (30, "ok", SECOND)):
        now[0] = moment
        listener._take(answer(moment, epoch, status))
    found = [listener.first_ok(since) for since in (0, 10, 11, 30, 31)]
    assert [arrival and arrival.time_ns for arrival in found] == [10, 10, 30, 30, None]
    assert listener.first_ok(0, epoch=SECOND) == found[3]
    assert listener.first_ok(0, epoch=SECOND, model="another") is None
    assert listener.first_ok(0, model="some model") == found[0]


def test_only_so_many_epochs_are_remembered(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    for number in range(6):
        take(listener, 0, epoch=bytes([number]) * 16)
    assert len(listener._latest) == 3
    take(listener, 0, epoch=bytes([5]) * 16)  # still known
    assert len(listener.faults) == 1


class PlayedReceiver:
    """Gives what it was told to, each by a function."""

    inbox: list[Any]
    given: tuple[Any, ...]

    def __init__(self, *given: Any, **more: Any) -> None:
        type(self).given = (*given, more)

    def __enter__(self) -> "PlayedReceiver":
        return self

    def __exit__(self, *_: object) -> None: ...
    def receive(self, timeout_ms: int) -> Any:
        assert timeout_ms == 300
        return self.inbox.pop(0)() if self.inbox else None


def test_all_kinds_are_read_to_the_last_also_after_the_stop(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"received": 5, "published": 3, "pending": 2}

    reached = threading.Event()

    def stopped() -> Targets:
        reached.set()
        assert listener._stop.wait(60)
        return answer(1)

    beat = Status(node="a", timestamp_ns=0, frame_id=0, body=body)
    PlayedReceiver.inbox = [
        *(lambda: answer(0), lambda: None, lambda: beat, stopped),
        lambda: End("cam", FIRST, 1, 0),
    ]
    monkeypatch.setattr(module, "Receiver", PlayedReceiver)
    with listener:
        assert reached.wait(60)
    channel, given = PlayedReceiver.given
    assert channel.endpoint == "tcp://127.0.0.1:1"
    assert given == {"kinds": ("targets", "end", "status")}
    assert listener.life.statuses == {"ok": 2}
    assert (listener.life.ends, listener.last) == (1, body)
    assert not listener._thread.is_alive()
    assert PlayedReceiver.inbox == []


def test_a_pause_is_between_good_answers_and_until_now(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0]
    monkeypatch.setattr(module.time, "monotonic_ns", lambda: now[0])
    second = 1_000_000_000
    for moment, status in ((1, "ok"), (3, "ok"), (7, "dropped"), (8, "ok")):
        now[0] = moment * second
        listener._take(answer(moment, status=status))
    now[0] = 10 * second
    assert [listener.longest_pause_s(since * second) for since in (0, 1, 3, 4, 8, 9)] == [
        *(5, 5, 5, 4, 2, 1)
    ]


def test_an_arrival_says_where_it_is_from(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.time, "monotonic_ns", lambda: 9)
    timing = msgspec.structs.replace(
        answer(0).timing, infer=2_000_000, readout=500_000, total=7_000_000
    )
    spots = Spots(
        *([77, 78], [1.0, 2.0], [1.0, 2.0], [0, 0], [0.0] * 2, [1.0] * 2, [1.0] * 2, [0, 0])
    )
    listener._take(msgspec.structs.replace(answer(4, SECOND), timing=timing, spots=spots))
    listener._take(answer(5, SECOND, "dropped"))
    assert list(listener.arrivals) == [
        (9, "ok", SECOND, 77, 7.0, 2.5, "some model"),
        (9, "dropped", SECOND, 0, *(list(listener.arrivals)[1][4:6]), "some model"),
    ]
