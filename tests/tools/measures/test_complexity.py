"""Costs of networks against sums by hand and against the paper's."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from dscsnet.engines.networks.config import NetworkConfig
from dscsnet.engines.networks.dista_net import DISTANetConfig
from dscsnet.engines.networks.one_stage import OneStageConfig
from dscsnet.engines.networks.registry import build
from dscsnet.engines.networks.srcnn import SRCNNConfig
from dscsnet.tools.measures.complexity import multiply_accumulates, parameters
from dscsnet.tools.references.published import published
from dscsnet.tools.training.config import load_train_config

ROOT = Path(__file__).parents[3]
CROP = torch.zeros(1, 11, 11)


def test_srcnn_by_hand() -> None:
    network = build(SRCNNConfig(field_size=5))
    layers = 81 * 64 + 64 * 32 + 25 * 32
    assert parameters(network) == layers + 64 + 32 + 1
    assert multiply_accumulates(network, CROP) == 121 * 225 + 225 * layers


def test_one_stage_by_hand() -> None:
    network = build(OneStageConfig(width=10))
    layers = 9 * (10 + 3 * 10 * 10 + 10 * 18)
    assert parameters(network) == layers + 4 * 10 + 18
    assert multiply_accumulates(network, CROP) == 121 * layers


def test_admm_by_hand() -> None:
    network = build(
        NetworkConfig(
            stages=1,
            fused_stages=1,
            width=4,
            depth=0,
            dynamic_convolution=False,
            reorganization=False,
            threshold_generator=False,
        )
    )
    transform = 2 * 9 * 4 * 33 * 33
    start, spectrum, back_projection = 121 * 1089, 2 * 11**3, 11 * 33 * (11 + 33)
    solve = 2 * 11 * 33 * (11 + 33)
    expected = start + spectrum + transform + back_projection + solve
    assert multiply_accumulates(network, CROP) == expected


def test_dista_net_costs_what_is_published() -> None:
    config = DISTANetConfig()
    paper = published(config)
    assert paper is not None
    assert paper.gmac == pytest.approx(0.548, abs=0.001)
    assert multiply_accumulates(build(config), CROP) / 1e9 == pytest.approx(paper.gmac, rel=0.005)


def test_the_paper_sized_network_stays_within_the_papers_cost() -> None:
    config = load_train_config(ROOT / "configs" / "train" / "csist100k-paper.yaml").network
    network = build(config)
    assert config.stages == 6
    assert config.field_size == 11
    assert parameters(network) <= 6.23e6
    assert 0.5e9 < multiply_accumulates(network, CROP) <= 0.64e9
