"""The engine of a model, with networks that are made up: what does not fit is told."""

import math
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from dscsnet.engines.card import ModelCard
from dscsnet.engines.engine import CropBatch, make_batch
from dscsnet.engines.errors import GoldenCheckFailed, InferenceError, ModelError
from dscsnet.engines.estimates import Estimates
from dscsnet.engines.imaging import render
from dscsnet.engines.model import Model, load_model
from dscsnet.engines.model_engine import (
    ModelEngine,
    _relative_error,
    gives_further,
    open_model_engine,
)
from dscsnet.engines.psf_fit import PsfFitEngine
from dscsnet.engines.psf_fit_settings import PsfFitSettings
from dscsnet.engines.runtimes import RuntimeOptions
from dscsnet.engines.sensor import Sensor


class Recorded:
    """A runtime that answers with golden outputs, row by row, changed as a test wants it."""

    name, tolerance = "recorded", 1e-4

    def __init__(self, model: Model) -> None:
        self.golden, self.closed = model.golden(), 0
        self.change: Any = lambda outputs: outputs

    def run(self, inputs: Any) -> Any:
        rows = np.arange(len(inputs["crops"])) % len(self.golden.inputs["crops"])
        return self.change({name: each[rows] for name, each in self.golden.outputs.items()})

    def close(self) -> None:
        self.closed += 1


def engine_of(name: str) -> ModelEngine:
    model = load_model(name)
    return ModelEngine(model, Recorded(model))


def test_it_passes_its_check_and_closes_its_runtime() -> None:
    engine = engine_of("field-mlp")
    assert engine.golden_error() == 0
    assert engine.check_golden().inputs["crops"].shape[1:] == (11, 11)
    engine.close()
    assert engine.runtime.closed == 1


@pytest.mark.parametrize(("factor", "passes"), [(0.999 * 2**-13, True), (1.001 * 2**-13, False)])
def test_the_check_allows_the_tolerance(factor: float, passes: bool) -> None:
    engine = engine_of("field-mlp")
    engine.runtime.tolerance = 2**-13

    def change(outputs: Any) -> Any:
        wrong = outputs["position"].astype(np.float64) * (1 + factor)
        return outputs | {"position": wrong.astype(np.float32)}

    engine.runtime.change = change
    assert engine.golden_error() == pytest.approx(factor, rel=5e-4)
    if passes:
        engine.check_golden()
    else:
        with pytest.raises(GoldenCheckFailed, match=r"relative error 1\.2e-04, at most 1e-04"):
            engine.check_golden()


def test_an_error_that_tells_nothing_is_no_pass() -> None:
    zeros, ones = np.zeros((2, 3), np.float32), np.ones((2, 3), np.float32)
    assert _relative_error(ones[:1], ones) == math.inf
    assert math.isnan(_relative_error(zeros, zeros))
    assert _relative_error(2 * ones, ones) == 1
    engine = engine_of("field-mlp")
    engine.runtime.change = lambda outputs: {k: v * np.float32("nan") for k, v in outputs.items()}
    with pytest.raises(GoldenCheckFailed):
        engine.check_golden()


def batch_for(engine: ModelEngine, number: int) -> Any:
    pixels = np.zeros((number, 11, 11), np.float32)
    return make_batch(engine, pixels, np.ones(pixels.shape, bool), np.ones(number, np.float32))


def test_missing_outputs_are_named_in_order() -> None:
    engine = engine_of("field-mlp")
    engine.runtime.change = lambda outputs: {"count": outputs["count"], "more": outputs["count"]}
    names = "existence, log_intensity, log_sigma, position"
    with pytest.raises(InferenceError, match=f"^the network has no output {names}$"):
        engine.run(batch_for(engine, 2))


@pytest.mark.parametrize("name", ["count", "existence", "position", "log_intensity", "log_sigma"])
def test_outputs_of_other_shapes_or_types_are_refused(name: str) -> None:
    engine = engine_of("field-mlp")
    for change in (
        lambda v: v.astype(np.float64),
        lambda v: v[..., :-1],
        lambda v: v[:-1],
        lambda v: np.float32(1),
    ):
        engine.runtime.change = lambda outputs, change=change: (
            outputs | {name: np.asarray(change(outputs[name]))}
        )
        with pytest.raises(InferenceError, match="the network's output "):
            engine.run(batch_for(engine, 3))


