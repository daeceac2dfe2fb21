"""The demo: its configurations, a whole short run, and what happens when a part fails."""

import json
import socket
import threading
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from dscsnet.detector_stub.config import DetectorConfig, SimulatorConfig
from dscsnet.engines.errors import ModelError
from dscsnet.pipeline.config import EngineSettings, NodeConfig, load_config
from dscsnet.pipeline.yaml_file import read_yaml
from dscsnet.tools.cli import new_cli
from dscsnet.tools.demo import run as demo
from dscsnet.tools.demo.run import DemoSettings, Interrupted, make_configs, run_demo
from dscsnet.tools.host.processes import ProgramError, free_ports


class Silent:
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.frames = 0

    def phase(self, text: str) -> None:
        self.phases.append(text)

    def answered(self, frames: int) -> None:
        self.frames = frames


def settings_for(output: Path, frames: int = 10) -> DemoSettings:
    return DemoSettings(output, frames, 50.0, 3, "scene-compact")


def test_the_configurations_fit_together(tmp_path: Path) -> None:
    configs = make_configs(settings_for(tmp_path), [4001, 4002, 4003, 4004])
    node = configs.node
    for ends in (
        (configs.simulator.frames, configs.detector.frames, node.inputs.frames),
        (configs.detector.detections, node.inputs.detections),
    ):
        assert len({(end.endpoint, end.kind) for end in ends}) == 1
        assert [end.bind for end in ends] == [True] + [False] * (len(ends) - 1)
    assert node.output.targets.endpoint == "tcp://127.0.0.1:4003"
    assert node.http.port == 4004


def test_a_model_that_is_not_there_is_said_before_anything_starts(tmp_path: Path) -> None:
    settings = DemoSettings(tmp_path / "new", 10, 50.0, 3, "no-such-model")
    with pytest.raises(ModelError, match="no-such-model"):
        run_demo(settings, Silent(), threading.Event())
    assert not (tmp_path / "new").exists()


def test_a_short_run_from_the_command_line(tmp_path: Path) -> None:
    output = tmp_path / "out"
    result = CliRunner().invoke(
        new_cli(), ["demo", "--frames", "12", "--rate", "50", "--output", str(output)]
    )
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "12 published, each answered exactly once, in order (ok 12)" in text
    assert EngineSettings().model in text
    truth = [json.loads(line) for line in (output / "truth.jsonl").read_text().splitlines()]
    answers = [json.loads(line) for line in (output / "targets.jsonl").read_text().splitlines()]
    assert [line["frame_id"] for line in truth] == list(range(12))
    assert [line["frame_id"] for line in answers] == list(range(12))
    number = sum(len(line["targets"]["x"]) for line in truth)
    assert f"{number} true" in text
    picture = cv2.imread(str(output / "demo.png"))
    assert picture.shape[1] > 1800
    # What was written can be used again, as it is.
    assert read_yaml(output / "simulator.yaml", SimulatorConfig).frame_count == 12
    assert read_yaml(output / "detector.yaml", DetectorConfig).mode == "lossless"
    assert isinstance(load_config(output / "node.yaml"), NodeConfig)
    for name in ("simulator", "detector", "node"):
        assert "Traceback" not in (output / f"{name}.log").read_text()


def test_a_part_that_fails_is_named_and_the_others_are_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = free_ports(4)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[1]))
        taken.listen()
        monkeypatch.setattr(demo, "free_ports", lambda count, host: ports)
        with pytest.raises(ProgramError) as caught:
            run_demo(settings_for(tmp_path), Silent(), threading.Event())
    first, *last = str(caught.value).splitlines()
    assert first.startswith("the detector ended early with exit code 1")
    assert "in use" in last[-1]


def test_an_interrupt_stops_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    stop.set()
    progress = Silent()
    with pytest.raises(Interrupted):
        run_demo(settings_for(tmp_path), progress, stop)
    assert progress.frames == 0
    # The ports are free again, so that nobody is left who holds them.
    frames = read_yaml(tmp_path / "simulator.yaml", SimulatorConfig).frames.endpoint
    with socket.socket() as each:
        each.bind(("127.0.0.1", int(frames.rpartition(":")[2])))


def test_a_node_that_says_nothing_is_reported_with_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "START_S", 0.5)
    with pytest.raises(ProgramError, match=r"the node is .*, but nothing came from it for"):
        run_demo(settings_for(tmp_path), Silent(), threading.Event())
