from pathlib import Path

import pytest

from dscsnet.detector_stub.config import DetectorConfig, SimulatorConfig, SpotSettings
from dscsnet.pipeline.errors import ConfigError
from dscsnet.pipeline.sockets import Channel
from dscsnet.pipeline.yaml_file import read_yaml

CONFIGS = Path(__file__).parents[2] / "configs"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "given.yaml"
    path.write_text(text)
    return path


def test_shipped_files_are_the_defaults() -> None:
    assert read_yaml(CONFIGS / "detector.yaml", DetectorConfig) == DetectorConfig()
    shipped = read_yaml(CONFIGS / "scene.yaml", SimulatorConfig)
    assert shipped.wait_subscribers == 2
    assert shipped.scene == SimulatorConfig().scene
    assert shipped.frames == SimulatorConfig().frames


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert read_yaml(written(tmp_path, ""), DetectorConfig) == DetectorConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("spots: {threshold: fast}", "given.yaml: spots.threshold: "),
        ("spots: {threshold: -2}", "given.yaml: spots.threshold: "),
        ("spots: {threshold: -2}", ", got -2"),
        ("spots: {treshold: 5}", "given.yaml: spots: "),
        ("spots: {treshold: 5}", "treshold"),
        ("spots: {ring_size: 20}", "spots: ring_size must be odd, got 20"),
        ("spots: {ring_size: 7}", "guard_size must be below ring_size, got guard 9 and ring 7"),
        ("frames: {endpoint: 'udp://x', bind: true}", "frames: endpoint: expected tcp://"),
        ("mode: fast", "given.yaml: mode: "),
        ("mode: fast", "fast"),
        ("[1", "given.yaml: line 2, column 1: "),
        ("- 1", "given.yaml: "),
        ("mode: live\nmode: lossless", 'line 2, column 1: the key "mode" is there twice'),
    ],
)
def test_errors_are_one_line_that_names_the_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_yaml(written(tmp_path, text), DetectorConfig)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    # The value stands in it once, whether the message of the check names it or not.
    assert str(caught.value).count(", got ") <= 1
    assert str(caught.value).count("'fast'") <= 1


def test_a_channel_given_in_part_keeps_the_default_of_the_rest(tmp_path: Path) -> None:
    path = written(tmp_path, "detections: {endpoint: 'tcp://127.0.0.1:7'}")
    config = read_yaml(path, DetectorConfig)
    assert config.detections == Channel("tcp://127.0.0.1:7", bind=True, high_water_mark=256)
    with pytest.raises(ConfigError, match=r"detections: .*endpoint"):
        read_yaml(written(tmp_path, "detections: {bind: true}"), SimulatorConfig)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read: "):
        read_yaml("nowhere.yaml", SimulatorConfig)


def test_windows_are_checked_in_python_too() -> None:
    with pytest.raises(ValueError, match="guard_size must be odd, got 8"):
        SpotSettings(guard_size=8)


def test_windows_are_allowed_up_to_one_another() -> None:
    assert SpotSettings(guard_size=19, ring_size=21).guard_size == 19
    with pytest.raises(ValueError, match="guard_size must be below ring_size, got guard 21"):
        SpotSettings(guard_size=21, ring_size=21)
