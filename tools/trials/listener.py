"""Receives all that a node publishes, and checks it against the rules of the node."""

import bisect
import itertools
import threading
import time
from array import array
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from dscsnet.pipeline.messages import End, Status, Targets
from dscsnet.pipeline.sockets import Channel, Receiver

#: Answers and heartbeats remembered one by one.
REMEMBERED = 20_000


class Arrival(NamedTuple):
    """One answer: when it came (monotonic, ns), and what tells where it is from.

    Attributes:
        total_ms, busy_ms: in the node, and in its engine.
    """

    time_ns: int
    status: str
    epoch: bytes
    detector: int
    total_ms: float
    busy_ms: float
    model: str


@dataclass
class Life:
    """What one life of the node published, as it said and as it was seen.

    Attributes:
        last: its newest heartbeat.
        statuses: of the answers that came.
        gaps: frame ids left out between answers, or before an end.
        first_ns: when its first heartbeat came, monotonic.
        missed: frame ids between the last answer of the life before and the first of this one.
    """

    last: dict[str, Any] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    ends: int = 0
    gaps: int = 0
    missed: int = 0
    first_ns: int | None = None


class Listener:
    """Listens from the start of a block to its end.

    Attributes:
        lives: one for each start of the node.
        faults: what broke the rules, in words.
        arrivals: the latest answers.
    """

    def __init__(self, channel: Channel) -> None:
        self.lives = [Life()]
        self.faults: list[str] = []
        self.arrivals: deque[Arrival] = deque(maxlen=REMEMBERED)
        self.beats: deque[tuple[int, dict[str, Any]]] = deque(maxlen=REMEMBERED)
        self._good_ns = array("q")  # when each `ok` came; of all of them
        self._latest: dict[tuple[str, bytes], int] = {}
        self._before: dict[tuple[str, bytes], int] = {}  # in the life before
        self._channel, self._stop = channel, threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener")

    @property
    def life(self) -> Life:
        """The node's present life."""
        return self.lives[-1]

    @property
    def last(self) -> dict[str, Any]:
        """The newest heartbeat of this life; empty before the first."""
        return self.life.last

    def begin_life(self) -> None:
        """The node has died; what comes from now on is another's."""
        self.lives.append(Life())
        self._before, self._latest = self._latest, {}

    def first_ok(self, since_ns: int, **wanted: object) -> Arrival | None:
        """The first answer `ok` after a moment, of an epoch, detector or model if one is given."""
        for arrival in list(self.arrivals):
            matches = all(getattr(arrival, name) == value for name, value in wanted.items())
            if arrival.time_ns >= since_ns and arrival.status == "ok" and matches:
                return arrival
        return None

    def longest_pause_s(self, since_ns: int) -> float:
        """The longest time without an answer `ok` from a moment until now."""
        good = self._good_ns
        times = [since_ns, *good[bisect.bisect_left(good, since_ns) :], time.monotonic_ns()]
        return max(b - a for a, b in itertools.pairwise(times)) / 1e9

    def _run(self) -> None:
        with Receiver(self._channel, kinds=("targets", "end", "status")) as receiver:
            # What is there is read to the last, also after the stop.
            while (message := receiver.receive(300)) is not None or not self._stop.is_set():
                if isinstance(message, Targets):
                    self._take(message)
                elif isinstance(message, End):
                    self._take_end(message)
                elif isinstance(message, Status):
                    self._check(message.body)

    def _take(self, answer: Targets) -> None:
        self.life.statuses[answer.status] += 1
        now, detector = time.monotonic_ns(), answer.spots.id[0] if len(answer.spots) else 0
        if answer.status == "ok":
            self._good_ns.append(now)
        self.arrivals.append(
            Arrival(
                now,
                answer.status,
                answer.epoch,
                detector,
                answer.timing.total / 1e6,
                (answer.timing.infer + answer.timing.readout) / 1e6,
                answer.engine.model,
            )
        )
        self._go_on(answer, answer.frame_id)

    def _take_end(self, end: End) -> None:
        self.life.ends += 1
        # Its own number is that of the last frame.
        self._go_on(end, end.frame_id + 1)

    def _go_on(self, message: Targets | End, frame_id: int) -> None:
        key = (message.stream, message.epoch)
        before = self._latest.get(key)
        if before is not None:
            if frame_id <= before:
                self.faults.append(f"{key}: {frame_id} after {before}")
            self.life.gaps += max(0, frame_id - before - 1)
        elif (earlier := self._before.pop(key, None)) is not None:
            if frame_id <= earlier:
                self.faults.append(f"{key}: {frame_id} after {earlier} in the life before")
            self.life.missed += max(0, frame_id - earlier - 1)
        if len(self._latest) > REMEMBERED:
            del self._latest[next(iter(self._latest))]
        self._latest[key] = frame_id

    def _check(self, body: dict[str, Any]) -> None:
        self.life.last = body
        self.life.first_ns = self.life.first_ns or time.monotonic_ns()
        self.beats.append((time.monotonic_ns(), body))
        if body["received"] != body["published"] + body["pending"]:
            self.faults.append(f"a heartbeat does not balance: {body}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
