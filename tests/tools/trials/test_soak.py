"""A soak of a chain that is played: what is sampled when, and what counts as lost."""

import csv
import io
from collections import Counter
from dataclasses import astuple, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dscsnet.engines.errors import DscsnetError
from dscsnet.tools.trials import soak as module
from dscsnet.tools.trials.chain import Setting
from dscsnet.tools.trials.listener import Arrival
from dscsnet.tools.trials.soak import Sample, Soak, measure_capacity, soak

SECOND = 1_000_000_000


def beat(**more: Any) -> dict[str, Any]:
    counts = {"received": 100, "published": 96, "pending": 4, "lost_upstream": 3, "unsent": 2}
    statuses = {"ok": 80, "empty": 6, "dropped": 7, "no_detections": 3}
    return {**counts, "by_status": statuses, "queue": {"oldest_ms": 5.0}, **more}


class PlayedChain:
    """Answers come every second, heartbeats every two; its clock moves by sleeping alone."""

    def __init__(self) -> None:
        self.now = 1000 * SECOND
        self.did: list[str] = []
        self.setting: Setting | None = None
        self.config = SimpleNamespace(http=SimpleNamespace(port=8123))
        self.listener = SimpleNamespace(
            life=SimpleNamespace(statuses=Counter(ok=90, dropped=10), gaps=3),
            faults=["out of order"],
            arrivals=[],
            beats=[],
        )
        self.node = SimpleNamespace(
            memory_mib=lambda: 200.12345,
            descriptors=lambda: 30,
            threads=lambda: 16,
            cpu_s=lambda: (self.now - 1000 * SECOND) / SECOND / 4,
        )

    def __call__(self, folder: Path, setting: Setting) -> "PlayedChain":
        self.setting = setting
        return self

    def __enter__(self) -> "PlayedChain":
        return self

    def __exit__(self, *_: object) -> None: ...
    def log(self, part: str) -> str:
        return f"the log of the {part}"

    def sleep(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.now += SECOND
            total = (self.now / SECOND) % 100
            self.listener.arrivals.append(Arrival(self.now, "ok", b"", 0, total, total, "m"))
            self.listener.life.statuses["ok"] += 5
            if self.now // SECOND % 2 == 0:
                self.listener.beats.append((self.now, beat(queue={"oldest_ms": total})))
        self.now += round((seconds % 1) * SECOND) if seconds % 1 else 0

    def await_heartbeats(self, number: int) -> None:
        assert number == 2
        self.sleep(4)

    def await_rest(self) -> dict[str, Any]:
        self.did.append("rest")
        return beat(received=sum(self.listener.life.statuses.values()), lost_upstream=3)

    def start_subscriber(self) -> None:
        self.did.append("visit")

    def kill(self, part: str) -> None:
        self.did.append(f"kill {part}")

    def terminate(self, part: str) -> None:
        self.did.append(f"end {part}")


@pytest.fixture(name="chain")
def _chain(monkeypatch: pytest.MonkeyPatch) -> PlayedChain:
    chain = PlayedChain()
    clock = SimpleNamespace(
        monotonic=lambda: chain.now / SECOND, monotonic_ns=lambda: chain.now, sleep=chain.sleep
    )
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "Chain", chain)

    def urlopen(url: str, timeout: float) -> io.BytesIO:
        assert (url, timeout) == ("http://127.0.0.1:8123/metrics", 30)
        return io.BytesIO(b"metrics")

    monkeypatch.setattr(module.urllib.request, "urlopen", urlopen)
    return chain


def whole(chain: PlayedChain, folder: Path, minutes: float, every_s: float) -> list[Any]:
    steps = soak(folder, model="m", candidates=7, rate_hz=12.5, minutes=minutes, every_s=every_s)
    return list(steps)


def test_samples_are_taken_at_even_times_and_kept(chain: PlayedChain, tmp_path: Path) -> None:
    *samples, result = whole(chain, tmp_path, 1, 10)
    assert [sample.seconds for sample in samples] == [0, 10, 20, 30, 40, 50, 60]
    assert isinstance(result, Soak)
    assert (result.rate_hz, result.candidates, result.samples) == (12.5, 7, samples)
    assert (result.silent, result.faults) == (0, ["out of order"])
    assert chain.did == ["visit", "end camera", "rest", "end node"]
    rows = list(csv.reader((tmp_path / "soak.csv").read_text().splitlines()))
    assert rows[0] == [field.name for field in fields(Sample)]
    assert rows[1:] == [[str(value) for value in astuple(sample)] for sample in samples]


