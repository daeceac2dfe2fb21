"""Bounds of every setting from both sides, and what holds where nothing is said."""

from typing import Any

import msgspec
import pytest

from dscsnet.detector_stub.config import (
    DetectorConfig,
    FaultSettings,
    SimulatorConfig,
    SpotSettings,
)
from dscsnet.detector_stub.scene_config import (
    CloudSettings,
    ClusterSettings,
    SceneConfig,
    SensorSettings,
    SkySettings,
)

#: Of each setting what is just allowed, and what is not.
BOUNDS: list[tuple[type[msgspec.Struct], str, list[float], list[float]]] = [
    (SkySettings, "top", [0], [-1e-9]),
    (SkySettings, "bottom", [0], [-1e-9]),
    (SkySettings, "exponent", [1e-9], [0]),
    (CloudSettings, "contrast", [0], [-1e-9]),
    (CloudSettings, "exponent", [0, 5], [-1e-9, 5.001]),
    (CloudSettings, "texture_size", [16, 8192], [15, 8193]),
    (SensorSettings, "bits", [8, 16], [7, 17]),
    (SensorSettings, "read_noise", [0], [-1e-9]),
    (SensorSettings, "electrons_per_count", [1e-9], [0]),
    (SensorSettings, "offset_sigma", [0], [-1e-9]),
    (SensorSettings, "column_sigma", [0], [-1e-9]),
    (SensorSettings, "gain_sigma", [0, 0.499], [-1e-9, 0.5]),
    (SensorSettings, "dead_pixels", [0], [-1]),
    (SensorSettings, "hot_pixels", [0], [-1]),
    (ClusterSettings, "count", [0, 10_000], [-1, 10_001]),
    (ClusterSettings, "min_members", [1], [0]),
    (ClusterSettings, "max_members", [1, 100], [0, 101]),
    (ClusterSettings, "psf_sigma_x", [1e-9, 10], [0, 10.001]),
    (ClusterSettings, "psf_sigma_y", [1e-9, 10], [0, 10.001]),
    (ClusterSettings, "min_separation", [0], [-1e-9]),
    (ClusterSettings, "radius", [0], [-1e-9]),
    (ClusterSettings, "min_peak_snr", [1e-9], [0]),
    (ClusterSettings, "max_peak_snr", [20.0], [0]),
    (ClusterSettings, "brightness_ratio", [1], [0.999]),
    (ClusterSettings, "min_speed", [0], [-1e-9]),
    (ClusterSettings, "max_speed", [0.1], [-1e-9]),
    (ClusterSettings, "rotation", [0], [-1e-9]),
    (ClusterSettings, "breathing", [0], [-1e-9]),
    (ClusterSettings, "breathing_period", [1e-9], [0]),
    (ClusterSettings, "margin", [0], [-1e-9]),
    (SceneConfig, "width", [26, 16384], [15, 16385]),
    (SceneConfig, "height", [26, 16384], [15, 16385]),
    (SceneConfig, "seed", [0], [-1]),
    (SpotSettings, "psf_sigma", [1e-9, 10], [0, 10.001]),
    (SpotSettings, "tophat_size", [3, 99], [1, 101]),
    (SpotSettings, "threshold", [1e-9], [0]),
    (SpotSettings, "guard_size", [1], [-1, 257]),
    (SpotSettings, "ring_size", [11, 511], [1, 513]),
    (SpotSettings, "noise_tile", [2, 64], [1, 65]),
    (SpotSettings, "noise_floor", [0, 1], [-1e-9, 1.001]),
    (SpotSettings, "object_contrast", [1e-9], [0]),
    (SpotSettings, "max_size", [1], [0]),
    (SpotSettings, "link_gap", [0, 64], [-1, 65]),
    (SpotSettings, "border", [0], [-1]),
    (SpotSettings, "max_candidates", [1, 10_000], [0, 10_001]),
    (DetectorConfig, "max_waiting", [1, 1000], [0, 1001]),
    (DetectorConfig, "wait_subscribers", [0], [-1]),
    (DetectorConfig, "wait_timeout_s", [0], [-1e-9]),
    (DetectorConfig, "report_interval_s", [1e-9], [0]),
    (FaultSettings, "jitter_px", [0], [-1e-9]),
    (FaultSettings, "miss_probability", [0, 1], [-1e-9, 1.001]),
    (FaultSettings, "false_alarms_per_frame", [0, 1000], [-1e-9, 1000.1]),
    (FaultSettings, "delay_ms", [0], [-1e-9]),
    (SimulatorConfig, "rate_hz", [1e-9, 10_000], [0, 10_001]),
    (SimulatorConfig, "first_frame", [0], [-1]),
    (SimulatorConfig, "frame_count", [1], [0]),
    (SimulatorConfig, "wait_subscribers", [0], [-1]),
    (SimulatorConfig, "wait_timeout_s", [0], [-1e-9]),
    (SimulatorConfig, "report_interval_s", [1e-9], [0]),
]


