"""Faults against a real node, in short; and a soak of seconds with what is read out of it."""

import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import dscsnet.tools.trials.listener
from dscsnet.pipeline.join import Ticket
from dscsnet.pipeline.messages import EngineInfo, FrameKey, Targets, TargetsStatus
from dscsnet.pipeline.sockets import Channel
from dscsnet.pipeline.worker import plain_answer
from dscsnet.tools.cli import new_cli
from dscsnet.tools.trials.fault_list import FAULTS
from dscsnet.tools.trials.fault_report import cells, is_sound, report
from dscsnet.tools.trials.faults import CALM, Deed, Fault, Outcome, commit
from dscsnet.tools.trials.listener import Listener
from dscsnet.tools.trials.soak import Sample, Soak, soak
from dscsnet.tools.trials.soak_report import describe_soak, draw_soak, grows, slope

#: All take minutes together; what most do is in the chaos test and in tests of the node, too.
SHORT = ("descriptors", "node-killed")
SHORT_S, LONG_S = 0.5, 60.0
#: A loaded machine takes longer to start the programs than the node to recover.
PATIENCE = 30
ENGINE = EngineInfo(runtime="none", model="none", sha256="", psf_sigma=0.5)


def check(outcome: Outcome) -> None:
    print(cells(outcome))
    assert outcome.broken == []
    assert outcome.silent == 0
    assert outcome.received == outcome.published > 0
    assert outcome.deed.recovery_s < PATIENCE


def test_faults_in_short() -> None:
    chosen = [fault for fault in FAULTS if fault.name in SHORT]
    outcomes = list(commit(chosen, SHORT_S))
    assert [outcome.fault.name for outcome in outcomes] == [fault.name for fault in chosen]
    for outcome in outcomes:
        check(outcome)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_faults_at_length(fault: Fault) -> None:
    (outcome,) = commit([fault], LONG_S)
    check(outcome)
    before, after = outcome.memory_mib
    assert after < before + 30 or fault.name in ("node-killed", "model-change")


def test_a_table_tells_what_was_lost() -> None:
    fault = Fault("none", "no | fault", lambda *_: Deed("nothing", 0.5), CALM)
    outcome = Outcome(fault, Deed("nothing", 0.5), 9, 9, {"timeout": 2}, 3, 0, (1.0, 2.0), [])
    row = ["no | fault", "nothing", "9", "9", "2 timeout", "3", "0", "0.50", "1 to 2"]
    assert cells(outcome) == row
    assert is_sound(outcome)
    page = report([outcome], 5, "dscsnet faults")
    assert "| no / fault | nothing | 9 |" in page
    for bad in (
        {"silent": 1},
        {"broken": ["out of order"]},
        {"deed": Deed("slept", 2.5)},
    ):
        assert not is_sound(Outcome(**{**vars(outcome), **bad}))


def test_the_longest_pause_is_that_of_all_answers_also_of_those_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dscsnet.tools.trials.listener, "REMEMBERED", 4)
    listener = Listener(Channel("tcp://127.0.0.1:1", bind=False))
    now, start = [0], time.monotonic_ns()
    monkeypatch.setattr(dscsnet.tools.trials.listener.time, "monotonic_ns", lambda: start + now[0])
    for number, after_s in enumerate((0, 1, 3, 3.5, *np.arange(4, 14, 0.5), 15)):
        now[0] = int(after_s * 1e9)
        listener._take(answer(number, "ok" if after_s != 7 else "dropped"))
    assert len(listener.arrivals) == 4
    assert listener.longest_pause_s(start) == pytest.approx(2)
    assert listener.longest_pause_s(start + int(3e9)) == pytest.approx(1.5)
    assert listener.longest_pause_s(start + int(3.2e9)) == pytest.approx(1.5)
    now[0] += int(5e9)
    assert listener.longest_pause_s(start) == pytest.approx(5)


def answer(frame_id: int, status: TargetsStatus) -> Targets:
    ticket = Ticket(FrameKey("cam", bytes(16), frame_id), 0, 0)
    return plain_answer(ticket, status, "", ENGINE)


def test_an_unknown_fault_is_wrong_use() -> None:
    result = CliRunner().invoke(new_cli(), ["faults", "no-such-fault"])
    assert result.exit_code == 2
    listed = CliRunner().invoke(new_cli(), ["faults", "--list"]).output
    assert all(fault.name in listed for fault in FAULTS)


def made_up(hours: float, rise: float) -> Soak:
    """Memory that warms up, then rises by so many MiB an hour, with noise."""
    noise = np.random.default_rng(0).normal(0, 0.3, 361)
    seconds = np.linspace(0, hours * 3600, 361)
    memory = 200 + rise * seconds / 3600 + noise - 50 * (seconds < 500)
    rows = zip(seconds, memory, strict=True)
    other = {"descriptors": 30, "threads": 16, "cpu_s": 0.0, "received": 9, "published": 9}
    other |= {"pending": 0, "dropped": 0, "lost_upstream": 0, "unsent": 0}
    ages = {"oldest_ms": 1.0, "latency_p50_ms": 9.0, "latency_max_ms": 30.0}
    samples = [Sample(seconds=s, memory_mib=m, **other, **ages) for s, m in rows]
    return Soak(20.0, 5, samples, 0, [])


def test_slopes_are_those_of_the_time_after_the_warm_up() -> None:
    steady, leaking = made_up(1, 0.0), made_up(1, 5.0)
    assert slope(steady, "memory_mib").an_hour == pytest.approx(0, abs=0.3)
    found = slope(leaking, "memory_mib")
    assert abs(found.an_hour - 5) < 4 * found.error
    assert found.error < 0.2
    assert found.level == pytest.approx(200 + 5 / 6, abs=0.3)
    assert not grows(steady)
    assert grows(leaking)
    assert not grows(made_up(0.2, 5.0))
    assert "in 30 days: 51,840,000 frames" in describe_soak(steady)


def test_a_soak_in_short(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    *samples, result = soak(
        tmp_path, model="field-mlp", candidates=3, rate_hz=10.0, minutes=0.06, every_s=2.0
    )
    assert isinstance(result, Soak)
    assert result.samples == samples
    assert (result.silent, result.faults) == (0, [])
    assert samples[-1].published > 0
    assert len((tmp_path / "soak.csv").read_text().splitlines()) == len(samples) + 1
    draw_soak(result, tmp_path / "soak.png")
    assert (tmp_path / "soak.png").stat().st_size > 10_000
