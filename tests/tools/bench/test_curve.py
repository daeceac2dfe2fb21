"""What the CURVE benchmark tells of figures that are known."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.config import EngineSettings
from dscsnet.pipeline.messages import Frame
from dscsnet.pipeline.sockets import Channel
from dscsnet.tools.bench import curve
from dscsnet.tools.bench.curve import Measured, Protection
from dscsnet.tools.bench.node import make_load


def test_every_end_of_a_channel_is_encrypted(tmp_path: Path) -> None:
    protection = Protection(tmp_path)
    bound, connected = (
        protection(Channel("tcp://127.0.0.1:9000", bind=bind, high_water_mark=7))
        for bind in (True, False)
    )
    assert bound.curve is not None
    assert connected.curve is not None
    assert (bound.endpoint, bound.bind, bound.high_water_mark) == ("tcp://127.0.0.1:9000", True, 7)
    assert bound.curve.key == connected.curve.key
    assert (bound.curve.server, connected.curve.allow) == (None, None)
    assert Path(str(connected.curve.server)).is_file()
    # One key is allowed everything.
    allowed = [path for path in Path(str(bound.curve.allow)).rglob("*") if path.is_file()]
    assert len({path.read_text() for path in allowed}) == 1
    cases = curve._cases(protection)
    assert list(cases) == ["plain", "CURVE"]
    assert cases["plain"](connected) is connected
    assert cases["CURVE"] is protection


def test_costs_are_told_from_medians() -> None:
    latency = [np.arange(0.0, 51.0), np.arange(51.0, 101.0)]
    measured = {
        "plain": Measured([100.0, 80.0, 120.0], latency, [1.0, 3.0, 2.5]),
        "CURVE": Measured([90.0, 200.0, 10.0], [1.5 * each for each in latency], [4.0]),
    }
    assert measured["plain"].all_ms.tolist() == list(range(101))
    file = io.StringIO()
    curve._print(Console(file=file, width=300), measured)
    plain, curved, words = (" ".join(line.split()) for line in file.getvalue().splitlines()[-3:])
    assert plain == "plain 100.0 80.0 120.0 100.0 50.00 90.00 99.00 100.00 2.50"
    assert curved == "CURVE 90.0 200.0 10.0 90.0 75.00 135.00 148.50 150.00 4.00"
    assert words.startswith(
        "CURVE costs 10.0 % of the frames/s and 50.0 % of the median latency (+25.00 ms); "
    )


class OneChannel:
    """In the place of both ends; counts what is sent."""

    endpoint = "tcp://127.0.0.1:1"

    def __init__(self, *_: object, **__: object) -> None: ...
    def __enter__(self) -> "OneChannel":
        return self

    def __exit__(self, *_: object) -> None: ...
    def wait_for_peers(self, _number: int, _seconds: float) -> bool:
        return True

    def send(self, frame: Frame) -> None:
        SENT.append(frame.frame_id)

    def receive(self, _timeout_ms: int) -> int | None:
        return SENT[-1] if len(SENT) < LOST_AFTER else None


SENT: list[int] = []
LOST_AFTER = 1000


def test_a_tenth_of_the_frames_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    SENT.clear()
    monkeypatch.setattr(curve, "Receiver", OneChannel)
    monkeypatch.setattr(curve, "Sender", OneChannel)
    # The clock stands at the number of frames sent, in seconds.
    monkeypatch.setattr(curve.time, "process_time", lambda: float(len(SENT)))
    load = make_load(1, shape=(60, 60))
    seen = []
    spent = curve._channel_cpu_ms(load, lambda channel: seen.append(channel) or channel, 20)
    assert [0, 0, *range(20)] == SENT
    assert spent == 1e3
    assert [(each.bind, each.kind) for each in seen] == [(True, "pushpull"), (False, "pushpull")]
    SENT.clear()
    monkeypatch.setitem(globals(), "LOST_AFTER", 3)
    with pytest.raises(DscsnetError, match="did not come"):
        curve._channel_cpu_ms(load, lambda channel: channel, 20)


class PlayedChain:
    """A node that is as fast as its number says."""

    def __init__(self, told: list[tuple[object, ...]], mode: str) -> None:
        self.told, self.mode = told, mode

    def __enter__(self) -> "PlayedChain":
        return self

    def __exit__(self, *_: object) -> None: ...
    def throughput(self, _load: object, frames: int) -> float:
        self.told.append((self.mode, frames))
        return float(frames)

    def paced(self, _load: object, frames: int, rate_hz: float) -> tuple[np.ndarray, float]:
        self.told.append((self.mode, frames, rate_hz))
        return np.full(frames, 2.0), 0.5


def test_a_round_warms_up_before_it_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[object, ...]] = []
    monkeypatch.setattr(curve, "_channel_cpu_ms", lambda _load, _protect, frames: float(frames))
    monkeypatch.setattr(
        curve, "running_node", lambda _m, mode, _n, protect: PlayedChain(told, mode)
    )
    measured = Measured([], [], [])
    measured.add_round("model", make_load(1, shape=(60, 60)), lambda channel: channel, 40, 20.0)
    assert told == [
        *(("lossless", 10), ("lossless", 40)),
        *(("live", 20, 20.0), ("live", 40, 20.0)),
    ]
    assert measured.cpu_ms == [120.0]
    assert measured.frames_per_s == [40.0]
    assert measured.all_ms.tolist() == [2.0] * 40


def test_plain_and_encrypted_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds: list[tuple[object, ...]] = []
    shown: list[object] = []

    def add_round(self: Measured, *given: object) -> None:
        rounds.append((*given, self))

    monkeypatch.setattr(Measured, "add_round", add_round)
    monkeypatch.setattr(curve, "make_load", lambda candidates: f"load of {candidates}")
    monkeypatch.setattr(curve, "_print", lambda console, measured: shown.append(measured))
    options = ["--model", "psf-fit", "--candidates", "7", "--frames", "30", "--rounds", "2"]
    result = CliRunner().invoke(curve.app, [*options, "--rate", "12.5"])
    assert result.exit_code == 0, result.output
    assert "Python" in result.output
    (measured,) = shown
    assert isinstance(measured, dict)
    assert list(measured) == ["plain", "CURVE"]
    assert [each[-1] for each in rounds] == [*measured.values()] * 2
    assert measured["plain"] is not measured["CURVE"]
    encrypted = [isinstance(protect, Protection) for _, _, protect, *_ in rounds]
    assert encrypted == [False, True, False, True]
    for model, load, _, frames, rate, _ in rounds:
        assert (model, load, frames, rate) == ("psf-fit", "load of 7", 30, 12.5)
    rounds.clear()
    assert CliRunner().invoke(curve.app, []).exit_code == 0
    assert len(rounds) == 6
    model, load, _, frames, rate, _ = rounds[0]
    assert (model, load, frames, rate) == (EngineSettings().model, "load of 20", 200, 20.0)