@pytest.mark.parametrize(
    ("kind", "name", "allowed", "beyond"), BOUNDS, ids=lambda each: getattr(each, "__name__", None)
)
def test_bounds(
    kind: type[msgspec.Struct], name: str, allowed: list[float], beyond: list[float]
) -> None:
    for value in allowed:
        assert getattr(msgspec.convert({name: value}, kind), name) == value
    for value in beyond:
        with pytest.raises(msgspec.ValidationError, match=rf"\$\.{name}"):
            msgspec.convert({name: value}, kind)


def test_a_guard_goes_up_to_255() -> None:
    given = {"guard_size": 255, "ring_size": 257}
    assert msgspec.convert(given, SpotSettings).guard_size == 255


def test_every_number_among_the_settings_is_bounded_here_or_free() -> None:
    free = {"drift_x", "drift_y"}
    seen = {(kind, name) for kind, name, _, _ in BOUNDS}
    for kind in {kind for kind, *_ in BOUNDS}:
        for field in msgspec.structs.fields(kind):
            number = isinstance(field.default, int | float) and not isinstance(field.default, bool)
            assert not number or (kind, field.name) in seen or field.name in free, field.name


DEFAULTS: dict[type[msgspec.Struct], dict[str, Any]] = {
    SimulatorConfig: {
        **{"stream": "cam0", "mode": "live", "rate_hz": 50.0, "first_frame": 0},
        **{"frame_count": None, "wait_subscribers": 1, "wait_timeout_s": 10.0, "truth": None},
        **{"report_interval_s": 5.0, "detections": None, "faults": FaultSettings()},
    },
    FaultSettings: {
        **{"jitter_px": 0.0, "miss_probability": 0.0, "false_alarms_per_frame": 0.0},
        **{"delay_ms": 0.0},
    },
    DetectorConfig: {
        **{"streams": (), "mode": "live", "max_waiting": 4, "wait_subscribers": 1},
        **{"wait_timeout_s": 5.0, "exit_on_end": False, "bad_pixels": None},
        **{"report_interval_s": 5.0},
    },
}


@pytest.mark.parametrize("kind", DEFAULTS, ids=lambda kind: kind.__name__)
def test_defaults(kind: type[msgspec.Struct]) -> None:
    for name, value in DEFAULTS[kind].items():
        assert getattr(kind(), name) == value, name


@pytest.mark.parametrize("name", ["members", "peak_snr", "speed"])
def test_a_range_may_be_one_value_and_must_not_run_downwards(name: str) -> None:
    ClusterSettings(**{f"min_{name}": 3, f"max_{name}": 3})
    with pytest.raises(ValueError, match=f"min_{name} must not be above max_{name}, got 4 and 3"):
        ClusterSettings(**{f"min_{name}": 4, f"max_{name}": 3})


@pytest.mark.parametrize(("width", "height"), [(64, 40), (40, 64)])
def test_clusters_need_room_inside_of_the_margin(width: int, height: int) -> None:
    def scene(margin: float, motion: Any = "bounce") -> SceneConfig:
        clusters = ClusterSettings(margin=margin, motion=motion)
        return SceneConfig(width=width, height=height, clusters=clusters)

    scene(19.4)
    for margin in (19.5, 30):
        with pytest.raises(ValueError, match=r"clusters.margin must be below 19\.5"):
            scene(margin)
        scene(margin, "reenter")


def test_there_are_no_more_blemishes_than_pixels() -> None:
    def scene(dead: int, hot: int) -> SceneConfig:
        sensor = SensorSettings(dead_pixels=dead, hot_pixels=hot)
        return SceneConfig(width=40, height=30, sensor=sensor)

    scene(1000, 200)
    with pytest.raises(ValueError, match="1201 dead and hot pixels"):
        scene(1000, 201)
