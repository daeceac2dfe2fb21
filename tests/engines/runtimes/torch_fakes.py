"""A GPU of PyTorch that is made up: what it computes, the CPU does.

What is captured is executed once more each time that it is replayed, on the very tensors that it
was captured with; so a graph that reads or writes the wrong memory gives wrong numbers here, too.
"""

import contextlib
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map


class Stream:
    """A stream on which nothing waits: work is done when it is put there."""

    def synchronize(self) -> None: ...


class Recorder(TorchDispatchMode):
    """Notes each operation with its result.

    What it computes belongs to the graph. All else that it reads or writes must be kept by others:
    a graph knows addresses, no tensors.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Any] = []
        self._made: dict[int, torch.Tensor] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        given = {id(value) for value in tree_leaves(args)}
        # What is written in place is not new.
        self._made.update((id(v), v) for v in _tensors(result) if id(v) not in given)
        noted = tree_map(self._address, (args, result))
        self.steps.append((function, kwargs or {}, *noted))
        return result

    def _address(self, value: Any) -> Any:
        outside = isinstance(value, torch.Tensor) and id(value) not in self._made
        return weakref.ref(value) if outside else value


class Graph:
    """Looks like `torch.cuda.CUDAGraph`."""

    def __init__(self, gpu: "Gpu") -> None:
        self.gpu, self.steps = gpu, []

    def replay(self) -> None:
        if self.gpu.failure is not None:
            raise self.gpu.failure
        with torch.inference_mode():
            for function, kwargs, args, noted in self.steps:
                fresh = function(*tree_map(_there, args), **kwargs)
                pairs = zip(_tensors(fresh), _tensors(tree_map(_there, noted)), strict=True)
                for value, place in pairs:
                    if value.data_ptr() != place.data_ptr():
                        place.copy_(value)


def _there(value: Any) -> Any:
    if not isinstance(value, weakref.ref):
        return value
    tensor = value()
    assert tensor is not None, "the graph reads or writes memory that was freed"
    return tensor


def _tensors(result: Any) -> tuple[Any, ...]:
    return (result,) if isinstance(result, torch.Tensor) else tuple(result)


class Gpu:
    """Two GPUs to PyTorch's mind.

    Attributes:
        failure: what a replay raises.
        captures: what each capture was told, and the settings that were in force.
    """

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.captures: list[SimpleNamespace] = []

    def capture(self, graph: Graph, **told: Any) -> contextlib.AbstractContextManager[None]:
        product, convolution = torch.backends.cuda.matmul, torch.backends.cudnn.conv
        assert torch.is_inference_mode_enabled()
        self.captures.append(
            SimpleNamespace(
                **told,
                precision=(product.fp32_precision, convolution.fp32_precision),
                rounded_sums=product.allow_fp16_reduced_precision_reduction,
            )
        )
        return self._recorded(graph)

    @contextlib.contextmanager
    def _recorded(self, graph: Graph) -> Iterator[None]:
        with Recorder() as recorder:
            yield
        graph.steps = recorder.steps

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """In the place of PyTorch's own."""
        nothing = contextlib.nullcontext
        for name, value in {
            "is_available": lambda: True,
            "device_count": lambda: 2,
            "get_device_name": lambda device: f"made up {device}",
            "device": lambda device: nothing(),
            "Stream": lambda device: Stream(),
            "stream": lambda stream: nothing(),
            "CUDAGraph": lambda: Graph(self),
            "graph": self.capture,
            "graph_pool_handle": object,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)
        monkeypatch.setattr(torch.nn.Module, "to", lambda self, device: self)
        monkeypatch.setattr(torch.Tensor, "to", lambda self, device: self.clone())
        for name in ("ones", "empty"):
            monkeypatch.setattr(torch, name, _pageable(getattr(torch, name)))


def _pageable(make: Any) -> Any:
    """PyTorch's build for CPUs has no page-locked memory."""

    def made(*size: Any, pin_memory: bool = False, **named: Any) -> Any:
        return make(*size, **named)

    return made
