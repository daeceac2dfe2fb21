"""Functions that the exporter writes in its own way, against the closed forms in float64."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from numpy.typing import NDArray  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from dscsnet.engines.model import SHIPPED, load_model  # noqa: E402
from dscsnet.engines.runtimes.onnx import OnnxRuntime  # noqa: E402
from dscsnet.tools.export.operators import VECTORISED  # noqa: E402

SIZES = np.concatenate([[0.0], np.logspace(-12, 6, 400)])
VALUES = np.concatenate([-SIZES[::-1], SIZES]).astype(np.float32)


class Both(nn.Module):  # type: ignore[misc]
    """Functions that are replaced."""

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return nn.functional.softplus(values), torch.asinh(values)


@pytest.fixture(name="outputs", scope="module")
def _outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[np.float32]]:
    path = tmp_path_factory.mktemp("operators") / "both.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecated internals
        program = torch.onnx.export(
            Both().eval(),
            (torch.from_numpy(VALUES),),
            dynamo=True,
            input_names=["values"],
            output_names=["softplus", "asinh"],
            custom_translation_table=VECTORISED,
            verbose=False,
        )
    onnx.save(program.model_proto, path)
    kinds = {node.op_type for node in program.model_proto.graph.node}
    assert not kinds & {"Softplus", "Asinh"}
    return OnnxRuntime(path, threads=1).run({"values": VALUES})


def test_softplus(outputs: dict[str, NDArray[np.float32]]) -> None:
    expected = np.logaddexp(0, VALUES.astype(float))
    np.testing.assert_allclose(outputs["softplus"], expected, rtol=3e-7, atol=2e-7)


def test_asinh(outputs: dict[str, NDArray[np.float32]]) -> None:
    expected = np.arcsinh(VALUES.astype(float))
    np.testing.assert_allclose(outputs["asinh"], expected, rtol=3e-7, atol=2e-7)


@pytest.mark.parametrize("name", ["field-unfolded", "csist100k-unfolded"])
def test_every_convolution_of_the_shipped_networks_is_for_blocks(name: str) -> None:
    """From whole blocks of 16 channels, or from so few that they need not be blocked."""
    graph = onnx.load(SHIPPED / name / "model.onnx").graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    found = [shapes[node.input[1]] for node in graph.node if node.op_type == "Conv"]
    assert len(found) == 16
    assert all(inputs % 16 == 0 or inputs < 8 for _, inputs, *_ in found)
    maker = {output: node.op_type for node in graph.node for output in node.output}
    joined = [node for node in graph.node if node.op_type == "Concat"]
    assert not any(maker.get(each) == "Conv" for node in joined for each in node.input)
    assert load_model(name).card.files["model.onnx"]
