"""A node at work for hours: does anything grow?

Camera and detector send at a steady rate; now and then an epoch ends, a list of candidates is empty
or does not come; a further subscriber comes and goes; the metrics page is read. At every sample the
node's memory, descriptors and threads, its books and its latency are noted.
"""

import csv
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.config import Join, Overload
from dscsnet.tools.trials.chain import Chain, Setting

SAMPLES = "soak.csv"
SHAPE = (512, 640)
#: The capacity is measured for so long.
MEASURE_S = 8.0
LIFE_FRAMES, EMPTY_EVERY, MISSING_EVERY = 1000, 50, 97
#: The further subscriber is there in every second span of this many samples.
VISIT_SAMPLES = 6


@dataclass(frozen=True)
class Sample:
    """The node at one moment; the latency and the greatest age are those since the sample before.

    Attributes:
        seconds: since the first sample.
        cpu_s: processor time used since the node started.
        dropped: answers that are neither ok nor empty.
        oldest_ms: greatest age of an unpublished frame in any heartbeat.
    """

    seconds: float
    memory_mib: float
    descriptors: int
    threads: int
    cpu_s: float
    received: int
    published: int
    pending: int
    dropped: int
    lost_upstream: int
    unsent: int
    oldest_ms: float
    latency_p50_ms: float
    latency_max_ms: float


@dataclass(frozen=True)
class Soak:
    """A whole soak.

    Attributes:
        rate_hz, candidates: frames a second, and candidates a frame.
        silent: frames lost without a reason; 0 in a node that keeps its promise.
        faults: what broke the node's rules, in words.
    """

    rate_hz: float
    candidates: int
    samples: list[Sample]
    silent: int
    faults: list[str]


def measure_capacity(folder: Path, model: str, candidates: int) -> float:
    """Frames a second that a node manages here, on one thread, without loss."""
    setting = Setting(
        mode="lossless", shape=SHAPE, candidates=candidates, rate_hz=None, model=model
    )
    with Chain(folder, setting) as chain:
        started = time.monotonic_ns()
        before = sum(chain.listener.life.statuses.values())
        time.sleep(MEASURE_S)
        frames = sum(chain.listener.life.statuses.values()) - before
        return frames / (time.monotonic_ns() - started) * 1e9


def soak(
    folder: Path, *, model: str, candidates: int, rate_hz: float, minutes: float, every_s: float
) -> Iterator[Sample | Soak]:
    """Run, give each sample as it is taken, and the whole at the end.

    Samples are appended to `soak.csv` in the folder at once, so that a run that is cut short leaves
    what it had.
    """
    setting = Setting(
        shape=SHAPE,
        candidates=candidates,
        rate_hz=rate_hz,
        life_frames=LIFE_FRAMES,
        empty_every=EMPTY_EVERY,
        missing_every=MISSING_EVERY,
        model=model,
        # A busy machine is no fault of the node's; what is lost all the same is counted.
        node={"join": Join(timeout_ms=200), "overload": Overload(max_age_ms=2000)},
    )
    samples: list[Sample] = []
    with Chain(folder, setting) as chain, (folder / SAMPLES).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow([field.name for field in fields(Sample)])
        chain.await_heartbeats(2)
        started = time.monotonic()
        while (seconds := time.monotonic() - started) <= minutes * 60:
            samples.append(_sample(chain, seconds, every_s))
            table.writerow(astuple(samples[-1]))
            file.flush()
            yield samples[-1]
            _visit(chain, len(samples))
            time.sleep(max(0.0, started + len(samples) * every_s - time.monotonic()))
        chain.terminate("camera")
        last = chain.await_rest()
        chain.terminate("node")
        seen = chain.listener.life
    silent = abs(last["received"] - sum(seen.statuses.values()))
    silent += abs(seen.gaps - last["lost_upstream"])
    yield Soak(rate_hz, candidates, samples, silent, chain.listener.faults)


def _visit(chain: Chain, number: int) -> None:
    """A subscriber that comes and goes."""
    span, within = divmod(number, VISIT_SAMPLES)
    if within == 0:
        if span % 2:
            chain.start_subscriber()
        elif span:
            chain.kill("subscriber")


def _sample(chain: Chain, seconds: float, span_s: float) -> Sample:
    since = time.monotonic_ns() - int(span_s * 1e9)
    with urllib.request.urlopen(
        f"http://127.0.0.1:{chain.config.http.port}/metrics", timeout=30
    ) as page:
        page.read()
    arrivals = [a.total_ms for a in list(chain.listener.arrivals) if a.time_ns >= since]
    beats = [body for at, body in list(chain.listener.beats) if at >= since]
    if not (arrivals and beats):
        raise DscsnetError(f"nothing came from the node for {span_s:g} s; see {chain.log('node')}")
    last, node = beats[-1], chain.node
    answered = last["by_status"]
    return Sample(
        seconds=round(seconds, 2),
        memory_mib=round(node.memory_mib(), 3),
        descriptors=node.descriptors(),
        threads=node.threads(),
        cpu_s=node.cpu_s(),
        received=last["received"],
        published=last["published"],
        pending=last["pending"],
        dropped=sum(n for status, n in answered.items() if status not in ("ok", "empty")),
        lost_upstream=last["lost_upstream"],
        unsent=last["unsent"],
        oldest_ms=round(max(body["queue"]["oldest_ms"] for body in beats), 3),
        latency_p50_ms=round(float(np.median(arrivals)), 3),
        latency_max_ms=round(max(arrivals), 3),
    )
