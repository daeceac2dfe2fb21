"""What `listen` shows, counts and exits on; only the last tests open sockets."""

import io
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pytest
import typer
import zmq
from rich.console import Console
from typer.testing import CliRunner

from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.commands import listen as listen_module
from dscsnet.pipeline.commands.listen import listen
from dscsnet.pipeline.errors import ChannelError, MessageError
from dscsnet.pipeline.listen import LiveTable, Statistics, json_line, run_listen, text_display
from dscsnet.pipeline.listen import live_table as table_module
from dscsnet.pipeline.listen.display import row
from dscsnet.pipeline.listen.statistics import RATE_WINDOW_S
from dscsnet.pipeline.messages import (
    End,
    EngineInfo,
    Message,
    Spots,
    Status,
    Targets,
    TargetTable,
    Timing,
)
from dscsnet.pipeline.sockets import Channel, Sender

REPOSITORY = Path(__file__).parents[3]
EPOCH = bytes(range(16))
ENGINE = EngineInfo("onnxruntime", "dscsnet-c3", "ab" * 32, 0.5)
NOT_A_NUMBER = float("nan")


def make_targets(
    frame_id: int = 0,
    *,
    stream: str = "cam0",
    status: str = "ok",
    reason: str = "",
    total_ms: float = 2.5,
    positions: Sequence[tuple[float, float, float]] = ((10.25, 20.5, 1234.5),),
) -> Targets:
    number = len(positions)
    x, y, intensity = (
        (list(column) for column in zip(*positions, strict=True)) if number else ([],) * 3
    )
    return Targets(
        stream=stream,
        epoch=EPOCH,
        frame_id=frame_id,
        timestamp_ns=1_700_000_000_000_000_000,
        status=status,  # type: ignore[arg-type]
        reason=reason,
        spots=Spots([7], [10.0], [20.0], [number], [100.0], [3.0], [NOT_A_NUMBER], [5]),
        targets=TargetTable(
            [0] * number,
            x,
            y,
            intensity,
            [0.9] * number,
            [NOT_A_NUMBER] * number,
            [0.1] * number,
            [float("inf")] * number,
        ),
        engine=ENGINE,
        timing=Timing(1, 2, 3, 4, round(total_ms * 1e6)),
    )


def make_end(frame_id: int = 9, stream: str = "cam0") -> End:
    return End(stream, EPOCH, frame_id, 1)


def make_status() -> Status:
    return Status(
        node="node0", frame_id=3, timestamp_ns=1, epoch=EPOCH, body={"received": {"cam0": 12}}
    )


class Script:
    """Gives out messages one by one, then nothing; time passes only while nothing comes."""

    def __init__(self, *messages: Message | MessageError, stop: threading.Event | None = None):
        self.left = list(messages)
        self.now = 100.0
        self.stop = stop

    def __call__(self, timeout_ms: int) -> Message | None:
        if self.left:
            message = self.left.pop(0)
            if isinstance(message, MessageError):
                raise message
            return message
        self.now += timeout_ms / 1000
        if self.stop is not None:
            self.stop.set()
        return None

    def clock(self) -> float:
        return self.now


class Collected:
    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.ticks = 0

    def show(self, message: Message) -> None:
        self.messages.append(message)

    def tick(self) -> None:
        self.ticks += 1


def test_json_line_holds_every_column_and_parses_back() -> None:
    line = json_line(make_targets(12, positions=[(1.5, 2.5, 300.0), (4.0, 5.0, 600.0)]))
    assert "\n" not in line
    parsed = json.loads(line, parse_constant=pytest.fail)  # NaN and Infinity are no JSON
    assert parsed == {
        "schema": "targets/1",
        "stream": "cam0",
        "epoch": "000102030405060708090a0b0c0d0e0f",
        "frame_id": 12,
        "timestamp_ns": 1_700_000_000_000_000_000,
        "status": "ok",
        "reason": "",
        "spots": {
            "id": [7],
            "x": [10.0],
            "y": [20.0],
            "count": [2],
            "background": [100.0],
            "noise": [3.0],
            "chi2": [None],
            "flags": [5],
        },
        "targets": {
            "spot": [0, 0],
            "x": [1.5, 4.0],
            "y": [2.5, 5.0],
            "intensity": [300.0, 600.0],
            "score": [0.9, 0.9],
            "sigma_x": [None, None],
            "sigma_y": [0.1, 0.1],
            "sigma_intensity": [None, None],
        },
        "engine": {
            "runtime": "onnxruntime",
            "model": "dscsnet-c3",
            "sha256": "ab" * 32,
            "psf_sigma": 0.5,
        },
        "timing": {"join": 1, "queue": 2, "infer": 3, "readout": 4, "total": 2_500_000},
    }


