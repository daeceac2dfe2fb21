"""The main job in one go: a simulated scene, a detector and a node, and what comes out of them.

Simulator, detector and node are processes of their own, started in any order: the frames' publisher
awaits its two subscribers, the detector the node, and the node this process, which listens.
"""

import http.client
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from dscsnet.detector_stub.config import DetectorConfig, SimulatorConfig
from dscsnet.detector_stub.scene_config import ClusterSettings, SceneConfig
from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.model import load_model, shipped_models
from dscsnet.engines.psf_fit_settings import PSF_FIT
from dscsnet.pipeline.config import EngineSettings, Http, Inputs, Join, NodeConfig, Output, Overload
from dscsnet.pipeline.listen import json_line
from dscsnet.pipeline.messages import End, Targets
from dscsnet.pipeline.sockets import Channel, Receiver
from dscsnet.tools.demo.scene_truth import TrueFrame, read_truth
from dscsnet.tools.host.processes import Programs, free_ports

HOST = "127.0.0.1"
CLUSTERS = 15
POLL_MS = 100
#: The very first start compiles the numerical loops, for half a minute on a slow core.
START_S = 180.0
SILENCE_S = 20.0


class Interrupted(Exception):
    """Ctrl-C or SIGTERM came; everything is stopped."""


class Progress(Protocol):
    """Shows how far the demo is."""

    def phase(self, text: str) -> None:
        """Take what is being done now; may be the same as before."""

    def answered(self, frames: int) -> None:
        """Take the number of frames answered."""


@dataclass(frozen=True)
class DemoSettings:
    """What the user can choose.

    Attributes:
        output: folder for everything that is written.
        frames: number of frames.
        rate_hz: frames a second.
        seed: of the scene.
        model: name of a shipped model, or a model folder.
    """

    output: Path
    frames: int
    rate_hz: float
    seed: int
    model: str

    @property
    def truth(self) -> Path:
        """The simulator's truth file."""
        return self.output / "truth.jsonl"

    @property
    def targets(self) -> Path:
        """What the node published, one JSON object a line."""
        return self.output / "targets.jsonl"

    @property
    def picture(self) -> Path:
        """The picture."""
        return self.output / "demo.png"


@dataclass(frozen=True)
class DemoRun:
    """What came of it.

    Attributes:
        truth: of each frame, in the order of publication.
        answers: of the node, in the order of arrival.
        scene: the settings of the scene, from which any frame can be rendered again.
        seconds: from the first answer to the last.
    """

    truth: list[TrueFrame]
    answers: list[Targets]
    scene: SceneConfig
    seconds: float


@dataclass(frozen=True)
class Configs:
    """Configurations of the three programs, which fit together."""

    simulator: SimulatorConfig
    detector: DetectorConfig
    node: NodeConfig


def make_configs(settings: DemoSettings, ports: list[int]) -> Configs:
    """Return the configurations, on four ports of this machine.

    All three are lossless, and the node awaits detections for as long as it may take: a machine
    too busy for the rate gets the same frames through, only later.
    """
    frames, detections, targets = (f"tcp://{HOST}:{port}" for port in ports[:3])
    return Configs(
        SimulatorConfig(
            frames=Channel(frames, bind=True, high_water_mark=16),
            mode="lossless",
            rate_hz=settings.rate_hz,
            frame_count=settings.frames,
            wait_subscribers=2,
            wait_timeout_s=START_S,
            truth=str(settings.truth.resolve()),
            scene=SceneConfig(seed=settings.seed, clusters=ClusterSettings(count=CLUSTERS)),
        ),
        DetectorConfig(
            frames=Channel(frames, bind=False),
            detections=Channel(detections, bind=True, high_water_mark=256),
            mode="lossless",
            wait_timeout_s=START_S,
        ),
        NodeConfig(
            inputs=Inputs(
                frames=Channel(frames, bind=False, high_water_mark=16),
                detections=Channel(detections, bind=False, high_water_mark=256),
            ),
            output=Output(
                targets=Channel(targets, bind=True, high_water_mark=1000), wait_s=START_S
            ),
            join=Join(timeout_ms=1000 * SILENCE_S),
            overload=Overload(mode="lossless"),
            # One thread: the other cores are the simulator's and the detector's.
            engine=EngineSettings(
                model=_resolved(settings.model), threads=1, psf_sigma=ClusterSettings().psf_sigma_x
            ),
            http=Http(port=ports[3]),
        ),
    )


