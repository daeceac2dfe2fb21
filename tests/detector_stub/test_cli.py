import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dscsnet.detector_stub.cli import app, stop_on_signals

RANDOM_PORTS = """
frames: {endpoint: "tcp://127.0.0.1:*", bind: true}
detections: {endpoint: "tcp://127.0.0.1:*", bind: true}
wait_timeout_s: 0
"""


@pytest.mark.parametrize("command", ["detector", "simulate"])
def test_errors_are_one_line_and_exit_1(tmp_path: Path, command: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("mode: quick")
    result = CliRunner().invoke(app, [command, "-c", str(path)])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"dscsnet: {path}: mode: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["detector"], ["simulate", "-c", "x", "--log-level", "no"]])
def test_wrong_use_exits_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_a_short_run_ends_by_itself_with_its_truth(tmp_path: Path) -> None:
    path, truth = tmp_path / "scene.yaml", tmp_path / "truth.jsonl"
    scene = "scene: {width: 64, height: 48, clouds: {texture_size: 64}}"
    path.write_text(f"{RANDOM_PORTS}\nframe_count: 3\nrate_hz: null\ntruth: {truth}\n{scene}")
    assert CliRunner().invoke(app, ["simulate", "-c", str(path)]).exit_code == 0
    assert len(truth.read_text().splitlines()) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("command", "event"), [("detector", "detector_ready"), ("simulate", "detections_ready")]
)
def test_signals_end_it_with_exit_0(
    tmp_path: Path, command: str, event: str, number: signal.Signals
) -> None:
    path = tmp_path / "given.yaml"
    path.write_text(RANDOM_PORTS)
    arguments = [sys.executable, "-m", "dscsnet.detector_stub", command, "-c", str(path)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if event in line:
                process.send_signal(number)
        assert process.wait(60) == 0
    assert "_stopped" in lines[-1]


def test_signal_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.wait(60)
    assert signal.getsignal(signal.SIGTERM) is before


def test_opencv_leaves_the_cores_to_the_node_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr("cv2.setNumThreads", told.append)
    path = tmp_path / "wrong.yaml"
    path.write_text("mode: quick")
    CliRunner().invoke(app, ["detector", "-c", str(path)])
    assert told == [1]
