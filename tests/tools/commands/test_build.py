"""`dscsnet model build` and `precision`: which models, which targets, and the table."""

from types import SimpleNamespace
from typing import Any

import pytest
import typer

import dscsnet.engines.runtimes.driver
import dscsnet.engines.runtimes.tensorrt
from dscsnet.engines.errors import ModelError
from dscsnet.engines.model import shipped_models
from dscsnet.tools.commands import build as module


def test_names_or_every_shipped_model() -> None:
    assert module._chosen(["one", "two"], every=False) == ["one", "two"]
    assert module._chosen(None, every=True) == module._chosen([], every=True) == shipped_models()
    with pytest.raises(typer.BadParameter, match="not both"):
        module._chosen(["one"], every=True)
    for nothing in (None, []):
        with pytest.raises(typer.BadParameter, match="name a model"):
            module._chosen(nothing, every=False)


def test_a_row_of_the_table() -> None:
    cost: Any = SimpleNamespace(
        model="m",
        crops=12_000,
        errors={"fp16": 2.5e-3, "fp32": 1.3e-6},
        cso_map={"fp16": 41.25, "fp32": 41.5},
        moved=0.0013,
    )
    row = dict(zip(module.COLUMNS, module._cells(cost), strict=True))
    assert list(row.values()) == ["m", "12,000", "1.3e-06", "2.5e-03", "41.50", "41.25", "0.0013"]


@pytest.fixture(name="found")
def _found(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Devices that were asked for; there is no driver."""
    found: list[Any] = []
    tensorrt = dscsnet.engines.runtimes.tensorrt
    monkeypatch.setattr(tensorrt, "capabilities", lambda trt: trt)
    monkeypatch.setattr(tensorrt, "load_pycuda", lambda: "cuda")
    monkeypatch.setattr(tensorrt, "find_device", lambda cuda, number: (cuda, number))
    monkeypatch.setattr(
        tensorrt.Target, "of_device", lambda trt, device: found.append(device) or device
    )

    def no_driver() -> None:
        raise ModelError("no driver")

    monkeypatch.setattr(dscsnet.engines.runtimes.driver, "require_driver", no_driver)
    return found


def test_without_a_gpu_a_capability_must_be_named(found: list[Any]) -> None:
    chosen = module._targets((), ["8.6", "8.9"], 0)
    assert [target.capability for target in chosen] == ["8.6", "8.9"]
    with pytest.raises(ModelError, match=r"no driver; name what to compile for: .* 8\.6, 8\.9$"):
        module._targets(("8.6", "8.9"), None, 0)
    with pytest.raises(ModelError, match=r"no driver; TensorRT compiles on the GPU's own machine"):
        module._targets((), None, 0)
    assert not found


def test_with_a_gpu_it_is_this_machines(found: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dscsnet.engines.runtimes.driver, "require_driver", lambda: None)
    assert module._targets(("8.6",), None, 2) == [("cuda", 2)] == found
