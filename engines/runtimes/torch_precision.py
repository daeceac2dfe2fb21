"""What PyTorch may round on a GPU behind a network's back, and how that is forbidden."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

Setting = tuple[Any, str, Any]

#: One at a time, or the second would take the first's settings for those to go back to.
_ALONE = threading.RLock()


@contextmanager
def no_hidden_rounding() -> Iterator[None]:
    """Products of fp32 in fp32, sums of products of fp16 in fp32; afterwards all is as it was.

    The settings are the process's, so that they hold no longer than a graph takes to record:
    the kernels that it holds are chosen by then.
    """
    with _ALONE:
        before = [(place, name, _now(place, name)) for place, name, _ in _settings()]
        _apply(_settings())
        try:
            yield
        finally:
            _apply(before)


def _settings() -> list[Setting]:
    product, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    sums = [
        (product, "allow_fp16_reduced_precision_reduction", False),
        (product, "allow_bf16_reduced_precision_reduction", False),
    ]
    # TF32 rounds to 10 bits: ten times the tolerance. PyTorch 2.9 warns of the older names.
    if hasattr(product, "fp32_precision"):
        return [*sums, *((p, "fp32_precision", "ieee") for p in (product, convolution.conv))]
    return [*sums, (product, "allow_tf32", False), (convolution, "allow_tf32", False)]


def _now(place: Any, name: str) -> Any:
    # In newer versions, to set how sums are rounded sets whether they are split, too.
    splits = getattr(place, f"{name}_split_k", None) if name.startswith("allow") else None
    return getattr(place, name) if splits is None else (getattr(place, name), splits)


def _apply(settings: list[Setting]) -> None:
    for place, name, value in settings:
        setattr(place, name, value)
