"""The chain of the trials with programs and a listener that are played."""

import signal
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.config import NodeConfig, Overload, load_config
from dscsnet.tools.trials import chain as module
from dscsnet.tools.trials.chain import Chain, Setting
from dscsnet.tools.trials.listener import Arrival
from dscsnet.tools.trials.peers import Camera, Detector, Peer, Subscriber

SECOND = 1_000_000_000


class PlayedPrograms:
    """Programs that are only noted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[tuple[str, ...]] = []
        self.did: list[tuple[str, str]] = []
        self.failing = False
        self.closed = False

    def __enter__(self) -> "PlayedPrograms":
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def start(self, *given: str) -> None:
        self.started.append(given)

    def pid(self, name: str) -> int:
        return 1000 + int(name.rpartition("-")[2])

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def check(self, may_end: Any) -> None:
        self.may_end = list(may_end)
        if self.failing:
            raise DscsnetError("the node ended early")

    def __getattr__(self, deed: str) -> Any:
        if deed not in ("kill", "wait", "terminate"):
            raise AttributeError(deed)
        return lambda name: self.did.append((deed, name))


class PlayedListener:
    """Sees the first good frame when its clock is there."""

    def __init__(self, channel: Any) -> None:
        self.channel, self.clock = channel, CLOCK
        self.flows_at = 5 * SECOND
        self.wanted: list[tuple[int, dict[str, Any]]] = []
        self.beats: list[tuple[int, dict[str, Any]]] = []
        self.life = SimpleNamespace(statuses=Counter())
        self.closed = False

    def __enter__(self) -> "PlayedListener":
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def first_ok(self, since_ns: int, **wanted: Any) -> Arrival | None:
        self.wanted.append((since_ns, wanted))
        if CLOCK.now < self.flows_at:
            return None
        return Arrival(CLOCK.now, "ok", b"", 0, 1.0, 1.0, "m")

    @property
    def last(self) -> dict[str, Any]:
        return self.beats[-1][1]


class Clock:
    def __init__(self) -> None:
        self.now = 0
        self.on_sleep: Any = lambda: None

    def monotonic(self) -> float:
        return self.now / SECOND

    def monotonic_ns(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)
        self.on_sleep()


CLOCK = Clock()


@pytest.fixture(autouse=True)
def _played(monkeypatch: pytest.MonkeyPatch) -> None:
    CLOCK.now, CLOCK.on_sleep = 0, lambda: None
    monkeypatch.setattr(module, "time", CLOCK)
    monkeypatch.setattr(module, "Programs", PlayedPrograms)
    monkeypatch.setattr(module, "Listener", PlayedListener)
    monkeypatch.setattr(module, "free_ports", lambda number: list(range(4001, 4001 + number)))


def peers_of(programs: PlayedPrograms) -> dict[str, Peer]:
    """By the name of the program that plays it."""
    return {
        name: msgspec.json.decode(text, type=Peer)
        for name, kind, text, *_ in programs.started
        if kind == "dscsnet.tools.trials.peers"
    }


@pytest.mark.parametrize(("mode", "timeout"), [("live", 50), ("lossless", 10_000)])
def test_the_parts_fit_together(tmp_path: Path, mode: Any, timeout: float) -> None:
    setting = Setting(
        mode=mode, candidates=9, rate_hz=30.0, life_frames=11, jump_s=2.5, empty_every=3,
        missing_every=4, model="psf-fit", max_age_ms=123.0,
    )  # fmt: skip
    with Chain(tmp_path, setting) as chain:
        programs: Any = chain._programs
        node, detector, camera = programs.started
        assert node == ("node-1", "dscsnet.pipeline", "node", "-c", str(tmp_path / "node.yaml"))
        assert [detector[0], camera[0]] == ["detector-2", "camera-3"]
        config = load_config(tmp_path / "node.yaml")
        assert config == chain.config
        eye, finder = (peers_of(programs)[name] for name in ("camera-3", "detector-2"))
        assert isinstance(eye, Camera)
        assert isinstance(finder, Detector)
        frames, copies = eye.endpoints
        assert config.inputs.frames.endpoint == frames.endpoint == "tcp://127.0.0.1:4001"
        assert finder.frames.endpoint == copies.endpoint == "tcp://127.0.0.1:4002"
        assert config.inputs.detections.endpoint == finder.detections.endpoint
        listened = chain.listener.channel  # type: ignore[attr-defined]
        assert config.output.targets.endpoint == listened.endpoint == "tcp://127.0.0.1:4004"
        assert config.http.port == 4005
        binds = [frames, copies, finder.detections, config.output.targets]
        connects = [config.inputs.frames, finder.frames, config.inputs.detections, listened]
        assert [each.bind for each in (*binds, *connects)] == [True] * 4 + [False] * 4
        depths = [each.high_water_mark for each in (*binds, *connects)]
        assert depths == [64, 64, 64, 100_000, 16, 64, 256, 1_000_000]
        assert (eye.candidates, eye.rate_hz, eye.life_frames, eye.jump_s) == (9, 30.0, 11, 2.5)
        assert eye.shape == finder.shape == (128, 160)
        assert eye.lossless == finder.lossless == (mode == "lossless")
        assert (finder.empty_every, finder.missing_every, finder.candidates) == (3, 4, 9)
        assert (config.join.timeout_ms, config.overload.max_age_ms) == (timeout, 123.0)
        assert config.overload.mode == mode
        assert (config.engine.model, config.engine.threads) == ("psf-fit", 1)
        assert (config.output.expected_subscribers, config.output.wait_s) == (1, 60)
        assert config.batch.max_crops == 64
        assert not config.record.file
    assert programs.closed
    assert chain.listener.closed  # type: ignore[attr-defined]


def test_defaults_of_a_setting() -> None:
    usual = Setting()
    assert (usual.mode, usual.candidates, usual.rate_hz, usual.model) == (
        *("live", 5, 20.0, "field-mlp"),
    )
    assert (usual.life_frames, usual.jump_s, usual.empty_every, usual.missing_every) == (0,) * 4
    assert usual.max_age_ms == Overload().max_age_ms
    assert (usual.record, usual.module) == (False, "dscsnet.pipeline")


def test_a_recording_is_one_file_and_sections_of_ones_own_win(tmp_path: Path) -> None:
    setting = Setting(record=True, node={"overload": Overload(max_age_ms=7.0)}, module="other")
    with Chain(tmp_path, setting) as chain:
        record = chain.config.record
        assert (record.file, record.segment_s, record.segment_mib) == (
            *(str(tmp_path / "run.mcap"), 0, 0),
        )
        assert chain.config.overload.max_age_ms == 7.0
        programs: Any = chain._programs
        assert programs.started[0][1] == "other"


def test_who_plays_a_part_now_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signals: list[tuple[int, signal.Signals]] = []
    monkeypatch.setattr(module.os, "kill", lambda pid, number: signals.append((pid, number)))
    with Chain(tmp_path) as chain:
        programs: Any = chain._programs
        assert [chain.pid(part) for part in ("node", "detector", "camera")] == [1001, 1002, 1003]
        chain.start_node()
        assert chain.pid("node") == 1004
        chain.start_camera(rate_hz=90.0)
        chain.start_subscriber(depth=3)
        found = peers_of(programs)
        eye, reader = found["camera-5"], found["subscriber-6"]
        assert isinstance(eye, Camera)
        assert isinstance(reader, Subscriber)
        assert eye.rate_hz == 90.0
        assert reader.targets.endpoint == chain.config.output.targets.endpoint
        assert (reader.targets.high_water_mark, reader.targets.bind) == (3, False)
        chain.start_camera()
        usual = peers_of(programs)["camera-7"]
        assert isinstance(usual, Camera)
        assert usual.rate_hz == 20.0
        with chain.stopped("node"):
            assert signals == [(1004, signal.SIGSTOP)]
        assert signals[1:] == [(1004, signal.SIGCONT)]
        with pytest.raises(KeyError), chain.stopped("camera"):
            raise KeyError
        assert signals[-1] == (1007, signal.SIGCONT)
        chain.kill("node")
        chain.wait("detector")
        chain.terminate("camera")
        assert programs.did == [
            ("kill", "node-4"),
            ("wait", "detector-2"),
            ("terminate", "camera-7"),
        ]
        (tmp_path / "node-4.log").write_text("words of the node")
        assert chain.log("node") == "words of the node"
        assert chain.node.pid == 1004


def test_a_moment_that_a_peer_says_is_waited_for(tmp_path: Path) -> None:
    with Chain(tmp_path) as chain:
        log = tmp_path / "camera-3.log"
        log.write_text("")
        CLOCK.on_sleep = lambda: log.write_text("upper 3\nup 123\nup 456\nfirst 789\n")
        assert chain.said_ns("camera") == 123
        assert chain.said_ns("camera", "first") == 789


def test_waiting_ends_in_time_or_with_a_program(tmp_path: Path) -> None:
    with Chain(tmp_path) as chain:
        programs: Any = chain._programs
        began = CLOCK.now
        with pytest.raises(DscsnetError, match=r"waited 2\.5 s in vain for luck"):
            chain.wait_for(lambda: False, 2.5, "luck")
        assert (CLOCK.now - began) / SECOND == pytest.approx(2.5, abs=0.02)
        assert programs.may_end == ["node-1", "detector-2", "camera-3"]
        chain.wait_for(lambda: True, 0.0, "nothing")
        programs.failing = True
        with pytest.raises(DscsnetError, match="ended early"):
            chain.wait_for(lambda: False, 2.5, "luck")


def test_a_chain_that_does_not_flow_ends_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain(tmp_path)
    listener: Any = chain.listener
    listener.flows_at = 181 * SECOND
    with pytest.raises(DscsnetError, match="waited 180 s in vain for frames to flow"), chain:
        pytest.fail("it did not flow")
    assert listener.closed
    assert chain._programs.closed  # type: ignore[attr-defined]


def test_flow_is_that_since_a_moment_and_as_wanted(tmp_path: Path) -> None:
    with Chain(tmp_path) as chain:
        listener: Any = chain.listener
        listener.wanted.clear()
        now = CLOCK.now
        assert chain.await_flow(model="m").time_ns == now
        assert chain.await_flow(3).time_ns == now
        assert listener.wanted == [(now, {"model": "m"}), (3, {})]


def test_heartbeats_are_those_that_come_from_now_on(tmp_path: Path) -> None:
    with Chain(tmp_path) as chain:
        listener: Any = chain.listener
        listener.beats = [(CLOCK.now, {"number": 0})]

        def beat() -> None:
            listener.beats.append((CLOCK.now, {"number": len(listener.beats)}))

        CLOCK.on_sleep = beat
        assert chain.await_heartbeats() == {"number": 1}
        assert chain.await_heartbeats(3) == {"number": 4}
        CLOCK.on_sleep = lambda: None
        began = CLOCK.now
        with pytest.raises(DscsnetError, match="waited 62 s in vain for 2 heartbeats after 5"):
            chain.await_heartbeats(2)
        assert (CLOCK.now - began) / SECOND == pytest.approx(62, abs=0.02)


def test_a_node_is_at_rest_when_all_books_agree(tmp_path: Path) -> None:
    kinds = [(2, 7), (0, 6), (0, 7), (0, 9)]
    # Each is told several times: none of them is passed over while one waits for the next.
    books = [{"pending": p, "published": n} for p, n in kinds for _ in range(4)]
    with Chain(tmp_path) as chain:
        listener: Any = chain.listener
        listener.life.statuses = Counter(ok=4, empty=3)
        CLOCK.on_sleep = lambda: listener.beats.append((CLOCK.now, books[len(listener.beats)]))
        assert chain.await_rest() == {"pending": 0, "published": 7}


def test_another_configuration_is_written_to_the_nodes_file(tmp_path: Path) -> None:
    with Chain(tmp_path) as chain:
        chain.write_config(NodeConfig(name="other"))
        assert load_config(chain.config_file).name == "other"
