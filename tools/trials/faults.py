"""Faults, one after another, against a running node: what it does, whether its books balance."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dscsnet.tools.trials.chain import Chain, Setting
from dscsnet.tools.trials.listener import Life


class Deed(NamedTuple):
    """What happened: in words, and the time from the end of the fault to the first good answer."""

    did: str
    recovery_s: float


CALM = Setting()
Act = Callable[[Chain, float], Deed]


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    Args:
        act: commits the fault for so many seconds, and returns when frames flow again.
    """

    name: str
    title: str
    act: Act
    setting: Setting = CALM


@dataclass(frozen=True)
class Outcome:
    """What came of a fault; the counts are those of its time alone.

    Attributes:
        dropped: answers without targets, by reason.
        lost_upstream: frame ids that never reached the node.
        silent: frames that the node had and that were not answered, or ids that it did not miss.
        memory_mib: before and after.
        broken: what broke the node's rules, in words.
    """

    fault: Fault
    deed: Deed
    received: int
    published: int
    dropped: dict[str, int]
    lost_upstream: int
    silent: int
    memory_mib: tuple[float, float]
    broken: list[str]


class Books(NamedTuple):
    """Counts of all lives of the node, as it told them and as they were seen."""

    received: int
    published: int
    seen: int
    drops: Counter[str]
    lost_upstream: int
    gaps: int


def commit(faults: Iterable[Fault], seconds: float) -> Iterator[Outcome]:
    """Commit faults, each for so many seconds; those of one setting share a chain.

    Raises:
        DscsnetError: the node failed, or frames did not come back.
    """
    waiting = list(faults)
    while waiting:
        setting = waiting[0].setting
        together = [fault for fault in waiting if fault.setting == setting]
        waiting = [fault for fault in waiting if fault.setting != setting]
        with tempfile.TemporaryDirectory() as folder, Chain(Path(folder), setting) as chain:
            books = rest(chain)
            for fault in together:
                outcome, books = _commit(chain, fault, seconds, books)
                yield outcome
            chain.terminate("camera")
            chain.terminate("node")


def _commit(chain: Chain, fault: Fault, seconds: float, before: Books) -> tuple[Outcome, Books]:
    memory, broken = chain.node.memory_mib(), len(chain.listener.faults)
    deed = fault.act(chain, seconds)
    # A gap is known once a later frame comes: what the camera lost is to stand in this row.
    chain.await_heartbeats(2)
    after = rest(chain)
    published, lost = after.published - before.published, after.lost_upstream - before.lost_upstream
    received, seen = after.received - before.received, after.seen - before.seen
    outcome = Outcome(
        fault=fault,
        deed=deed,
        received=received,
        published=published,
        dropped=dict(after.drops - before.drops),
        lost_upstream=lost,
        silent=max(abs(received - published), abs(published - seen))
        + abs(after.gaps - before.gaps - lost),
        memory_mib=(memory, chain.node.memory_mib()),
        broken=chain.listener.faults[broken:],
    )
    return outcome, after


def rest(chain: Chain) -> Books:
    """The books at a moment at which the camera pauses and the node has nothing to do."""
    with chain.stopped("camera"):
        chain.await_rest()
        return _read(chain.listener.lives)


def _read(lives: list[Life]) -> Books:
    """Of a life that was cut short what was seen counts: its last second is in no heartbeat."""
    received = published = seen = lost = gaps = 0
    drops: Counter[str] = Counter()
    for number, life in enumerate(lives, 1):
        answered = sum(life.statuses.values())
        cut_short = number < len(lives)
        seen += answered
        received += answered if cut_short else life.last["received"]
        published += answered if cut_short else life.last["published"]
        lost += life.gaps if cut_short else life.last["lost_upstream"]
        gaps += life.gaps
        drops.update(life.last["drops"])
    return Books(received, published, seen, drops, lost, gaps)