def test_no_crop_is_no_error_and_one_finite_crop_is_enough() -> None:
    engine = engine_of("field-mlp")
    assert len(engine.run(batch_for(engine, 0))["count"]) == 0

    def spoil(outputs: Any) -> Any:
        outputs["position"][:-1] = np.nan
        return outputs

    engine.runtime.change = spoil
    engine.run(batch_for(engine, 3))
    engine.runtime.change = lambda outputs: (
        outputs | {"count": outputs["count"] * np.float32("nan")}
    )
    with pytest.raises(InferenceError, match="not finite for any crop of the batch"):
        engine.run(batch_for(engine, 3))


def test_a_selection_of_another_network_is_refused() -> None:
    engine = engine_of("field-mlp")
    batch = batch_for(engine, 2)
    outputs = dict(engine.run(batch))
    assert engine._selection.slots == 5
    engine._selection = engine._selection._replace(leave_bias=np.zeros(5))
    with pytest.raises(ModelError, match=r"^field-mlp: selection\.npz is for 4 slots, .* has 5$"):
        engine.read(outputs, batch)


def test_a_model_that_can_be_asked_for_further_targets() -> None:
    assert gives_further(load_model("field-mlp").card.readout)
    assert not gives_further(load_model("scene-compact").card.readout)


def changed_card(model: Model, **changes: Any) -> Model:
    plain = msgspec.to_builtins(model.card) | changes
    return replace(model, card=msgspec.convert(plain, ModelCard))


def test_golden_crops_are_of_the_cards_size() -> None:
    model = load_model("field-mlp")
    engine = ModelEngine(model, Recorded(model))
    engine.model = changed_card(model, crop_size=13)
    with pytest.raises(ModelError, match=r"golden crops: expected \(n, 13, 13\), got \(\d+, 11"):
        engine.check_golden()


def test_without_a_selection_there_is_none() -> None:
    model = load_model("field-mlp")
    files = {name: each for name, each in model.card.files.items() if name != "selection.npz"}
    assert changed_card(model, files=files).selection().slots == -1
    assert model.selection().slots == 5


def test_the_psf_of_a_model_is_its_cards_width_along_both() -> None:
    engine = open_model_engine("csist100k-mlp", "onnxruntime", options=RuntimeOptions(threads=1))
    assert engine.psf == (engine.model.card.psf_sigma,) * 2
    assert engine.sha256 == engine.model.card.files["model.onnx"]
    engine.close()


def test_after_the_golden_crops_a_check_warms_up_with_batches_of_each_size() -> None:
    engine = engine_of("field-mlp")
    sizes: list[int] = []
    engine.runtime.change = lambda outputs: sizes.append(len(outputs["count"])) or outputs
    golden = len(engine.model.golden().inputs["crops"])
    engine.check()
    assert sizes == [golden, 1, 8, 64]
    sizes.clear()
    engine.check((3,))
    assert sizes == [golden, 3]


def crops_of(sensor: Sensor, number: int = 6) -> CropBatch:
    """Single stars in noise, their PSF that of the sensor along the axes; all pixels are usable."""
    rng = np.random.default_rng(0)
    places = 5 + rng.uniform(-0.4, 0.4, (number, 2, 1))
    light = [render(x, y, [900.0], (11, 11), *sensor.psf) for x, y in places]
    pixels = (np.array(light) + rng.normal(size=(number, 11, 11))).astype(np.float32)
    psf = np.tile(np.array(sensor.psf, np.float32), (number, 1))
    usable, noise = np.ones(pixels.shape, bool), np.ones(number, np.float32)
    return CropBatch(pixels, usable, noise, psf, sensor)


