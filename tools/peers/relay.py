"""A bare pyzmq relay: takes frames, gives a small answer to each, does nothing with them.

It is the least that a node in Python costs which receives frames over ZeroMQ.
`python -m dscsnet.tools.peers.relay FRAMES ANSWERS` with two endpoints to connect to.
"""

import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import zmq

from dscsnet.engines.errors import DscsnetError
from dscsnet.tools.bench.in_turn import ROUNDS, Speed, median_speed
from dscsnet.tools.bench.node import ANSWER_S, Load, make_load, running_node, timed_answers
from dscsnet.tools.host.processes import Programs
from dscsnet.tools.peers.comparison import Comparison, rows

#: Frames that a socket queues, as for the node of the benchmark.
QUEUED = 16
ANSWER = bytes(100)
NODE = "node, 0 candidates"
RELAY = "bare pyzmq relay"
NOTE = (
    "the relay reads nothing and joins nothing, and is sent no detections: what remains of a node "
    "that does no work, hence a limit for one process; processor time of the process that receives"
)


def compare_relay(model: str, frames: int) -> Comparison:
    """The node on frames without candidates beside the relay on the same frames."""
    load = make_load(0)
    speeds: dict[str, list[Speed]] = {NODE: [], RELAY: []}
    with running_node(model, "lossless", 1, workers=1) as node, running_relay() as relay:
        for _ in range(ROUNDS):
            wall = node.throughput(load, frames)
            speeds[NODE].append(Speed(1e6 / sum(node.cpu_us.values()), wall))
            speeds[RELAY].append(relay.speed(load, frames))
    return Comparison(
        title="Receiving 640x512 16-bit frames",
        unit="frames",
        rows=rows({name: median_speed(each) for name, each in speeds.items()}),
        references=[NODE],
        note=NOTE,
    )


class Relay:
    """A running relay with this process as its publisher and listener."""

    def __init__(
        self,
        frames: zmq.Socket[bytes],
        answers: zmq.Socket[bytes],
        thread_seconds: Callable[[], Mapping[str, float]],
    ) -> None:
        self._frames, self._answers, self._thread_seconds = frames, answers, thread_seconds

    def speed(self, load: Load, frames: int) -> Speed:
        """Sent as fast as the relay takes them; a tenth before is not timed."""
        frames_per_s, cpu_us = timed_answers(
            lambda number: self._send(load, number),
            *(self._answer, self._thread_seconds, frames),
        )
        spent_us = sum(cpu_us.values())
        # The system counts processor time in ticks: of few frames there is none to be seen.
        return Speed(1e6 / spent_us if spent_us else math.nan, frames_per_s)

    def _send(self, load: Load, number: int) -> None:
        for frame_id in range(number):
            pixels = load.frames[frame_id % len(load.frames)].data
            self._frames.send_multipart([frame_id.to_bytes(8, "little"), pixels], copy=False)

    def _answer(self) -> None:
        if not self._answers.poll(int(ANSWER_S * 1000)):
            raise DscsnetError(f"the relay gave no answer within {ANSWER_S:g} s")
        self._answers.recv_multipart()


@contextmanager
def running_relay() -> Iterator[Relay]:
    """A relay as a process of its own, which ends with the block."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Programs(Path(folder)) as programs,
        zmq.Context() as context,
        context.socket(zmq.PUSH) as frames,
        context.socket(zmq.PULL) as answers,
    ):
        for end in (frames, answers):
            end.set_hwm(QUEUED)
            end.setsockopt(zmq.LINGER, 0)
            end.bind("tcp://127.0.0.1:*")
        endpoints = [
            end.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0") for end in (frames, answers)
        ]
        programs.start("relay", "dscsnet.tools.peers.relay", *endpoints)
        yield Relay(frames, answers, lambda: programs.thread_seconds("relay"))


def relay_for_ever(frames: str, answers: str) -> None:
    """Answer each message of one endpoint at the other."""
    with zmq.Context() as context, context.socket(zmq.PULL) as source:
        sink = context.socket(zmq.PUSH)
        for end, endpoint in ((source, frames), (sink, answers)):
            end.set_hwm(QUEUED)
            end.connect(endpoint)
        while True:
            frame_id = source.recv_multipart(copy=False)[0]
            sink.send_multipart([frame_id, ANSWER])


if __name__ == "__main__":
    relay_for_ever(*sys.argv[1:])
