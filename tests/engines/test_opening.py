"""What opens engines and runtimes is handed what was asked for."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from dscsnet.engines import model_engine
from dscsnet.engines.errors import ModelError
from dscsnet.engines.model import load_model
from dscsnet.engines.noise_model import NO_LIGHT_NOISE, NoiseModel
from dscsnet.engines.opening import open_engine
from dscsnet.engines.psf_fit_settings import PsfFitSettings
from dscsnet.engines.runtimes import RuntimeOptions, choice
from dscsnet.engines.runtimes.base import Unavailable
from dscsnet.engines.sensor import Sensor

SENSOR = Sensor.gaussian(0.5, 0.6)


def test_a_model_is_opened_with_the_threads_that_were_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(model_engine, "open_model_engine", lambda *a, **k: told.append((a, k)))
    open_engine("some")
    open_engine(
        *("some", "torch"),
        threads=3,
        sensor=SENSOR,
        noise_model=NO_LIGHT_NOISE,
        least_existence=0.1,
        options=RuntimeOptions(threads=7, device=2, precision="fp32"),
    )
    (first, defaults), (second, given) = told
    assert (first, second) == (("some", "auto"), ("some", "torch"))
    nothing = dict.fromkeys(("sensor", "noise_model", "least_existence"))
    assert defaults == nothing | {"options": RuntimeOptions()}
    assert given["options"] == RuntimeOptions(threads=3, device=2, precision="fp32")
    assert (given["sensor"], given["noise_model"]) == (SENSOR, NO_LIGHT_NOISE)
    assert given["least_existence"] == 0.1


def test_the_fit_takes_its_settings_before_a_width() -> None:
    assert open_engine("psf-fit").psf == (0.5, 0.5)
    assert open_engine("psf-fit", sensor=SENSOR).psf == (0.5, 0.6)
    settings = PsfFitSettings(sigma_x=0.8)
    assert open_engine("psf-fit", sensor=SENSOR, psf_fit=settings).psf == (0.8, 0.8)


@pytest.mark.parametrize("name", ["psf-fit", "field-mlp"])
def test_noise_is_the_sensors_or_what_was_told_or_the_usual(name: str) -> None:
    def opened(**given: Any) -> NoiseModel:
        return open_engine(name, "onnxruntime", **given).sensor.noise_model

    assert opened() == NoiseModel()
    assert opened(noise_model=NO_LIGHT_NOISE) == NO_LIGHT_NOISE
    sensor = Sensor.gaussian(0.6, noise_model=NoiseModel(2.0, 0.01))
    assert opened(sensor=sensor) == NoiseModel(2.0, 0.01)


def test_runtimes_are_tried_the_fastest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_has", lambda library: True)
    order = ["tensorrt", "torch", "openvino", "onnxruntime"]
    assert [name for name, _ in choice.openers("auto")] == order
    monkeypatch.setattr(choice, "_has", lambda library: library != "openvino")
    order.remove("openvino")
    assert [name for name, _ in choice.openers("auto")] == order
    for name in ("tensorrt", "torch", "openvino", "onnxruntime"):
        assert choice.openers(name) == ((name, choice.OPENERS[name]),)
    with pytest.raises(
        ModelError, match=r"there are auto, onnxruntime, openvino, tensorrt, torch$"
    ):
        choice.openers("none")


class Timed:
    """A runtime that takes a time of its own, on a clock that it moves."""

    def __init__(self, clock: list[float], seconds: list[float]) -> None:
        self.clock, self.seconds, self.closed, self.sizes = clock, iter(seconds), False, set[int]()

    def run(self, inputs: Any) -> dict[str, Any]:
        self.sizes |= {len(value) for value in inputs.values()}
        self.clock[0] += next(self.seconds)
        return {}

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(("seconds", "taken"), [(1 / 1.11, True), (1 / 1.09, False), (2.0, False)])
def test_reduced_precision_is_taken_where_it_is_faster(
    monkeypatch: pytest.MonkeyPatch, seconds: float, taken: bool
) -> None:
    """The least of nine batches counts; the engine that is not used is closed."""
    clock = [0.0]
    usual = Timed(clock, [5.0] * 8 + [1.0])
    reduced = Timed(clock, [seconds] + [9.0] * 8)
    module = SimpleNamespace(open_openvino=lambda *_given, need_bf16: reduced)
    monkeypatch.setitem(sys.modules, "dscsnet.engines.runtimes.openvino_runtime", module)
    monkeypatch.setattr(choice, "_open_onnxruntime", lambda *_: usual)
    monkeypatch.setattr(choice.time, "perf_counter", lambda: clock[0])
    model: Any = load_model("field-mlp")
    opener = dict(choice.FASTEST_FIRST)["openvino"]
    if taken:
        assert opener(model, RuntimeOptions()) is reduced
    else:
        with pytest.raises(Unavailable, match="times as fast as onnxruntime here") as error:
            opener(model, RuntimeOptions())
        assert error.value.cause == "slower"
    assert (usual.closed, reduced.closed) == (True, not taken)
    assert usual.sizes == reduced.sizes == {20}


def test_a_runtime_has_options_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setitem(choice.OPENERS, "torch", lambda model, options: told.append(options))
    given = RuntimeOptions(threads=2)
    choice.open_runtime("torch", None)  # type: ignore[arg-type]
    choice.open_runtime("torch", None, given)  # type: ignore[arg-type]
    assert told == [RuntimeOptions(), given]