def test_what_was_sampled_is_kept_if_it_is_cut_short(chain: PlayedChain, tmp_path: Path) -> None:
    steps = soak(tmp_path, model="m", candidates=7, rate_hz=12.5, minutes=1, every_s=10)
    for number in (1, 2, 3):
        next(steps)
        assert len((tmp_path / "soak.csv").read_text().splitlines()) == 1 + number
    steps.close()  # type: ignore[attr-defined]


def test_the_setting_has_ends_empty_lists_and_missing_ones(
    chain: PlayedChain, tmp_path: Path
) -> None:
    whole(chain, tmp_path, 0.1, 10)
    setting = chain.setting
    assert setting is not None
    assert (setting.shape, setting.candidates, setting.rate_hz, setting.model) == (
        *((512, 640), 7, 12.5, "m"),
    )
    assert (setting.life_frames, setting.empty_every, setting.missing_every) == (1000, 50, 97)
    assert setting.mode == "live"
    assert setting.node["join"].timeout_ms == 200
    assert setting.node["overload"].max_age_ms == 2000


def test_a_sample_is_of_the_time_since_the_last(chain: PlayedChain, tmp_path: Path) -> None:
    first, second, _ = whole(chain, tmp_path, 10 / 60, 10)
    # At 1014 s: answers of 4 (at its start) to 14 ms, heartbeats of 4, 6, ... 14.
    assert second.latency_p50_ms == 9
    assert (second.latency_max_ms, second.oldest_ms) == (14, 14)
    assert first.latency_p50_ms == 2.5
    assert (second.memory_mib, second.descriptors, second.threads) == (200.123, 30, 16)
    assert second.cpu_s == 3.5
    assert (second.received, second.published, second.pending) == (100, 96, 4)
    assert (second.dropped, second.lost_upstream, second.unsent) == (10, 3, 2)


@pytest.mark.parametrize("missing", ["arrivals", "beats"])
def test_a_node_that_has_fallen_silent_ends_it(
    chain: PlayedChain, tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain.listener, missing, _Deaf())
    with pytest.raises(DscsnetError, match="nothing came from the node for 10 s; see the log of"):
        whole(chain, tmp_path, 1, 10)


class _Deaf(list[Any]):
    def append(self, _: object) -> None: ...


@pytest.mark.parametrize(
    ("statuses", "gaps", "silent"), [(100, 3, 0), (98, 3, 2), (103, 3, 3), (100, 5, 2), (99, 1, 3)]
)
def test_frames_are_lost_silently_where_the_books_differ(
    chain: PlayedChain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    statuses: int,
    gaps: int,
    silent: int,
) -> None:
    def await_rest() -> dict[str, Any]:
        chain.listener.life.statuses, chain.listener.life.gaps = Counter(ok=statuses), gaps
        return beat()

    monkeypatch.setattr(chain, "await_rest", await_rest)
    steps = soak(tmp_path, model="m", candidates=7, rate_hz=1.0, minutes=0.0, every_s=10)
    *_, result = steps
    assert isinstance(result, Soak)
    assert result.silent == silent


def test_a_visitor_is_there_every_second_span_of_six_samples(chain: PlayedChain) -> None:
    for number in range(1, 31):
        before = len(chain.did)
        module._visit(chain, number)  # type: ignore[arg-type]
        expected = {6: ["visit"], 12: ["kill subscriber"], 18: ["visit"], 24: ["kill subscriber"]}
        expected[30] = ["visit"]
        assert chain.did[before:] == expected.get(number, [])
    module._visit(chain, 0)  # type: ignore[arg-type]
    assert len(chain.did) == 5


def test_the_capacity_is_what_was_answered_in_eight_seconds(
    chain: PlayedChain, tmp_path: Path
) -> None:
    assert measure_capacity(tmp_path, "m", 7) == pytest.approx(5)
    assert chain.now == 1008 * SECOND
    setting = chain.setting
    assert setting is not None
    assert (setting.mode, setting.rate_hz, setting.candidates) == ("lossless", None, 7)
    assert (setting.shape, setting.model) == ((512, 640), "m")
