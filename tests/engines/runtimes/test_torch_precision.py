"""Nothing is rounded behind a network's back while it is recorded, and nothing is left changed."""

import threading
import time
import warnings
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.runtimes import torch_precision as module  # noqa: E402
from dscsnet.engines.runtimes.torch_precision import no_hidden_rounding  # noqa: E402


def settings() -> dict[str, Any]:
    product, convolution = torch.backends.cuda.matmul, torch.backends.cudnn
    return {
        "product": product.fp32_precision,
        "convolution": convolution.conv.fp32_precision,
        "fp16": product.allow_fp16_reduced_precision_reduction,
        "bf16": product.allow_bf16_reduced_precision_reduction,
    }


def test_how_sums_are_split_is_left_alone() -> None:
    product = torch.backends.cuda.matmul
    product.allow_fp16_reduced_precision_reduction = (False, False)
    try:
        with no_hidden_rounding():
            assert not product.allow_fp16_reduced_precision_reduction
        assert not product.allow_fp16_reduced_precision_reduction
        assert not product.allow_fp16_reduced_precision_reduction_split_k
    finally:
        product.allow_fp16_reduced_precision_reduction = True


def test_products_and_sums_are_exact_until_the_end() -> None:
    before, within = settings(), []
    assert before["fp16"]

    def record() -> None:
        with no_hidden_rounding():
            within.append(settings())
            raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        record()
    exact = {"product": "ieee", "convolution": "ieee", "fp16": False, "bf16": False}
    assert within == [exact]
    assert settings() == before
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # PyTorch 2.9 to 2.12 advise against them
        # The older names must still be readable: PyTorch raises where old and new disagree.
        assert torch.backends.cudnn.allow_tf32
        assert not torch.backends.cuda.matmul.allow_tf32


def test_of_two_at_once_one_waits() -> None:
    """Else the end of the first would undo the settings of the second."""
    before, within, entered, go = settings(), [], threading.Event(), threading.Event()

    def first() -> None:
        with no_hidden_rounding():
            entered.set()
            go.wait(60)

    def second() -> None:
        entered.wait(60)
        with no_hidden_rounding():
            within.append((go.is_set(), settings()["product"]))

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    entered.wait(60)
    time.sleep(0.05)
    go.set()
    for thread in threads:
        thread.join()
    assert within == [(True, "ieee")]
    assert settings() == before


def test_before_torch_2_9_the_older_names_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    sums = {f"allow_{kind}_reduced_precision_reduction": True for kind in ("fp16", "bf16")}
    product = SimpleNamespace(allow_tf32=True, **sums)
    convolution = SimpleNamespace(allow_tf32=True)
    older = SimpleNamespace(cuda=SimpleNamespace(matmul=product), cudnn=convolution)
    monkeypatch.setattr(module, "torch", SimpleNamespace(backends=older))
    with no_hidden_rounding():
        assert not any(vars(product).values())
        assert not convolution.allow_tf32
    assert all(vars(product).values())
    assert convolution.allow_tf32
