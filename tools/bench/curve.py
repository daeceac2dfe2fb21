"""Cost of CURVE: the whole node with and without it, in turn, in one run.

python -m dscsnet.tools.bench.curve --frames 200 --rounds 3
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.cli import run
from dscsnet.pipeline.config import EngineSettings
from dscsnet.pipeline.security import Curve, keys
from dscsnet.pipeline.sockets import Channel, Receiver, Sender
from dscsnet.tools.bench.node import PERCENTILES, Load, make_load, running_node
from dscsnet.tools.host.machine import describe

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Protection:
    """CURVE for every end of a channel, with one key pair that is allowed everything."""

    def __init__(self, folder: Path) -> None:
        self._allowed = folder / "allowed"
        self._public, self._secret = keys.make_key("bench", folder)
        for role in keys.ROLES:
            keys.allow(self._public, role, self._allowed)

    def __call__(self, channel: Channel) -> Channel:
        """The same channel, encrypted."""
        peer = {"allow": str(self._allowed)} if channel.bind else {"server": str(self._public)}
        curve = Curve(key=str(self._secret), **peer)
        return msgspec.structs.replace(channel, curve=curve)


def _cases(protected: Protection) -> dict[str, Callable[[Channel], Channel]]:
    return {"plain": lambda channel: channel, "CURVE": protected}


def _channel_cpu_ms(load: Load, protect: Callable[[Channel], Channel], frames: int) -> float:
    """CPU time of sending and receiving one frame, both ends together, ms.

    Unlike the clock it hardly depends on what else the machine does.
    """
    bound = protect(Channel("tcp://127.0.0.1:*", bind=True, kind="pushpull"))
    with Receiver(bound) as receiver:
        connected = protect(Channel(receiver.endpoint, bind=False, kind="pushpull"))
        with Sender(connected, lossless=True) as sender:
            sender.wait_for_peers(1, 30)
            started = 0.0
            for frame_id in range(-frames // 10, frames):
                if frame_id == 0:
                    started = time.process_time()
                frame, _ = load.messages("bench", bytes(16), max(0, frame_id))
                sender.send(frame)
                if receiver.receive(30_000) is None:
                    raise DscsnetError("a frame did not come within 30 s")
            return 1e3 * (time.process_time() - started) / frames


@dataclass(frozen=True)
class Measured:
    """One kind of channel, round by round.

    Attributes:
        frames_per_s: lossless.
        latency_ms: of each frame, live.
        cpu_ms: of sending and receiving a frame.
    """

    frames_per_s: list[float]
    latency_ms: list[np.ndarray]
    cpu_ms: list[float]

    def add_round(
        self,
        model: str,
        load: Load,
        protect: Callable[[Channel], Channel],
        frames: int,
        rate_hz: float,
    ) -> None:
        """Load two nodes, one after the other, and the channel alone."""
        self.cpu_ms.append(_channel_cpu_ms(load, protect, 3 * frames))
        with running_node(model, "lossless", 1, protect=protect) as chain:
            chain.throughput(load, frames // 4)
            self.frames_per_s.append(chain.throughput(load, frames))
        with running_node(model, "live", 1, protect=protect) as chain:
            chain.paced(load, 20, rate_hz)
            self.latency_ms.append(chain.paced(load, frames, rate_hz)[0])

    @property
    def all_ms(self) -> np.ndarray:
        """Latency of all frames."""
        return np.concatenate(self.latency_ms)


@app.command()
def bench_curve(
    *,
    model: Annotated[str, typer.Option(help="Shipped model or folder.")] = EngineSettings().model,
    candidates: Annotated[int, typer.Option(min=1, help="Candidates a frame.")] = 20,
    frames: Annotated[int, typer.Option(min=20, help="Frames timed in each round.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each, in turn.")] = 3,
    rate: Annotated[float, typer.Option(min=0.1, help="Frames a second for the latency.")] = 20.0,
) -> None:
    """Measure frames/s (lossless) and latency (live) with CURVE off and on, in turn."""
    console = Console(highlight=False)
    console.print(describe(), soft_wrap=True)
    load = make_load(candidates)
    with tempfile.TemporaryDirectory() as folder:
        cases = _cases(Protection(Path(folder)))
        measured = {name: Measured([], [], []) for name in cases}
        for _ in range(rounds):
            for name, protect in cases.items():
                measured[name].add_round(model, load, protect, frames, rate)
    _print(console, measured)


def _print(console: Console, measured: dict[str, Measured]) -> None:
    table = Table(
        "", "frames/s, each round", "median", "p50 ms", "p90", "p99", "max", "CPU ms", box=None
    )
    for name, each in measured.items():
        table.add_row(
            name,
            " ".join(f"{speed:.1f}" for speed in each.frames_per_s),
            f"{np.median(each.frames_per_s):.1f}",
            *(f"{value:.2f}" for value in np.percentile(each.all_ms, PERCENTILES)),
            f"{np.median(each.cpu_ms):.2f}",
        )
    console.print(table)
    plain, curve = (measured[name] for name in ("plain", "CURVE"))
    speed = np.median(curve.frames_per_s) / np.median(plain.frames_per_s)
    before, after = (float(np.median(each.all_ms)) for each in (plain, curve))
    console.print(
        f"CURVE costs {100 * (1 - speed):.1f} % of the frames/s and "
        f"{100 * (after / before - 1):.1f} % of the median latency "
        f"({after - before:+.2f} ms); load average {os.getloadavg()[0]:.1f}; "
        "CPU ms: of both ends of the frames' channel, a frame",
        soft_wrap=True,
    )


if __name__ == "__main__":
    run(app)
