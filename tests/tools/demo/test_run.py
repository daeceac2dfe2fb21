"""The demo's chain: how long it waits, what it takes for the end, and what it says of a node."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.messages import End, Message, Targets
from dscsnet.pipeline.sockets import Channel
from dscsnet.tools.demo import run as demo
from dscsnet.tools.demo.run import DemoSettings, Interrupted, make_configs
from dscsnet.tools.host.processes import free_ports

Answer = Callable[..., Targets]


def settings_for(output: Path, model: str = "scene-compact") -> DemoSettings:
    return DemoSettings(output, frames=10, rate_hz=50.0, seed=3, model=model)


def test_nothing_is_dropped_however_slow_the_machine(tmp_path: Path) -> None:
    configs = make_configs(settings_for(tmp_path), [4001, 4002, 4003, 4004])
    simulator, detector, node = configs.simulator, configs.detector, configs.node
    assert {simulator.mode, detector.mode, node.overload.mode} == {"lossless"}
    # The first start compiles for half a minute at most; the node's patience is this process's.
    assert simulator.wait_timeout_s == detector.wait_timeout_s == node.output.wait_s == 180
    assert node.join.timeout_ms == 20_000
    assert (simulator.frame_count, simulator.rate_hz, simulator.wait_subscribers) == (10, 50.0, 2)
    assert (simulator.scene.seed, simulator.scene.clusters.count) == (3, 15)
    assert node.engine.threads == 1
    assert node.engine.psf_sigma == simulator.scene.clusters.psf_sigma_x
    ends = (simulator.frames, detector.detections, node.output.targets)
    assert [(channel.endpoint[-4:], channel.bind) for channel in ends] == [
        *(("4001", True), ("4002", True), ("4003", True))
    ]
    taken = (detector.frames, node.inputs.frames, node.inputs.detections)
    assert [(channel.endpoint[-4:], channel.bind) for channel in taken] == [
        *(("4001", False), ("4001", False), ("4002", False))
    ]
    assert node.http.port == 4004
    # A queue of frames is short, since they are large; those of rows are not.
    assert simulator.frames.high_water_mark == node.inputs.frames.high_water_mark == 16
    assert detector.detections.high_water_mark == node.inputs.detections.high_water_mark == 256
    assert node.output.targets.high_water_mark == 1000


def test_a_model_folder_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = Path(demo.load_model("scene-compact").folder)
    (tmp_path / "mine").symlink_to(shipped)
    monkeypatch.chdir(tmp_path)
    for given, expected in (
        *(("psf-fit", "psf-fit"), ("scene-compact", "scene-compact")),
        ("./mine", str(shipped.resolve())),
    ):
        configs = make_configs(settings_for(tmp_path, given), [1, 2, 3, 4])
        assert configs.node.engine.model == expected


class Played:
    """A receiver that gives messages at given times, s; the clock stands at the last one."""

    def __init__(self, *told: tuple[float, Message | None]) -> None:
        self.told, self.now = iter(told), 0.0

    def receive(self, _timeout_ms: int) -> Message | None:
        self.now, message = next(self.told)
        return message


class Healthy:
    def check(self, may_end: tuple[str, ...]) -> None:
        assert may_end == ("simulator",)

    def failure(self, name: str, what: str) -> DscsnetError:
        return DscsnetError(f"the {name} {what}")


class Told:
    def __init__(self) -> None:
        self.phases: list[str] = []
        self.frames: list[int] = []

    def phase(self, text: str) -> None:
        self.phases.append(text)

    def answered(self, frames: int) -> None:
        self.frames.append(frames)


def listened(
    monkeypatch: pytest.MonkeyPatch, receiver: Played, told: Told, stop: bool = False
) -> tuple[list[Targets], float]:
    monkeypatch.setattr(demo.time, "monotonic", lambda: receiver.now)
    monkeypatch.setattr(demo, "_node_state", lambda _port: "waiting for frames")
    event = threading.Event()
    if stop:
        event.set()
    return demo._listen(receiver, Healthy(), 1, told, event)  # type: ignore[arg-type]


END = End("cam0", bytes(16), 0, 0)


def test_the_time_is_from_the_first_answer_to_the_last(
    monkeypatch: pytest.MonkeyPatch, published: Answer
) -> None:
    one, two, three = (published([], frame_id=k) for k in range(3))
    told = Told()
    receiver = Played((5, None), (30, one), (31, None), (33, two), (37, three), (50, END))
    answers, seconds = listened(monkeypatch, receiver, told)
    assert [answer.frame_id for answer in answers] == [0, 1, 2]
    assert seconds == 7
    assert told.frames == [1, 2, 3]
    assert told.phases == ["the node is waiting for frames"]  # only before the first answer
    assert listened(monkeypatch, Played((5, END)), Told()) == ([], 0)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        ((180.0, 180.5), "for 180 s after 0 answers"),
        ((-1.0, 19.0, 19.5), "for 20 s after 1 answers"),
    ],
)
def test_silence_is_borne_longer_before_the_first_answer(
    monkeypatch: pytest.MonkeyPatch, published: Answer, times: tuple[float, ...], words: str
) -> None:
    first = [published([])] if times[0] < 0 else []
    messages = [*first, *[None] * (len(times) - len(first))]
    told = Told()
    receiver = Played(*zip(times, messages, strict=True))
    with pytest.raises(DscsnetError, match=rf"waiting for frames, but nothing came .* {words}"):
        listened(monkeypatch, receiver, told)
    assert next(receiver.told, None) is None  # at the limit itself it still waited


def test_a_stop_counts_before_what_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted):
        listened(monkeypatch, Played((1, END)), Told(), stop=True)


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/readyz"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        yield server.server_port
        thread.join()


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [(200, b"ok\n", "ready"), (503, b"no frames yet\n", "no frames yet")],
)
def test_the_state_of_the_node(status: int, body: bytes, state: str) -> None:
    with answering(status, body) as port:
        assert demo._node_state(port) == state


@pytest.mark.parametrize("answers", [True, False])
def test_a_node_is_asked_for_a_second_at_most_and_left_again(
    monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    asked: list[object] = []

    class Connection:
        def __init__(self, host: str, port: int, timeout: float) -> None:
            asked.append((host, port, timeout))

        def request(self, method: str, path: str) -> None:
            asked.append((method, path))

        def getresponse(self) -> object:
            if answers:
                return SimpleNamespace(status=200, read=lambda: b"ok")
            raise http.client.RemoteDisconnected

        def close(self) -> None:
            asked.append("closed")

    monkeypatch.setattr(http.client, "HTTPConnection", Connection)
    assert demo._node_state(4004) == ("ready" if answers else "starting")
    assert asked == [("127.0.0.1", 4004, 1), ("GET", "/readyz"), "closed"]


def test_a_node_that_cannot_be_asked_is_starting() -> None:
    assert demo._node_state(free_ports(1)[0]) == "starting"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    configs = make_configs(settings_for(tmp_path), [1, 2, 3, 4])
    with pytest.raises(DscsnetError, match=r"file/out: cannot be made a folder: "):
        demo._write_configs(tmp_path / "file" / "out", configs)
    (tmp_path / "node.yaml").mkdir()
    with pytest.raises(DscsnetError, match=r"node\.yaml: cannot be written: "):
        demo._write_configs(tmp_path, configs)


class PlayedPrograms:
    """What is started, waited for and stopped, in order."""

    deeds: list[tuple[str, ...]]

    def __init__(self, folder: Path) -> None:
        type(self).deeds = [("in", str(folder))]

    def __enter__(self) -> "PlayedPrograms":
        return self

    def __exit__(self, *_: object) -> None: ...
    def start(self, *given: str) -> None:
        self.deeds.append(given)

    def wait(self, name: str) -> None:
        self.deeds.append(("wait", name))

    def stop(self) -> None:
        self.deeds.append(("stop",))


class PlayedReceiver(Healthy):
    """Keeps the channel that is listened to."""

    channel: Channel

    def __init__(self, channel: Channel, kinds: tuple[str, ...]) -> None:
        assert kinds == ("targets", "end")
        type(self).channel = channel

    def __enter__(self) -> "PlayedReceiver":
        return self

    def __exit__(self, *_: object) -> None: ...


def test_a_run_from_its_start_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: Answer
) -> None:
    answers = [published([], frame_id=k) for k in range(2)]
    monkeypatch.setattr(demo, "Programs", PlayedPrograms)
    monkeypatch.setattr(demo, "Receiver", PlayedReceiver)
    monkeypatch.setattr(demo, "free_ports", lambda number, host: [4001, 4002, 4003, 4004][:number])
    monkeypatch.setattr(demo, "_listen", lambda *given: (answers, given[2] / 1000))
    settings, told = settings_for(tmp_path), Told()
    settings.truth.write_text("")
    run = demo.run_demo(settings, told, threading.Event())
    assert run.answers is answers
    assert (run.truth, run.seconds, run.scene.seed) == ([], 4.004, 3)
    assert len(settings.targets.read_text().splitlines()) == 2
    assert told.phases == ["starting simulator, detector and node", "stopping all three"]
    started = [(name, module) for name, module, *_ in PlayedPrograms.deeds[1:4]]
    assert started == [
        ("node", "dscsnet.pipeline"),
        ("detector", "dscsnet.detector_stub"),
        ("simulator", "dscsnet.detector_stub"),
    ]
    for (_, _, command, option, file), name in zip(
        PlayedPrograms.deeds[1:4], ("node", "detector", "simulate"), strict=True
    ):
        assert (command, option) == (name, "-c")
        assert Path(file).read_text().startswith("# Written by dscsnet demo")
    assert PlayedPrograms.deeds[4:] == [("wait", "simulator"), ("stop",)]
    # More than the frames of any demo, so that no answer is lost while this process is busy.
    channel = PlayedReceiver.channel
    assert (channel.endpoint, channel.bind) == ("tcp://127.0.0.1:4003", False)
    assert channel.high_water_mark == 10_000