def test_end_and_status_have_json_lines_too() -> None:
    end = json.loads(json_line(make_end()))
    assert (end["schema"], end["frame_id"], end["epoch"]) == ("end/1", 9, EPOCH.hex())
    status = json.loads(json_line(make_status()))
    assert status["schema"] == "status/1"
    assert status["body"] == {"received": {"cam0": 12}}


def test_rows_tell_what_matters() -> None:
    many = [(float(k), 2.0, 1e5) for k in range(5)]
    assert row(make_targets(3, positions=many)) == (
        *("cam0", "3", "ok", "1", "5", "2.50"),
        "0.00, 2.00: 100000.0  1.00, 2.00: 100000.0  2.00, 2.00: 100000.0  +2",
    )
    dropped = make_targets(4, status="dropped", reason="too\nold\x1b[2J", positions=[])
    assert row(dropped)[2:] == ("dropped", "1", "0", "2.50", "too old [2J")
    assert row(make_end())[:3] == ("cam0", "9", "end")
    assert row(make_status())[-1] == '{"received":{"cam0":12}}'


def test_plain_text_is_aligned_under_its_header() -> None:
    out = io.StringIO()
    display = text_display(out)
    display.show(make_targets(3))
    display.tick()
    header, line = out.getvalue().splitlines()
    assert header.index("x, y: intensity") == line.index("10.25, 20.50: 1234.5")
    assert header.index("status") == line.index("ok")


def test_statistics_count_and_measure() -> None:
    statistics = Statistics()
    assert statistics.latency_ms() is None
    assert statistics.rate_hz(0.0) == 0.0
    for number in range(1, 101):
        statistics.add(make_targets(number, total_ms=number), now_s=number * 0.04)
    statistics.add(make_targets(101, status="dropped", total_ms=50.5, positions=[]), now_s=4.04)
    assert (statistics.frames, statistics.targets) == (101, 100)
    assert statistics.statuses == {"ok": 100, "dropped": 1}
    assert statistics.rate_hz(4.04) == pytest.approx(25.0)
    # The values 1..100 and 50.5 in order; linear interpolation between neighbours.
    assert statistics.latency_ms() == pytest.approx((50.5, 95.0, 99.0))
    statistics.rejected["nesting"] += 2
    assert statistics.summary(4.04) == (
        "101 frames (ok 100, dropped 1) | 100 targets | 25.0 Hz | "
        "total p50 50.50 ms, p95 95.00 ms, p99 99.00 ms | 2 malformed messages (nesting 2)"
    )
    assert "Hz" not in statistics.summary()
    assert statistics.rate_hz(4.04 + RATE_WINDOW_S + 1) == 0.0
    assert Statistics().summary() == "0 frames | 0 targets"


def test_windows_of_the_statistics_are_bounded() -> None:
    """The rate of five seconds, the latency of a thousand frames."""
    statistics = Statistics()
    statistics.add(make_targets(0, total_ms=5000.0), now_s=10.0)
    for number in range(999):
        statistics.add(make_targets(number, total_ms=1.0), now_s=12.0)
    latency = statistics.latency_ms()
    assert latency is not None
    assert np.percentile([5000.0] + [1.0] * 999, 99.95) > latency[2]
    assert statistics.rate_hz(15.0) == pytest.approx(999 / 5)
    assert statistics.rate_hz(15.001) == pytest.approx(998 / 3.001)
    assert max(statistics._total_ms) == 5000.0
    statistics.add(make_targets(1, total_ms=1.0), now_s=15.001)
    assert max(statistics._total_ms) == 1.0
    assert statistics.rate_hz(15.001) == pytest.approx(999 / 3.001)


def test_frames_of_one_moment_have_no_rate() -> None:
    statistics = Statistics()
    for number in range(2):
        assert statistics.rate_hz(3.0) == 0.0
        statistics.add(make_targets(number), now_s=3.0)
    assert statistics.rate_hz(3.0) == 0.0
    assert statistics.rate_hz(3.5) == 2.0


def test_a_row_shows_three_targets_and_how_many_more() -> None:
    places = [(float(n), n + 0.5, 10.0 * n) for n in range(5)]
    shown = {number: row(make_targets(1, positions=places[:number]))[-1] for number in (2, 3, 4, 5)}
    assert shown[2] == "0.00, 0.50: 0.0  1.00, 1.50: 10.0"
    assert shown[3] == shown[2] + "  2.00, 2.50: 20.0"
    assert shown[4] == shown[3] + "  +1"
    assert shown[5] == shown[3] + "  +2"


def test_silence_is_an_error_at_the_timeout_and_not_before() -> None:
    now = [100.0]

    def nothing(_: int) -> None:
        now[0] += 0.25

    with pytest.raises(ChannelError, match=r"no message for 0\.5 s"):
        run_listen(
            nothing, Collected(), Statistics(), source="x", timeout_s=0.5, clock=lambda: now[0]
        )
    assert now == [100.5]


