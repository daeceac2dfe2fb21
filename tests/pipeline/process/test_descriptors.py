"""The limit of open files is raised as far as may be, and too low a one is refused."""

import resource

import pytest

from dscsnet.pipeline.errors import ChannelError
from dscsnet.pipeline.process.descriptors import allow_descriptors

INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "asked"),
    [
        (1024, 4096, (4096, 4096)),
        (1024, 1_000_000, (65_536, 1_000_000)),
        (1024, INFINITE, (65_536, INFINITE)),
        (4096, 4096, None),
        (65_536, INFINITE, None),
        (100_000, INFINITE, None),
        (INFINITE, INFINITE, None),
        (32, 64, (64, 64)),
        (64, 64, None),
    ],
)
def test_the_limit_is_raised_and_never_lowered(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, asked: tuple[int, int] | None
) -> None:
    given: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: given.append((which, limits)))
    allow_descriptors()
    assert given == ([] if asked is None else [(resource.RLIMIT_NOFILE, asked)])


@pytest.mark.parametrize("soft", [1, 63])
def test_a_limit_too_low_for_a_node_is_refused(monkeypatch: pytest.MonkeyPatch, soft: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, 63))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: None)
    with pytest.raises(ChannelError, match="only 63 files and sockets"):
        allow_descriptors()
