"""The methods of the comparison: those of its configurations, and what they answer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.networks.dista_net import DISTANetConfig  # noqa: E402
from dscsnet.engines.networks.srcnn import SRCNNConfig  # noqa: E402
from dscsnet.tools.peers import published_methods as module  # noqa: E402
from dscsnet.tools.peers.published_methods import NETWORKS, published_methods  # noqa: E402
from dscsnet.tools.training.config import load_train_config  # noqa: E402

CONFIGS = Path(__file__).parents[3] / "configs" / "train" / "compare"


def test_networks_are_those_of_the_comparison() -> None:
    written = [load_train_config(path) for path in sorted(CONFIGS.glob("*.yaml"))]
    assert {config.name: config.network for config in written} == NETWORKS


def test_all_answer_and_the_export_answers_as_the_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    small = {"dista-net": DISTANetConfig(stages=1, width=4), "srcnn": SRCNNConfig()}
    monkeypatch.setattr(module, "NETWORKS", small)
    methods = published_methods(3, tmp_path)
    assert threads == [1]
    exported, eager, srcnn, ista, fit = methods
    assert (exported, eager, srcnn) == (
        *("dista-net, ONNX Runtime", "dista-net, eager"),
        "srcnn, eager",
    )
    answers: dict[str, Any] = {name: run() for name, run in methods.items()}
    assert answers[srcnn].shape == answers[ista].shape == (3, 33, 33)
    np.testing.assert_allclose(answers[exported]["grid"], answers[eager].numpy(), atol=1e-2)
    assert np.unique(answers[fit].image).tolist() == [0, 1, 2]
