"""What is exported of a run, against the models that are shipped: they came out of it."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from dscsnet.engines.files.strict_yaml import decode_yaml  # noqa: E402
from dscsnet.engines.model import Model, load_model, shipped_models  # noqa: E402
from dscsnet.engines.networks.offgrid import OffGridConfig  # noqa: E402
from dscsnet.engines.networks.stored import RECIPE, load_network  # noqa: E402
from dscsnet.tools.export import model_folder as module  # noqa: E402
from dscsnet.tools.training.config import TrainConfig, stored_train_config  # noqa: E402


def recipe(model: Model) -> TrainConfig:
    return stored_train_config(decode_yaml((model.folder / RECIPE).read_bytes()))


@pytest.mark.parametrize("name", shipped_models())
def test_golden_crops_are_those_of_the_models_protocol(name: str) -> None:
    model = load_model(name)
    stored, drawn = model.golden().inputs, module.golden_inputs(recipe(model))
    assert list(drawn) == list(stored)
    for key, values in drawn.items():
        np.testing.assert_array_equal(values, stored[key], err_msg=key)


@pytest.mark.parametrize("name", shipped_models())
def test_geometry_and_units_of_a_card_are_those_of_the_recipe(name: str) -> None:
    model = load_model(name)
    config = recipe(model)
    off_grid = isinstance(config.network, OffGridConfig)
    found = module._off_grid(config) if off_grid else module._grid(config)
    stored = {key: getattr(model.card, key) for key in found}
    assert found == stored


def test_the_card_of_a_shipped_model_has_every_part() -> None:
    parts = module._grid(recipe(load_model("scene-compact")))
    assert sorted(parts) == sorted(module._off_grid(recipe(load_model("field-mlp"))))


def test_crops_for_the_calibration_are_other_ones_and_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert module.CALIBRATION_CROPS == 20_000
    monkeypatch.setattr(module, "CALIBRATION_CROPS", 30)
    config = recipe(load_model("field-mlp"))
    batch, true = module.calibration_crops(config)
    assert len(batch) == 30
    assert len(true.x) > 30
    assert true.image.max() < 30
    again, _ = module.protocol_crops(config, 30, 515)
    np.testing.assert_array_equal(batch.pixels, again.pixels)
    golden = module.golden_inputs(config)["crops"]
    assert not any((crop == batch.pixels).all((1, 2)).any() for crop in golden)


def test_no_note_of_the_exporter_is_left() -> None:
    helper = onnx.helper
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1], "words")
    node = helper.make_node("Neg", ["x"], ["y"], doc_string="words")
    weights = helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [0.0])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1], "words")
    inner = helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [1], "words")
    graph = helper.make_graph(
        [node], "g", [value], [result], [weights], "words", value_info=[inner]
    )
    function = helper.make_function("d", "f", ["x"], ["y"], [node], [], doc_string="words")
    model = helper.make_model(graph, functions=[function], doc_string="words")
    function = model.functions[0]
    parts = (
        *(model, model.graph, model.graph.node[0], model.graph.input[0]),
        *(model.graph.output[0], model.graph.value_info[0], model.graph.initializer[0]),
        *(function, function.node[0]),
    )
    for part in parts:
        part.metadata_props.add(key="where", value=str(Path(__file__)))
    cleaned = module.without_origin(model)
    assert b"words" not in cleaned.SerializeToString()
    assert b"where" not in cleaned.SerializeToString()
    assert [each.op_type for each in cleaned.graph.node] == ["Neg"]


@pytest.mark.parametrize("name", ["field-mlp", "csist100k-mlp", "csist100k-compact"])
def test_golden_answers_are_those_of_the_network(name: str) -> None:
    model = load_model(name)
    golden = model.golden()
    found = module.reference_outputs(load_network(model.folder), golden.inputs)
    assert list(found) == list(model.card.outputs)
    for key, values in found.items():
        assert values.dtype == np.float64
        scale = np.abs(golden.outputs[key]).max()
        np.testing.assert_allclose(values, golden.outputs[key], atol=1e-5 * scale, err_msg=key)
