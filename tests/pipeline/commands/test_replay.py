"""What `dscsnet replay` refuses, chooses and says, by itself."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer

from dscsnet.pipeline.commands import replay as module


@pytest.mark.parametrize(
    ("sources", "start", "stop", "recorded", "words"),
    [
        (["a"], None, None, False, None),
        (["a", "b"], None, None, False, "several sources"),
        (["a"], 0.0, None, False, "--start-time"),
        (["a"], None, 0.0, False, "--stop-time"),
        (["a"], None, None, True, "--detections"),
    ],
)
def test_what_is_for_recordings_only(
    sources: list[str], start: float | None, stop: float | None, recorded: bool, words: str | None
) -> None:
    if words is None:
        module._check_for_frames(sources, start, stop, recorded)
        return
    with pytest.raises(typer.BadParameter, match=words):
        module._check_for_frames(sources, start, stop, recorded)


@pytest.mark.parametrize(
    ("others", "frames", "repeats", "words"),
    [
        ([], False, False, None),
        (["b.png"], False, False, r"do not mix: b\.png"),
        ([], True, False, "--saturation"),
        ([], False, True, "--exact excludes --loop"),
    ],
)
def test_what_is_not_for_recordings(
    monkeypatch: pytest.MonkeyPatch,
    others: list[str],
    frames: bool,
    repeats: bool,
    words: str | None,
) -> None:
    monkeypatch.setattr(module, "is_recording", lambda source: source.endswith(".mcap"))
    sources = ["a.mcap", *others, "c.mcap"]
    if words is None:
        module._check_for_recordings(sources, frames, repeats)
        return
    with pytest.raises(typer.BadParameter, match=words):
        module._check_for_recordings(sources, frames, repeats)


@pytest.mark.parametrize(
    ("peers", "wait_s", "said"),
    [
        (0, 5.0, []),
        (2, 0.0, []),
        (1, 5.0, ["waiting up to 5 s for 1 subscriber (a node's"]),
        (2, 2.5, ["waiting up to 2.5 s for 2 subscribers (a node's"]),
    ],
)
def test_whom_it_waits_for(peers: int, wait_s: float, said: list[str]) -> None:
    told: list[str] = []
    module._say_whom_for(told.append, peers, wait_s)
    assert len(told) == len(said)
    assert all(line.startswith(start) for line, start in zip(told, said, strict=True))


def source(rate_hz: float | None = None, times: Any = None) -> Any:
    return SimpleNamespace(
        rate_hz=rate_hz,
        timestamps_ns=times,
        shape=(512, 640),
        dtype=np.dtype(np.uint16),
        description="9 frames",
    )


@pytest.mark.parametrize(
    ("given", "rate", "recorded", "chosen"),
    [
        (source(), 12.5, None, 12.5),
        (source(30.0), None, None, "recorded"),
        (source(None, np.arange(3)), None, None, "recorded"),
        (source(), None, None, module.DEFAULT_RATE_HZ),
        (source(), None, True, "recorded"),
        (source(30.0), None, False, None),
    ],
)
def test_the_rate_is_that_of_the_source_where_it_knows_one(
    given: Any, rate: float | None, recorded: bool | None, chosen: object
) -> None:
    assert module._chosen_rate(given, rate, recorded) == chosen


@pytest.mark.parametrize(
    ("rate_hz", "rate", "pace"),
    [
        (None, None, "unpaced, lossless"),
        (30.0, "recorded", "recorded, 60 Hz"),
        (None, "recorded", "recorded"),
        (30.0, 12.5, "12.5 Hz"),
    ],
)
def test_a_source_is_described_with_its_pace(rate_hz: float | None, rate: Any, pace: str) -> None:
    assert module._describe(source(rate_hz), rate, 2.0) == f"9 frames: 640x512 uint16, {pace}"
