"""What the node's engine is opened with, and what is said of it."""

import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dscsnet.engines.errors import ModelError
from dscsnet.engines.noise_model import NoiseModel
from dscsnet.engines.psf_fit_settings import PsfFitSettings
from dscsnet.engines.runtimes import RuntimeOptions
from dscsnet.engines.sensor import Sensor
from dscsnet.pipeline.config import EngineSettings
from dscsnet.pipeline.worker import engine_loading as module


class Played:
    """An engine that notes what is done to it."""

    name, runtime_name, sha256, psf = "played", "none", "ab", (0.4, 0.9)

    def __init__(self) -> None:
        self.did: list[str] = []
        self.fails = False

    def check(self) -> None:
        self.did.append("check")
        if self.fails:
            raise ModelError("it is wrong")

    def close(self) -> None:
        self.did.append("close")


@pytest.fixture(name="opened")
def _opened(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The engine, and what it was opened with."""
    opened = SimpleNamespace(engine=Played(), given=None)

    def open_engine(*given: Any, **more: Any) -> Any:
        opened.given = (given, more)
        return opened.engine

    monkeypatch.setattr(module, "open_engine", open_engine)
    return opened


def test_every_setting_is_passed_on(opened: SimpleNamespace) -> None:
    fit = PsfFitSettings(seed=4)
    settings = EngineSettings(
        model="psf-fit", runtime="onnxruntime", threads=3, psf_fit=fit, device=1,
        precision="fp32", cache="/somewhere", least_existence=0.25,
    )  # fmt: skip
    assert module.load_engine(settings) is opened.engine
    options = RuntimeOptions(device=1, precision="fp32", cache=Path("/somewhere"))
    assert opened.given == (
        ("psf-fit", "onnxruntime"),
        {
            **{"threads": 3, "sensor": None, "psf_fit": fit, "least_existence": 0.25},
            **{"noise_model": NoiseModel(), "options": options},
        },
    )
    assert opened.engine.did == ["check"]
    module.load_engine(EngineSettings(psf_sigma=0.6))
    assert opened.given[1]["sensor"].psf == (0.6, 0.6)
    assert opened.given[1]["options"] == RuntimeOptions()


def test_the_sensor_is_as_the_settings_state_it(tmp_path: Path) -> None:
    def stated(**settings: Any) -> Sensor:
        sensor = module.sensor_of(EngineSettings(**settings))
        assert sensor is not None
        return sensor

    assert module.sensor_of(EngineSettings(gain=2.0)) is None
    assert stated(psf_sigma=0.6).psf == (0.6, 0.6)
    assert stated(psf_sigma=[0.6, 0.7]).psf == (0.6, 0.7)
    turned = stated(psf_ellipse=(0.8, 0.6, 30.0))
    assert turned.is_tabled
    assert turned.covariance_xy == pytest.approx(0.28 * math.sin(math.radians(60)) / 2)
    axis = np.arange(-16, 17) / 4
    np.save(tmp_path / "psf.npy", np.exp(-0.5 * ((axis[:, None] / 0.6) ** 2 + (axis / 0.8) ** 2)))
    sampled = stated(psf_file=str(tmp_path / "psf.npy"), psf_oversampling=4)
    assert sampled.is_tabled
    assert sampled.psf == pytest.approx((0.8, 0.6), rel=1e-3)
    for psf in ({"psf_sigma": 0.6}, {"psf_ellipse": (0.8, 0.6, 30.0)}):
        noise = stated(**psf, gain=2.0, psf_error=0.01).noise_model
        assert noise == NoiseModel(2.0, 0.01)
    assert module.noise_model_of(EngineSettings()) == NoiseModel(math.inf, 1e-3)


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        (EngineSettings(), True),
        (EngineSettings(psf_sigma=0.6), False),
        (EngineSettings(psf_ellipse=(0.8, 0.6, 0.0)), False),
        (EngineSettings(model="psf-fit", psf_fit=PsfFitSettings()), False),
    ],
)
@pytest.mark.usefixtures("opened")
def test_a_psf_that_is_not_told_is_assumed_and_said(
    settings: EngineSettings, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    module.load_engine(settings)
    assert ("engine.psf_sigma is not set: 0.4 px is assumed" in caplog.text) == warned


@pytest.mark.parametrize(("kind", "warned"), [("fixed", True), ("rms", False), ("peak", False)])
def test_of_a_network_that_is_not_scale_free_is_warned(
    opened: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    warned: bool,
) -> None:
    monkeypatch.setattr(module, "ModelEngine", Played)
    opened.engine.model = SimpleNamespace(card=SimpleNamespace(normalisation=kind))
    module.load_engine(EngineSettings(psf_sigma=0.6))
    assert ("played is not scale-free" in caplog.text) == warned


def test_an_engine_that_fails_its_check_is_closed(opened: SimpleNamespace) -> None:
    opened.engine.fails = True
    with pytest.raises(ModelError, match=r"^it is wrong$"):
        module.load_engine(EngineSettings(psf_sigma=0.6))
    assert opened.engine.did == ["check", "close"]


def test_what_cannot_be_opened_is_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_engine(*_: object, **__: object) -> None:
        raise ModelError("not there")

    monkeypatch.setattr(module, "open_engine", open_engine)
    with pytest.raises(ModelError, match=r"^engine: not there$"):
        module.load_engine(EngineSettings())


def test_what_messages_say_of_an_engine() -> None:
    engine: Any = Played()
    found = module.engine_info(engine)
    assert (found.runtime, found.model, found.sha256) == ("none", "played", "ab")
    assert found.psf_sigma == pytest.approx(0.6)  # the geometric mean of 0.4 and 0.9
    assert module.fallbacks(engine) == ()


@pytest.mark.parametrize(
    ("workers", "cores", "threads", "on_gpu", "expected"),
    [
        (0, 4, 0, False, [1] * 4),
        (0, 1, 0, False, [1]),
        (0, 20, 0, False, [2] * 8),
        (2, 4, 0, False, [2] * 2),
        (2, 1, 0, False, [1] * 2),
        (3, 4, 5, False, [5] * 3),
        (0, 4, 0, True, [1]),
        (2, 4, 0, True, [2] * 2),
    ],
)
def test_each_worker_has_an_engine_and_its_share_of_the_cores(
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    cores: int,
    threads: int,
    on_gpu: bool,
    expected: list[int],
) -> None:
    made: list[tuple[str, int]] = []

    def open_engine(_: str, runtime: str, threads: int, **more: Any) -> Any:
        made.append((runtime, threads))
        engine = Played()
        engine.on_gpu, engine.runtime_name = on_gpu, "torch 1.0 somewhere"  # type: ignore[attr-defined]
        return engine

    monkeypatch.setattr(module, "open_engine", open_engine)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores))
    engines = module.load_engines(EngineSettings(psf_sigma=0.5, threads=threads), workers)
    assert [engine.did for engine in engines] == [["check"]] * len(expected)  # type: ignore[attr-defined]
    # What the first one was given in the end, the others are given at once.
    runtimes = ["auto"] + ["torch"] * (len(expected) - 1)
    assert made == list(zip(runtimes, expected, strict=True))


def test_where_one_of_several_engines_fails_all_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engines = [Played() for _ in range(3)]
    for engine in engines:
        engine.on_gpu = False  # type: ignore[attr-defined]
    engines[2].fails = True
    left = iter(engines)
    monkeypatch.setattr(module, "open_engine", lambda *_, **__: next(left))
    with pytest.raises(ModelError, match="it is wrong"):
        module.load_engines(EngineSettings(psf_sigma=0.5), 3)
    assert [engine.did for engine in engines] == [["check", "close"]] * 3