@pytest.mark.parametrize(
    ("options", "kinds", "streams"),
    [
        ([], ("targets", "end"), ["a"]),
        (["--status"], ("targets", "end", "status"), ()),
        (["--kind", "pushpull"], ("targets", "end", "status"), ()),
    ],
)
def test_command_reads_what_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, options: list[str], kinds: tuple, streams: Sequence[str]
) -> None:
    subscribed: dict[str, Any] = {}
    asked: dict[str, Any] = {}

    class Nothing:
        receive = None

        def __init__(self, channel: object, **given: object) -> None:
            subscribed.update(given)

        def __enter__(self) -> "Nothing":
            return self

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(listen_module, "Receiver", Nothing)
    monkeypatch.setattr(listen_module, "run_listen", lambda *_, **given: asked.update(given))
    app = typer.Typer()
    app.command()(listen)
    given = ["--stream", "a", "--format", "jsonl", *options, "--count", "3", "--timeout", "2"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert subscribed == {"kinds": kinds, "streams": streams}
    assert (asked["streams"], asked["heartbeats"]) == (["a"], "--status" in options)
    assert (asked["count"], asked["timeout_s"], asked["exit_on_end"]) == (3, 2.0, False)


def test_the_command_without_options_connects_and_shows_20_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Any] = []

    @contextmanager
    def receiver(channel: Channel, **_: object) -> Iterator[Any]:
        seen.append(channel)
        yield SimpleNamespace(receive=None)

    @contextmanager
    def display(form: str, _: Statistics, rows: int) -> Iterator[None]:
        seen.extend((form, rows))
        yield

    monkeypatch.setattr(listen_module, "Receiver", receiver)
    monkeypatch.setattr(listen_module, "_display", display)
    monkeypatch.setattr(listen_module, "run_listen", lambda *_, **given: seen.append(given))
    assert CliRunner().invoke(application(), []).exit_code == 0
    assert seen[:3] == [Channel("tcp://127.0.0.1:5552", bind=False), "table", 20]
    unset = {"streams": [], "heartbeats": False, "count": None, "exit_on_end": False}
    assert {name: seen[3][name] for name in unset} == unset
    assert seen[3]["timeout_s"] is None


def test_without_being_asked_it_shows_no_heartbeats_and_goes_on_after_an_end() -> None:
    stop = threading.Event()
    script = Script(make_status(), make_end(0), make_targets(1), stop=stop)
    shown = Collected()
    run_listen(script, shown, Statistics(), source="x", stop=stop)
    assert [type(message) for message in shown.messages] == [End, Targets]


def test_the_table_is_drawn_ten_times_a_second_and_once_more_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, drawn = [1000.0], list[float]()
    monkeypatch.setattr(table_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    console = Console(file=io.StringIO(), force_terminal=True, width=120, height=40)
    with LiveTable(console, Statistics(), rows=3) as display:
        monkeypatch.setattr(display._live, "update", lambda *_, **__: drawn.append(now[0]))
        for now[0] in (1000.0, 1000.0625, 1000.125, 1000.1875, 1000.25, 1060.0):
            display.tick()
        assert drawn == [1000.0, 1000.125, 1000.25, 1060.0]
    assert drawn[4:] == [1060.0]


def test_count_ends_after_so_many_frames_of_the_wanted_stream() -> None:
    script = Script(
        make_targets(0),
        make_targets(0, stream="other"),
        make_status(),
        make_end(stream="other"),
        make_targets(1),
        make_targets(2),
    )
    shown, statistics = Collected(), Statistics()
    run_listen(script, shown, statistics, source="x", streams=["cam0"], count=2, exit_on_end=True)
    assert [message.key for message in shown.messages] == [
        ("cam0", EPOCH, 0),
        ("cam0", EPOCH, 1),
    ]
    assert statistics.frames == 2
    assert len(script.left) == 1


def test_heartbeats_come_on_request_whatever_the_stream() -> None:
    script = Script(make_status(), make_targets(0))
    shown = Collected()
    run_listen(script, shown, Statistics(), source="x", streams=["cam0"], heartbeats=True, count=1)
    assert [type(message) for message in shown.messages] == [Status, Targets]


def test_exit_on_end() -> None:
    script = Script(make_targets(0), make_end(0), make_targets(1))
    shown = Collected()
    run_listen(script, shown, Statistics(), source="x", exit_on_end=True)
    assert [type(message) for message in shown.messages] == [Targets, End]


def test_silence_is_an_error_after_the_timeout() -> None:
    script = Script(make_targets(0))
    shown = Collected()
    with pytest.raises(ChannelError, match="tcp://here: no message for 5 s; is the node running"):
        run_listen(
            script, shown, Statistics(), source="tcp://here", timeout_s=5, clock=script.clock
        )
    assert len(shown.messages) == 1
    assert script.now == pytest.approx(105.0, abs=0.11)
    assert shown.ticks >= 50


def test_malformed_messages_are_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()
    errors = [MessageError("nesting", "too deep") for _ in range(5)]
    script = Script(*errors, make_targets(0), stop=stop)
    shown, statistics = Collected(), Statistics()
    run_listen(script, shown, statistics, source="x", stop=stop)
    assert statistics.rejected == {"nesting": 5}
    assert len(shown.messages) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "malformed message (nesting): too deep"
    ]


