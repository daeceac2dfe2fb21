"""The PyTorch runtime on the CPU, and how layers are halved for a GPU."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.errors import ModelError  # noqa: E402
from dscsnet.engines.model import load_model, shipped_models  # noqa: E402
from dscsnet.engines.model_engine import open_model_engine  # noqa: E402
from dscsnet.engines.networks.stored import WEIGHTS, load_network  # noqa: E402
from dscsnet.engines.runtimes import DeviceError, RuntimeOptions, Unavailable, open_runtime  # noqa: E402
from dscsnet.engines.runtimes.torch_runtime import TOLERANCE, halve_layers, open_torch  # noqa: E402
from tests.engines.runtime_contract import RuntimeContract  # noqa: E402


@pytest.mark.skipif(torch.cuda.is_available(), reason="would take the GPU")
class TestTorchOnCpu(RuntimeContract):
    """PyTorch on the CPU."""

    kind = "torch"
    alone = 1e-4  # kernels differ by batch size


@pytest.mark.parametrize("name", shipped_models())
def test_half_precision_layers_stay_within_the_tolerance(name: str) -> None:
    model = load_model(name)
    golden = model.golden()
    network = load_network(model.folder)
    halve_layers(network)
    with torch.inference_mode():
        results = network(*(torch.tensor(value) for value in golden.inputs.values()))
    results = (results,) if isinstance(results, torch.Tensor) else results
    for output, values in zip(model.card.outputs, results, strict=True):
        wanted = golden.outputs[output]
        error = np.linalg.norm(values.numpy() - wanted) / np.linalg.norm(wanted)
        assert 2e-6 < error < TOLERANCE["fp16"] / 2, output


def test_auto_wants_a_gpu_of_it() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(Unavailable, match="sees no GPU"):
            open_torch(load_model("csist100k-mlp"), RuntimeOptions(), need_gpu=True)


def test_a_folder_without_weights_says_so() -> None:
    engine = open_model_engine("csist100k-mlp")
    del engine.model.card.files[WEIGHTS]
    with pytest.raises(ModelError, match=r"no weights\.safetensors on its card"):
        open_runtime("torch", engine.model)


def test_closed_is_closed() -> None:
    runtime = open_runtime("torch", load_model("csist100k-mlp"))
    runtime.close()
    with pytest.raises(DeviceError, match="closed"):
        runtime.run(load_model("csist100k-mlp").golden().inputs)
