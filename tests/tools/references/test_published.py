"""The paper's figures: as the documentation shows them, and consistent in themselves."""

from dataclasses import astuple
from pathlib import Path

import pytest

pytest.importorskip("torch")

from dscsnet.engines.networks.config import NetworkConfig
from dscsnet.engines.networks.dista_net import DISTANetConfig
from dscsnet.engines.networks.ista_net import ISTANetConfig, ISTANetPlusConfig
from dscsnet.engines.networks.one_stage import OneStageConfig
from dscsnet.engines.networks.srcnn import SRCNNConfig
from dscsnet.tools.references.published import ISTA, Published, published

PAGE = Path(__file__).parents[3] / "docs" / "comparison.md"


def modules(dynamic: bool, reorganised: bool, generated: bool) -> NetworkConfig:
    return NetworkConfig(
        dynamic_convolution=dynamic, reorganization=reorganised, threshold_generator=generated
    )


CONFIGS = {
    "admm-csnet": modules(False, False, False),
    "dista-net": DISTANetConfig(),
    "dscsnet-compact": modules(True, True, True),
    "dscsnet-without-dcn": modules(False, True, True),
    "dscsnet-without-dir": modules(True, False, True),
    "dscsnet-without-dtg": modules(True, True, False),
    "ista-net": ISTANetConfig(),
    "ista-net-plus": ISTANetPlusConfig(),
    "srcnn": SRCNNConfig(),
}


def rows(name: str) -> tuple[list[str], list[str]]:
    """A method's cells in the two tables of the documentation."""
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines()]
    accuracy, cost = (line[1:] for line in lines if line[0].split(",")[0] == name)
    return accuracy, cost


def told(figures: Published) -> tuple[list[str], list[str]]:
    cso_map, by_distance = astuple(figures.precision)
    accuracy = [f"{value:.2f}" for value in (cso_map, *by_distance)]
    cost = ["-" if v is None else f"{v:.4f}" for v in (figures.parameters, figures.gmac)]
    return accuracy, cost


@pytest.mark.parametrize("name", CONFIGS)
def test_figures_are_those_of_the_documentation(name: str) -> None:
    figures = published(CONFIGS[name])
    assert figures is not None
    accuracy, cost = rows(name)
    assert told(figures) == (accuracy[-6:], [cost[1], cost[3]])


def test_figures_of_the_method_without_training() -> None:
    accuracy, cost = rows("ISTA")
    assert told(ISTA) == (accuracy[-6:], [cost[1], cost[3]])


@pytest.mark.parametrize("name", sorted({*CONFIGS} - {"dscsnet-without-dir"}))
def test_the_whole_is_the_mean_over_the_distances(name: str) -> None:
    figures = published(CONFIGS[name])
    assert figures is not None
    by_distance = figures.precision.by_distance
    assert figures.precision.cso_map == pytest.approx(sum(by_distance) / 5, abs=0.03)  # as printed
    assert list(by_distance) == sorted(by_distance)


def test_the_row_that_is_printed_wrongly_is_as_printed() -> None:
    figures = published(CONFIGS["dscsnet-without-dir"])
    assert figures is not None
    assert figures.precision.cso_map == 44.35
    assert sum(figures.precision.by_distance) / 5 == pytest.approx(45.35, abs=0.005)


def test_of_other_networks_nothing_is_published() -> None:
    assert published(OneStageConfig()) is None
    assert published(SRCNNConfig(upsampling=5)) is None
    assert published(modules(True, False, False)) is None
    assert published(modules(False, True, False)) is None