def test_live_table_keeps_the_last_rows_and_the_totals() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120, height=40)
    statistics = Statistics()
    with LiveTable(console, statistics, rows=3) as display:
        for number in range(10):
            message = make_targets(1000 + number, reason="[/not markup]", positions=[])
            statistics.add(message, number * 0.1)
            display.show(message)
            display.tick()
        table = display.table()
    assert table.row_count == 3
    console.print(table)
    last = out.getvalue().rsplit("stream", 1)[1]
    assert [str(number) in last for number in range(1005, 1010)] == [False] * 2 + [True] * 3
    assert "[/not markup]" in last
    assert "10 frames (ok 10)" in last


def application() -> typer.Typer:
    app = typer.Typer()
    app.command()(listen)
    return app


def free_endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def send_in_background(channel: Channel, messages: Sequence[Message]) -> Callable[[], None]:
    def send() -> None:
        with Sender(channel, lossless=True) as sender:
            if sender.wait_for_peers(1, timeout_s=60):
                for message in messages:
                    sender.send(message, timeout_ms=-1)

    thread = threading.Thread(target=send)
    thread.start()
    return thread.join


@pytest.mark.parametrize("kind", ["pubsub", "pushpull"])
def test_command_writes_json_lines_until_the_end(kind: Literal["pubsub", "pushpull"]) -> None:
    endpoint = free_endpoint()
    messages = [make_targets(number) for number in range(50)]
    channel = Channel(endpoint, bind=True, kind=kind)
    join = send_in_background(channel, [make_status(), *messages, make_end(49)])
    where = ["--endpoint", endpoint, "--kind", kind, "--stream", "cam0"]
    how = ["--format", "jsonl", "--exit-on-end", "--timeout", "60"]
    result = CliRunner().invoke(application(), [*where, *how])
    join()
    assert result.exit_code == 0, result.output
    parsed = [json.loads(line) for line in result.stdout.splitlines()]
    assert [entry["frame_id"] for entry in parsed] == [*range(50), 49]
    assert parsed[-1]["schema"] == "end/1"
    assert "50 frames (ok 50) | 50 targets" in result.stderr
    assert "malformed" not in result.stderr


def test_command_fails_clearly_when_nothing_comes() -> None:
    arguments = ["--endpoint", free_endpoint(), "--timeout", "0.2"]
    result = CliRunner().invoke(application(), arguments)
    assert isinstance(result.exception, DscsnetError)
    assert "no message for 0.2 s" in str(result.exception)


def test_command_refuses_an_endpoint_that_is_none() -> None:
    result = CliRunner().invoke(application(), ["--endpoint", "nowhere"])
    assert result.exit_code == 2
    assert "endpoint: expected" in result.output


PROGRAM = "import typer; from dscsnet.pipeline.commands.listen import listen; typer.run(listen)"


def start_listening(endpoint: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, "--endpoint", endpoint, "--format", "jsonl"]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_with_a_summary(number: signal.Signals) -> None:
    with zmq.Context() as context:
        sender = Sender(Channel("tcp://127.0.0.1:*", bind=True), lossless=True, context=context)
        with sender, start_listening(sender.endpoint) as process:
            assert sender.wait_for_peers(1, timeout_s=60) == 1
            sender.send(make_targets(5), timeout_ms=1000)
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["frame_id"] == 5
            process.send_signal(number)
            _out, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert errors.splitlines() == [
        "1 frames (ok 1) | 1 targets | total p50 2.50 ms, p95 2.50 ms, p99 2.50 ms"
    ]


def test_a_closed_pipe_ends_it_quietly() -> None:
    sender = Sender(Channel("tcp://127.0.0.1:*", bind=True), lossless=True)
    with sender, start_listening(sender.endpoint) as process:
        assert sender.wait_for_peers(1, timeout_s=60) == 1
        sender.send(make_targets(0), timeout_ms=1000)
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        sender.send(make_targets(1), timeout_ms=1000)
        assert process.stderr is not None
        errors = process.stderr.read()
        process.wait(60)
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors
