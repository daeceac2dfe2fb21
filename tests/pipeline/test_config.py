"""Configurations: shipped files hold, mistakes are named with their path."""

import json
from itertools import combinations
from pathlib import Path

import pytest
from msgspec import structs

from dscsnet.detector_stub.config import DetectorConfig
from dscsnet.pipeline.config import (
    STATEMENTS,
    EngineSettings,
    NodeConfig,
    json_schema,
    load_config,
)
from dscsnet.pipeline.errors import ChannelError, ConfigError
from dscsnet.pipeline.sockets import Channel
from dscsnet.pipeline.yaml_file import read_yaml

CONFIGS = Path(__file__).parents[2] / "configs"


def test_node_yaml_shows_the_defaults() -> None:
    assert load_config(CONFIGS / "node.yaml") == NodeConfig()


def test_node_yaml_shows_every_key() -> None:
    text = (CONFIGS / "node.yaml").read_text()
    schema = json.loads(json_schema())
    for part in schema["$defs"].values():
        for key in part.get("properties", {}):
            assert f"{key}:" in text, key


def test_lossless_configuration_is_lossless() -> None:
    config = load_config(CONFIGS / "node-lossless.yaml")
    assert config.overload.mode == "lossless"


@pytest.mark.parametrize("name", ["node", "detector"])
def test_secured_configurations_hold(name: str) -> None:
    path = CONFIGS / "secure" / f"{name}.yaml"
    if name == "node":
        config = load_config(path)
        channels = (config.inputs.frames, config.inputs.detections, config.output.targets)
        plain = NodeConfig()
        former = (plain.inputs.frames, plain.inputs.detections, plain.output.targets)
        assert [c.high_water_mark for c in channels] == [c.high_water_mark for c in former]
    else:
        detector = read_yaml(path, DetectorConfig)
        channels = (detector.frames, detector.detections)
    assert all(channel.curve for channel in channels)


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("{}", {}),
        ("{gain: 2, psf_error: 1}", {"gain": 2.0, "psf_error": 1.0}),
        ("{psf_error: 0}", {"psf_error": 0.0}),
        ("{psf_sigma: 0.5}", {"psf_sigma": 0.5}),
        ("{psf_sigma: [0.5, 0.6]}", {"psf_sigma": [0.5, 0.6]}),
        ("{psf_ellipse: [0.8, 0.6, -30]}", {"psf_ellipse": (0.8, 0.6, -30.0)}),
        (
            "{psf_file: psf.npy, psf_oversampling: 4}",
            {"psf_file": "psf.npy", "psf_oversampling": 4},
        ),
    ],
)
def test_the_psf_is_stated_in_one_of_several_ways(
    tmp_path: Path, text: str, given: dict[str, object]
) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(f"engine: {text}\n")
    engine = load_config(path).engine
    assert engine == EngineSettings(**given)
    assert engine.states_psf == any(name in STATEMENTS for name in given)


@pytest.mark.parametrize(("one", "other"), list(combinations(STATEMENTS, 2)))
def test_the_psf_is_stated_once(tmp_path: Path, one: str, other: str) -> None:
    stated = {
        **{"psf_fit": "{}", "psf_ellipse": "[0.8, 0.6, 30]"},
        **{"psf_file": "a.npy", "psf_sigma": "0.5"},
    }
    path = tmp_path / "node.yaml"
    path.write_text(f"engine: {{model: psf-fit, {other}: {stated[other]}, {one}: {stated[one]}}}")
    with pytest.raises(ConfigError) as error:
        load_config(path)
    words = f"engine.{one} states the PSF: leave out engine.{other}"
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    for text in ("", "# nothing\n"):
        path.write_text(text)
        assert load_config(path) == NodeConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inputs: {frames: {endpoint: nowhere, bind: true}}", "inputs.frames: endpoint: expected"),
        ("name: a\njoin: {}\nname: b", 'line 3, column 1: the key "name" is there twice'),
        ("join: {timeout_ms: .inf}", "line 1, column 20: expected a finite number"),
        ("name: 0x_", 'line 1, column 7: "0x_" is no int'),
        ("- " * 100_000, "line 1, column 65: more than 32 nested lists and maps"),
        ("name: &a [*a]", "line 1, column 7: more than 32 nested lists and maps"),
        ("? [a]\n: b", "line 1, column 3: expected a text as key"),
        ("name: !!python/name:os.system x", "line 1, column 7: the type "),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "key", "named"),
    [
        ("join: {timout_ms: 5}", "join: ", "timout_ms"),
        ("join: {timeout_ms: fast}", "join.timeout_ms: ", "str"),
        ("join: {timeout_ms: -1}", "join.timeout_ms: ", ", got -1"),
        ("overload: {mode: turbo}", "overload.mode: ", "turbo"),
        ("name: a b", "name: ", "{1,64}"),
        ("extra: 1", "", "extra"),
        ("&a a: 1", "", '"a"'),
        ("join: [", "line 2, column 1: ", ""),
        ("engine: {psf_sigma: 0}", "engine.psf_sigma: ", "0.01"),
        ("engine: {psf_sigma: [0.5]}", "engine.psf_sigma: ", ""),
        ("engine: {psf_sigma: [0.5, 0.5, 0.5]}", "engine.psf_sigma: ", ""),
        ("engine: {psf_ellipse: [0.5, 0.6]}", "engine.psf_ellipse: ", "3"),
        ("engine: {psf_ellipse: [0, 0.6, 30]}", "engine.psf_ellipse", "0.01"),
        ("engine: {psf_oversampling: 0}", "engine.psf_oversampling: ", ", got 0"),
        ("engine: {psf_oversampling: 1025}", "engine.psf_oversampling: ", ", got 1025"),
        ("engine: {gain: 0}", "engine.gain: ", "0"),
        ("engine: {gain: -1}", "engine.gain: ", "0"),
        ("engine: {psf_error: -0.001}", "engine.psf_error: ", ", got -0.001"),
        ("engine: {psf_error: 1.001}", "engine.psf_error: ", ", got 1.001"),
    ],
)
def test_mistakes_that_libraries_find_are_named(
    tmp_path: Path, text: str, key: str, named: str
) -> None:
    """The words are msgspec's and libyaml's; key, place and what is wrong must be among them."""
    path = tmp_path / "node.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value).startswith(f"{path}: {key}")
    assert named in str(error.value).removeprefix(f"{path}: {key}")
    assert "\n" not in str(error.value)


def test_a_channel_given_in_part_keeps_the_default_of_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(
        "inputs: {frames: {endpoint: 'tcp://10.0.0.1:7'}}\n"
        "output: {targets: {kind: pushpull}, wait_s: 1}"
    )
    config, default = load_config(path), NodeConfig()
    assert config.inputs.frames == Channel("tcp://10.0.0.1:7", bind=False, high_water_mark=16)
    assert config.inputs.detections == default.inputs.detections
    assert config.output.targets == structs.replace(default.output.targets, kind="pushpull")
    assert config.output.wait_s == 1
    path.write_text("inputs: {frames: {endpont: x}}")
    with pytest.raises(ConfigError, match=r"inputs\.frames: .*endpont"):
        load_config(path)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: "):
        load_config(tmp_path / "none.yaml")
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError):
        load_config(path)


def test_the_schema_describes_every_setting() -> None:
    schema = json.loads(json_schema())
    assert schema["$ref"].endswith("NodeConfig")
    join = schema["$defs"]["Join"]
    assert join["additionalProperties"] is False
    assert join["properties"]["timeout_ms"]["default"] == 50.0
    assert "ms" in join["properties"]["timeout_ms"]["description"]


def test_a_batch_wait_that_would_drop_every_frame_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("batch: {max_delay_ms: 250}")
    with pytest.raises(ConfigError, match=r"batch\.max_delay_ms 250 must be below"):
        load_config(path)
    path.write_text("batch: {max_delay_ms: 250}\noverload: {mode: lossless}")
    assert load_config(path).batch.max_delay_ms == 250


def test_the_fit_without_a_network_takes_its_own_psf(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("engine: {model: psf-fit, psf_fit: {sigma_x: 0.8, sigma_y: 0.5, angle: 30}}")
    settings = load_config(path).engine.psf_fit
    assert settings is not None
    assert (settings.sigma_x, settings.sigma_y, settings.angle) == (0.8, 0.5, 30)
    for text, complaint in (
        ("engine: {psf_fit: {}}", "engine.psf_fit is for the model psf-fit"),
        ("engine: {model: psf-fit, psf_sigma: 0.5, psf_fit: {}}", "leave out engine.psf_sigma"),
        ("engine: {model: psf-fit, psf_fit: {sigma: 1}}", "sigma"),
        ("engine: {model: psf-fit, psf_fit: {sigma_x: -1}}", "sigma_x must be above 0"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=complaint):
            load_config(path)


@pytest.mark.parametrize(
    ("endpoint", "accepted"),
    [
        *(("tcp://127.0.0.1:1", True), ("tcp://127.0.0.1:65535", True), ("tcp://h:*", True)),
        *(("tcp://127.0.0.1:0", False), ("tcp://127.0.0.1:65536", False), ("tcp://:5", False)),
        *(("tcp://h", False), ("tcp://h:x", False), ("ipc://a", True), ("ipc://", False)),
        *(("inproc://a", True), ("inproc://", False), ("udp://h:5", False), ("", False)),
    ],
)
def test_endpoints_have_a_port_or_a_name(endpoint: str, accepted: bool) -> None:
    if accepted:
        assert Channel(endpoint, bind=False).endpoint == endpoint
    else:
        with pytest.raises(ChannelError, match="endpoint: expected"):
            Channel(endpoint, bind=False)


@pytest.mark.parametrize(
    ("mark", "accepted"), [(0, False), (1, True), (1_000_000, True), (1_000_001, False)]
)
def test_the_queue_of_a_channel_is_bounded(mark: int, accepted: bool) -> None:
    if accepted:
        assert Channel("ipc://a", bind=False, high_water_mark=mark).high_water_mark == mark
    else:
        with pytest.raises(ChannelError, match="high_water_mark: expected 1 to 1000000"):
            Channel("ipc://a", bind=False, high_water_mark=mark)


def test_a_wait_for_batches_is_below_the_greatest_age_in_live_mode_only(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    for mode, delay, accepted in (
        *(("live", 199.9, True), ("live", 200, False), ("lossless", 200, True)),
    ):
        path.write_text(
            f"overload: {{mode: {mode}, max_age_ms: 200}}\nbatch: {{max_delay_ms: {delay}}}\n"
        )
        if accepted:
            assert load_config(path).batch.max_delay_ms == delay
        else:
            with pytest.raises(ConfigError, match=r"must be below overload\.max_age_ms"):
                load_config(path)
