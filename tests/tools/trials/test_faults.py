"""A fault's row: the counts of its time alone, over all lives of the node."""

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from dscsnet.tools.trials import faults as module
from dscsnet.tools.trials.chain import Setting
from dscsnet.tools.trials.faults import CALM, Deed, Fault, commit
from dscsnet.tools.trials.listener import Life


def life(
    received: int, published: int, seen: int, lost: int = 0, gaps: int = 0, **drops: int
) -> Life:
    last = {"received": received, "published": published, "drops": drops, "lost_upstream": lost}
    result = Life(last=last, gaps=gaps)
    result.statuses["ok"] = seen
    return result


class Played:
    """In place of a chain: the lives that the listener saw."""

    made: ClassVar[list[Setting]] = []

    def __init__(self, folder: Any, setting: Setting) -> None:
        assert folder.is_dir()
        self.made.append(setting)
        self.did: list[str] = []
        self.listener = SimpleNamespace(lives=[life(10, 10, 10, window=1)], faults=["before"])
        self.node = SimpleNamespace(memory_mib=lambda: 100.0 + len(self.did))
        self.await_heartbeats = lambda number: self.did.append(f"{number} heartbeats")
        self.await_rest = lambda: self.did.append("rest")
        self.terminate = lambda part: self.did.append(f"end {part}")

    def stopped(self, part: str) -> nullcontext[None]:
        self.did.append(f"stop {part}")
        return nullcontext()

    def __enter__(self) -> "Played":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.did[-2:] == ["end camera", "end node"]


@pytest.fixture(name="made")
def _made(monkeypatch: pytest.MonkeyPatch) -> list[Setting]:
    monkeypatch.setattr(Played, "made", [])
    monkeypatch.setattr(module, "Chain", Played)
    return Played.made


def fault(act: Callable[[Any], None], setting: Setting = CALM, name: str = "f") -> Fault:
    def acts(chain: Any, seconds: float) -> Deed:
        act(chain)
        return Deed(f"for {seconds:g} s", 0.5)

    return Fault(name, name, acts, setting)


@pytest.mark.usefixtures("made")
def test_the_counts_are_those_of_its_time() -> None:
    def act(chain: Any) -> None:
        chain.listener.lives = [life(25, 25, 25, lost=3, gaps=3, window=1, timeout=4)]
        chain.listener.faults.append("broken")

    (outcome,) = commit([fault(act)], 7.0)
    assert outcome.deed == Deed("for 7 s", 0.5)
    assert (outcome.received, outcome.published, outcome.lost_upstream) == (15, 15, 3)
    assert outcome.dropped == {"timeout": 4}
    assert (outcome.silent, outcome.broken) == (0, ["broken"])
    # Before: at rest. After: two heartbeats, the camera stopped, at rest.
    assert outcome.memory_mib == (102.0, 105.0)


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("after", "silent"),
    [
        (life(25, 22, 22), 3),  # received, not published
        (life(25, 25, 21), 4),  # published, not seen
        (life(25, 25, 27), 2),  # seen more often than published
        (life(25, 25, 25, lost=1, gaps=6), 5),  # ids that the node did not miss
        (life(25, 25, 25, lost=6, gaps=1), 5),  # that it missed and that came
        (life(25, 23, 22, lost=1, gaps=3), 4),
    ],
)
def test_what_any_count_leaves_open_is_lost_silently(after: Life, silent: int) -> None:
    def act(chain: Any) -> None:
        chain.listener.lives = [after]

    (outcome,) = commit([fault(act)], 1.0)
    assert outcome.silent == silent


@pytest.mark.usefixtures("made")
def test_of_a_life_that_was_cut_short_what_was_seen_counts() -> None:
    def act(chain: Any) -> None:
        cut_short = life(11, 11, 13, lost=2, gaps=5, window=1)
        chain.listener.lives = [cut_short, life(6, 6, 6, timeout=2)]

    (outcome,) = commit([fault(act)], 1.0)
    assert (outcome.received, outcome.published, outcome.silent) == (9, 9, 0)
    assert outcome.lost_upstream == 5
    assert outcome.dropped == {"timeout": 2}


def test_faults_of_one_setting_share_a_chain(made: list[Setting]) -> None:
    one, other = CALM, Setting(candidates=9)
    order: list[str] = []
    wanted = (("a", one), ("b", other), ("c", one), ("d", other))
    faults = [fault(lambda chain, n=name: order.append(n), s, name) for name, s in wanted]
    assert [outcome.fault.name for outcome in commit(faults, 1.0)] == ["a", "c", "b", "d"]
    assert order == ["a", "c", "b", "d"]
    assert made == [one, other]
