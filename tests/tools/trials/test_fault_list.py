"""What each fault does to a chain, and from when to when recovery is counted: on a played chain."""

import signal
from typing import Any

import pytest

from dscsnet.tools.trials import fault_list
from dscsnet.tools.trials.fault_list import FAULTS, LOSSLESS
from dscsnet.tools.trials.faults import Deed
from dscsnet.tools.trials.listener import Arrival
from tests.tools.trials import played
from tests.tools.trials.played import FIRST_S, FLOW_S, SECOND, PlayedChain, beat


@pytest.fixture(name="chain")
def _chain(monkeypatch: pytest.MonkeyPatch) -> PlayedChain:
    chain = PlayedChain()
    monkeypatch.setattr(fault_list, "time", chain)
    return chain


def commit(chain: PlayedChain, name: str, seconds: float = 4.0) -> Deed:
    (fault,) = [fault for fault in FAULTS if fault.name == name]
    return fault.act(chain, seconds)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "did", "recovery_s", "told"),
    [
        (
            "camera-killed",
            ["kill camera", "sleep 4", "start_camera", "camera up", "flow since 0 s"],
            FLOW_S,
            "answered what it had",
        ),
        (
            "detector-killed",
            [
                "kill detector",
                "sleep 4",
                "start_detector",
                "detector up",
                "flow since 0 s detector",
            ],
            FLOW_S,
            "as no_detections",
        ),
        (
            "subscriber-killed",
            [
                *("start_subscriber", "subscriber first", "kill subscriber", "sleep 4"),
                *("start_subscriber", "subscriber up", "subscriber first", "kill subscriber"),
            ],
            FIRST_S,
            "never waited longer than 5.20 s",
        ),
        (
            "camera-stopped",
            ["stop camera", "sleep 4", "continue camera", "flow since 0 s"],
            FLOW_S,
            "waited",
        ),
        (
            "detector-stopped",
            ["stop detector", "sleep 4", "continue detector", "flow since 0 s"],
            FLOW_S,
            "5 detections came late",
        ),
        (
            "subscriber-stopped",
            [
                *("start_subscriber", "subscriber first", "stop subscriber", "sleep 4", "flow"),
                *("continue subscriber", "flow since 0 s", "kill subscriber"),
            ],
            FLOW_S,
            "never waited longer than 4.30 s",
        ),
        (
            "node-stopped",
            ["stop node", "sleep 4", "continue node", "flow since 0 s"],
            FLOW_S,
            "too old",
        ),
        (
            "node-killed",
            ["kill node", "sleep 4", "another life", "start_node", "flow since 0 s"],
            0.0,  # frames flowed before its first heartbeat
            "started anew within 2.0 s; the 7 frames",
        ),
    ],
)
def test_what_is_done_and_what_is_counted(
    chain: PlayedChain, name: str, did: list[str], recovery_s: float, told: str
) -> None:
    deed = commit(chain, name)
    # How deep its queue is matters to a subscriber that does not read.
    assert [line.removesuffix(" depth=1") for line in chain.did] == did
    assert ("start_subscriber depth=1" in chain.did) == (name == "subscriber-stopped")
    assert deed.recovery_s == pytest.approx(recovery_s)
    assert told in deed.did