@pytest.mark.parametrize(
    ("place", "blind"),
    [
        *(((5, 5), True), ((1, 1), True), ((9, 1), True), ((1, 9), True)),
        *(((0, 5), False), ((5, 0), False), ((10, 4), False), ((4, 10), False)),
    ],
)
def test_crops_with_pixels_lost_in_the_field_are_not_the_networks(
    place: tuple[int, int], blind: bool
) -> None:
    engine, batch = engine_of("field-mlp"), crops_of(Sensor.gaussian(0.6))
    batch.usable[2, place[0], place[1]] = False
    assert engine._blind(batch).tolist() == [False, False, blind, False, False, False]


@pytest.mark.parametrize(
    ("psf", "blind"),
    [
        *(((0.45, 0.9), False), ((0.4002, 0.9997), False), ((0.399, 0.6), True)),
        *(((0.6, 0.399), True), ((1.001, 0.6), True), ((0.6, 1.001), True)),
    ],
)
def test_a_psf_beyond_the_cards_range_is_not_the_networks(
    psf: tuple[float, float], blind: bool
) -> None:
    """From 0.45 to 0.9 px, and a ninth more."""
    engine, batch = engine_of("field-mlp"), crops_of(Sensor.gaussian(0.6))
    batch.psf[3] = psf
    assert engine._blind(batch).tolist() == [False, False, False, blind, False, False]


def test_a_turned_psf_counts_as_wide_as_the_network_sees_it() -> None:
    """A covariance of 0.4 px squared is spread, and makes 0.8 px along both axes 1.02."""
    engine = engine_of("field-mlp")
    for covariance, blind in ((0.3, False), (-0.3, False), (0.4, True), (-0.4, True)):
        batch = crops_of(Sensor((0.8, 0.8), covariance))
        assert engine._blind(batch).tolist() == [blind] * 6


def test_what_the_network_cannot_judge_is_the_fits_and_the_rest_its_own() -> None:
    """One crop with a lost pixel: its answer is that of the fit alone, no other crop's changes."""
    engine = open_model_engine("field-mlp", "onnxruntime", options=RuntimeOptions(threads=1))
    batch = crops_of(Sensor.gaussian(0.6))
    outputs = engine.run(batch)
    before = engine.read(outputs, batch)
    lost = replace(batch, usable=batch.usable.copy(), pixels=batch.pixels.copy())
    lost.usable[2, 4, 6], lost.pixels[2, 4, 6] = False, 1e6
    found = engine.read(outputs, lost)
    fit = PsfFitEngine(PsfFitSettings(target_penalty=3.7))
    alone = lost.part(2, 3)
    expected = fit.read(fit.run(alone), alone)
    assert found.number.tolist() == [1] * 6
    for crop in range(6):
        whole = expected if crop == 2 else before.slice(crop, crop + 1)
        for name, column in vars(found.slice(crop, crop + 1)).items():
            np.testing.assert_array_equal(column, getattr(whole, name), err_msg=name)
    engine.close()


@pytest.mark.parametrize("slots", [2, 5, 8])
def test_the_fit_knows_as_many_targets_as_the_network_has_slots(slots: int) -> None:
    engine, batch = engine_of("field-mlp"), crops_of(Sensor.gaussian(0.6), 2)
    batch.usable[:, 5, 5] = False
    number = np.ones(2)
    empty = Estimates.none()
    without = replace(
        empty,
        chi2=number,
        doubt=np.zeros(2, np.uint8),
        psf_scale=number,
        occupied=number,
        probability=np.zeros((2, slots + 2)),
    )
    found = engine._refit(without, batch, np.array([False, True]))
    assert found.probability.shape == (2, slots + 2)
    assert found.probability[1].sum() == pytest.approx(1)
    assert found.crop.tolist() == [1]


def test_the_fit_in_the_networks_place_is_ready_when_the_engine_is() -> None:
    """Its loops take seconds to compile: no frame may wait for them."""
    engine = open_model_engine("field-mlp", "onnxruntime", options=RuntimeOptions(threads=1))
    assert engine._fit is None
    engine.check((1,))
    assert engine._fit is not None