def _resolved(model: str) -> str:
    """A model folder by its full path, so that the written configuration works from anywhere."""
    if model in (*shipped_models(), PSF_FIT):
        return model
    return str(load_model(model).folder.resolve())


def run_demo(settings: DemoSettings, progress: Progress, stop: threading.Event) -> DemoRun:
    """Run the chain on a simulated scene until its end, and stop every part of it.

    Args:
        settings: what the user chose.
        progress: is told how far it is.
        stop: ends the run when set.

    Raises:
        DscsnetError: the folder cannot be written, the model is not there, or a process failed.
        Interrupted: `stop` was set.
    """
    configs = make_configs(settings, free_ports(4, HOST))
    _write_configs(settings.output, configs)
    listener = Channel(configs.node.output.targets.endpoint, bind=False, high_water_mark=10_000)
    with (
        Receiver(listener, kinds=("targets", "end")) as receiver,
        Programs(settings.output) as programs,
    ):
        progress.phase("starting simulator, detector and node")
        for name, module, command in (
            ("node", "dscsnet.pipeline", "node"),
            ("detector", "dscsnet.detector_stub", "detector"),
            ("simulator", "dscsnet.detector_stub", "simulate"),
        ):
            file = settings.output / f"{name}.yaml"
            programs.start(name, module, command, "-c", str(file))
        answers, seconds = _listen(receiver, programs, configs.node.http.port, progress, stop)
        progress.phase("stopping all three")
        # The simulator has ended the stream, so it ends by itself; the truth is complete then.
        programs.wait("simulator")
        programs.stop()
    truth = read_truth(settings.truth)
    _write(settings.targets, "".join(f"{json_line(answer)}\n" for answer in answers))
    return DemoRun(truth, answers, configs.simulator.scene, seconds)


def _write_configs(output: Path, configs: Configs) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DscsnetError(f"{output}: cannot be made a folder: {error.strerror}") from None
    for name, command, config in (
        ("simulator", "simulate", configs.simulator),
        ("detector", "detector", configs.detector),
        ("node", "node", configs.node),
    ):
        file = output / f"{name}.yaml"
        head = f"# Written by dscsnet demo; to run it alone: dscsnet {command} -c {file}\n"
        _write(file, head + msgspec.yaml.encode(config).decode())


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise DscsnetError(f"{path}: cannot be written: {error.strerror}") from None


def _listen(
    receiver: Receiver,
    programs: Programs,
    http_port: int,
    progress: Progress,
    stop: threading.Event,
) -> tuple[list[Targets], float]:
    """Collect answers until the end of the stream; also the seconds from the first to the last."""
    answers: list[Targets] = []
    first = heard = time.monotonic()
    while True:
        message = receiver.receive(POLL_MS)
        if stop.is_set():
            raise Interrupted
        now = time.monotonic()
        if isinstance(message, End):
            return answers, heard - first
        programs.check(may_end=("simulator",))
        if isinstance(message, Targets):
            answers.append(message)
            first, heard = (first if len(answers) > 1 else now), now
            progress.answered(len(answers))
        elif now - heard > (SILENCE_S if answers else START_S):
            raise _silence(programs, now - heard, http_port, len(answers))
        elif not answers:
            progress.phase(f"the node is {_node_state(http_port)}")


def _silence(programs: Programs, seconds: float, http_port: int, answers: int) -> DscsnetError:
    state = f"is {_node_state(http_port)}"
    return programs.failure(
        "node", f"{state}, but nothing came from it for {seconds:.0f} s after {answers} answers"
    )


def _node_state(http_port: int) -> str:
    """What the node says of itself on /readyz: `ready`, or why it is not."""
    connection = http.client.HTTPConnection(HOST, http_port, timeout=1)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        reason = response.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException):
        return "starting"
    finally:
        connection.close()
    return "ready" if response.status == http.HTTPStatus.OK else reason