def test_a_node_that_flows_late_recovers_from_its_first_heartbeat_on(
    chain: PlayedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(played, "FLOW_S", 2.75)
    assert commit(chain, "node-killed", 0.5).recovery_s == pytest.approx(0.75)
    assert "sleep 1" in chain.did  # what it had sent still comes


def test_clocks_that_jump_are_watched_for_three_seconds_at_least(chain: PlayedChain) -> None:
    chain.listener.beats = [(s * SECOND, {}) for s in (90, 97, 101, 102, 104)]
    deed = commit(chain, "clock", 1.0)
    assert chain.did == ["sleep 3"]
    assert deed == Deed(
        "did not notice: no pause above 3.00 s, heartbeats at most 2.0 s apart", 0.0
    )


def test_clocks_that_jump_are_watched_as_long_as_told(chain: PlayedChain) -> None:
    # The beat at the very start counts.
    chain.listener.beats = [(s * SECOND, {}) for s in (90, 100, 103, 104)]
    deed = commit(chain, "clock", 7.0)
    assert chain.did == ["sleep 7"]
    assert "no pause above 7.00 s, heartbeats at most 3.0 s apart" in deed.did


def test_a_full_disk_is_one_for_the_recorder_alone(
    chain: PlayedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[tuple[int, tuple[int, int]]] = []

    def prlimit(pid: int, what: int, limit: tuple[int, int] | None = None) -> tuple[int, int]:
        assert (pid, what) == (4711, fault_list.resource.RLIMIT_FSIZE)
        if limit is not None:
            limits.append((chain.now, limit))
        return (-1, -1)

    monkeypatch.setattr(fault_list.resource, "prlimit", prlimit)
    state: dict[str, Any] = {"error": "", "written": {"frames": 5}, "dropped": {"frames": 4}}
    chain.listener.last = beat(recorder=state)

    def notice() -> None:
        if len(limits) == 1:
            state["error"] = "full"
        else:
            state["written"]["frames"] += 1

    chain.on_wait = notice
    deed = commit(chain, "disk-full")
    assert [limit for _, limit in limits] == [(5000 + 2**20, -1), (-1, -1)]
    assert limits[1][0] - limits[0][0] == pytest.approx((1 + 4 + FLOW_S) * SECOND)
    assert "4 messages were not recorded" in deed.did
    assert "recorded again after 1.0 s" in deed.did


def test_descriptors_are_taken_away_and_given_back(
    chain: PlayedChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[tuple[int, int]] = []

    def prlimit(pid: int, what: int, limit: tuple[int, int] | None = None) -> tuple[int, int]:
        assert (pid, what) == (4711, fault_list.resource.RLIMIT_NOFILE)
        if limit is not None:
            limits.append(limit)
        return (1024, 4096)

    pages: list[str] = []

    class Page:
        def __init__(self, host: str, port: int, timeout: float) -> None:
            assert (host, port) == ("127.0.0.1", chain.config.http.port)

        def connect(self) -> None:
            assert len(limits) == 1, "before the limit it would have been served"
            pages.append("open")

        def close(self) -> None:
            pages.append("closed")

    monkeypatch.setattr(fault_list.resource, "prlimit", prlimit)
    monkeypatch.setattr(fault_list.http.client, "HTTPConnection", Page)
    deed = commit(chain, "descriptors")
    assert limits == [(33, 4096), (1024, 4096)]
    assert pages == ["open"] * 4 + ["closed"] * 4
    assert chain.did == [
        *("start_subscriber", "subscriber up", "sleep 4", "flow", "subscriber first"),
        "kill subscriber",
    ]
    assert deed.recovery_s == pytest.approx(FIRST_S)
    assert "never waited longer than 5.30 s, 25 % of a core" in deed.did


def test_models_change_in_turn_and_back(chain: PlayedChain) -> None:
    state = {"done": 0, "failed": 0}
    chain.listener.last = beat(engine_changes=state)

    def change() -> None:
        state["failed" if chain.written[-1].engine.model == "no-such-model" else "done"] += 1

    chain.on_wait = change
    usual = chain.config.engine
    deed = commit(chain, "model-change", 6.0)
    assert [config.engine.model for config in chain.written] == [
        *("field-unfolded", "no-such-model", usual.model)
    ]
    assert {(c.engine.threads, c.engine.psf_sigma) for c in chain.written} == {(1, 0.6)}
    hangups = [line for line in chain.did if line.startswith("signal")]
    assert hangups == [f"signal node {int(signal.SIGHUP)}"] * 3
    assert chain.did.count("sleep 2") == 3
    assert chain.did[-1] == "flow since 0 s model"
    assert deed.recovery_s == pytest.approx(FLOW_S)
    assert "changed 2 times, kept the old one 1 time; no pause above 9.30 s" in deed.did


@pytest.mark.parametrize("lossless", [False, True])
def test_the_overload_is_ten_times_what_the_engine_has_time_for(
    chain: PlayedChain, lossless: bool
) -> None:
    if lossless:
        chain.setting = LOSSLESS

    def end() -> None:
        chain.listener.life.ends += 1
        chain.listener.last = beat(
            by_status={"ok": 186}, drops={"window": 9, "too_old": 1}, received=500, lost_upstream=30
        )

    chain.on_wait = end
    rest = chain.await_rest
    chain.await_rest = lambda: dict(rest())  # type: ignore[method-assign]
    flow = chain.await_flow

    def flows(since_ns: int | None = None, **wanted: Any) -> Arrival:
        found = flow(since_ns, **wanted)
        chain.listener.last = beat(by_status={"ok": 143})
        return found

    chain.await_flow = flows  # type: ignore[method-assign]
    deed = commit(chain, "overload-lossless" if lossless else "overload-live")
    # The median of 10, 12 and 20 ms.
    rate = 10 * 1000 / 12.0
    assert chain.did == [
        *("terminate camera", "rest", f"start_camera rate_hz={rate:g}", "camera up"),
        *("flow since 0 s", "sleep 4", "flow", f"signal camera {int(signal.SIGTERM)}"),
        *("wait for the end of the overload", "wait camera", "rest"),
        *("start_camera", "camera up", "flow since 0 s"),
    ]
    assert deed.recovery_s == pytest.approx(FLOW_S)
    # 430 frames came in 4.3 s, 43 of them were unmixed.
    wanted = (
        "held the camera back to 100 of 833 frames/s, 8 not unmixed"
        if lossless
        else "unmixed 10 of 100 frames/s, no pause above 4.30 s"
    )
    assert deed.did == wanted
