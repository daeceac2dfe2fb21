"""What every runtime must do, on every shipped model; a runtime's test class inherits it."""

from collections.abc import Iterator

import numpy as np
import pytest

from dscsnet.engines.errors import InferenceError
from dscsnet.engines.model import Model, load_model, shipped_models
from dscsnet.engines.model_engine import ModelEngine
from dscsnet.engines.runtimes import Runtime, RuntimeOptions, open_runtime


class RuntimeContract:
    """Tests by the runtime's name and precision.

    Attributes:
        error: largest relative L2 error against the float64 reference.
        alone: largest difference that a crop's batch may make, of an output's largest value.
    """

    kind: str
    options = RuntimeOptions(threads=1)
    error = 1e-5
    alone = 2e-5

    @pytest.fixture(params=shipped_models(), name="engine", scope="class")
    @classmethod
    def _engine(cls, request: pytest.FixtureRequest) -> Iterator[ModelEngine]:
        model = load_model(request.param)
        engine = ModelEngine(model, cls.open(model))
        yield engine
        engine.close()

    @classmethod
    def open(cls, model: Model) -> Runtime:
        """The runtime under test, with this model in it."""
        return open_runtime(cls.kind, model, cls.options)

    def test_agrees_with_the_float64_reference(self, engine: ModelEngine) -> None:
        assert engine.golden_error() < self.error
        assert self.error <= engine.runtime.tolerance

    def test_a_batch_gives_what_its_members_give(self, engine: ModelEngine) -> None:
        inputs = engine.model.golden().inputs
        together = engine.runtime.run(inputs)
        for index in range(len(inputs["crops"])):
            alone = engine.runtime.run({k: v[index : index + 1] for k, v in inputs.items()})
            for name, values in alone.items():
                allowed = self.alone * np.abs(values).max()
                np.testing.assert_allclose(together[name][index], values[0], atol=allowed)

    @pytest.mark.parametrize("number", [1, 2, 3, 64, 65, 300])
    def test_any_batch_size(self, engine: ModelEngine, number: int) -> None:
        golden = engine.model.golden()
        rows = np.arange(number) % len(golden.inputs["crops"])
        outputs = engine.runtime.run({name: v[rows] for name, v in golden.inputs.items()})
        assert sorted(outputs) == sorted(engine.model.card.outputs)
        for name, values in outputs.items():
            assert values.shape == (number, *golden.outputs[name].shape[1:])
            assert values.dtype == np.float32

    def test_a_wrong_input_is_one_clear_error(self, engine: ModelEngine) -> None:
        with pytest.raises(InferenceError) as error:
            engine.runtime.run({"crops": np.zeros((1, 4, 4), np.float32)})
        assert "\n" not in str(error.value)

    def test_the_check_passes(self, engine: ModelEngine) -> None:
        engine.check(batch_sizes=(1, 2))
