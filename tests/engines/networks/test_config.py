"""Sizes of networks: what holds where nothing is said, and their bounds."""

from typing import Any

import msgspec
import pytest

from dscsnet.engines.networks.config import NetworkConfig

torch = pytest.importorskip("torch")

from dscsnet.engines.networks.deployed import Normalisation  # noqa: E402
from dscsnet.engines.networks.dista_net import DISTANetConfig  # noqa: E402
from dscsnet.engines.networks.ista_net import ISTANetConfig, ISTANetPlusConfig  # noqa: E402
from dscsnet.engines.networks.offgrid import (  # noqa: E402
    MlpTrunk,
    OffGridConfig,
    UnfoldedTrunk,
)
from dscsnet.engines.networks.one_stage import OneStageConfig  # noqa: E402
from dscsnet.engines.networks.srcnn import SRCNNConfig  # noqa: E402

GRID = [11, 3, 11, 0.5]
DEFAULTS: list[tuple[type[msgspec.Struct], list[Any]]] = [
    (NetworkConfig, [*GRID, 6, 16, 1, 0.7, 3, True, True, True]),
    (ISTANetConfig, [*GRID, 9, 32]),
    (ISTANetPlusConfig, [*GRID, 9, 32]),
    (DISTANetConfig, [*GRID, 6, 32]),
    (SRCNNConfig, [*GRID, 64, 32]),
    (OneStageConfig, [*GRID, 40]),
    (MlpTrunk, [512, 5]),
    (UnfoldedTrunk, [3, 16, 16, 0.5, 24, 384, 3]),
    (OffGridConfig, [MlpTrunk(), 11, 11, 5, None, (0.4, 1.0), 5.5, 1.0, 1.0, 0.135, 0.27]),
    (Normalisation, ["fixed", 235.0]),
]


@pytest.mark.parametrize(
    ("kind", "values"), DEFAULTS, ids=lambda each: getattr(each, "__name__", "")
)
def test_defaults(kind: type[msgspec.Struct], values: list[Any]) -> None:
    assert list(msgspec.structs.astuple(kind())) == values


ODD: dict[str, tuple[list[float], list[float]]] = {
    "crop_size": ([11, 127], [1, 129]),
    "upsampling": ([1, 31], [-1, 33]),
    "field_size": ([1, 11], [-1, 13]),
    "psf_sigma": ([1e-3, 100], [0, 100.1]),
}
HUNDRED, THOUSAND = ([1, 100], [0, 101]), ([1, 1024], [0, 1025])
BOUNDS: list[tuple[type[msgspec.Struct], dict[str, tuple[list[float], list[float]]]]] = [
    (
        NetworkConfig,
        ODD
        | {
            "stages": ([3, 100], [0, 101]),
            "width": THOUSAND,
            "depth": ([0, 100], [-1, 101]),
            "dynamic_weight": ([0, 1], [-0.01, 1.01]),
            "fused_stages": ([1, 6], [0, 7]),
        },
    ),
    (ISTANetConfig, {"stages": HUNDRED, "width": THOUSAND}),
    (ISTANetPlusConfig, {"stages": HUNDRED, "width": THOUSAND}),
    (DISTANetConfig, {"stages": HUNDRED, "width": THOUSAND}),
    (SRCNNConfig, {"patch_width": THOUSAND, "mapping_width": THOUSAND}),
    (OneStageConfig, {"width": THOUSAND}),
    (MlpTrunk, {"width": ([8], [7]), "depth": HUNDRED}),
    (
        UnfoldedTrunk,
        {
            **{"stages": HUNDRED, "channels": THOUSAND, "cells": ([4], [3])},
            **{"cell": ([1e-3], [0]), "reduced": THOUSAND, "width": ([8], [7]), "depth": HUNDRED},
        },
    ),
    (
        OffGridConfig,
        {
            **{"crop_size": ([11], [1, 10, 12]), "window": ([3, 11], [1, 2, 10, 13])},
            **{"slots": ([1, 8], [0, 9]), "unit": ([1e-3], [0]), "reach": ([1e-3], [0])},
            **{"position_step": ([1e-3], [0]), "intensity_step": ([1e-3], [0])},
            **{"position_sigma": ([1e-3], [0]), "intensity_sigma": ([1e-3], [0])},
        },
    ),
    (Normalisation, {"counts": ([1e-3], [0])}),
]


@pytest.mark.parametrize(("kind", "bounds"), BOUNDS, ids=lambda each: getattr(each, "__name__", ""))
def test_bounds(kind: Any, bounds: dict[str, tuple[list[float], list[float]]]) -> None:
    plain = msgspec.to_builtins(kind())
    for name, (allowed, beyond) in bounds.items():
        for value in allowed:
            assert getattr(msgspec.convert({**plain, name: value}, kind), name) == value
        for value in beyond:
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert({**plain, name: value}, kind)


def test_widths_of_an_off_grid_network_rise() -> None:
    assert OffGridConfig(psf_sigma=(0.5, 0.5)).psf_sigma == (0.5, 0.5)
    assert OffGridConfig(psf_sigma=(1e-3, 0.5)).psf_sigma == (1e-3, 0.5)
    for given in ((0.0, 0.5), (0.51, 0.5), (-1.0, 0.5)):
        with pytest.raises(ValueError, match="must be two rising widths"):
            OffGridConfig(psf_sigma=given)
