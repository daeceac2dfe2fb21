"""What new networks begin with: sizes of layers, and the numbers that training starts from."""

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.networks.config import NetworkConfig  # noqa: E402
from dscsnet.engines.networks.dista_net import DISTANetConfig  # noqa: E402
from dscsnet.engines.networks.ista_net import ISTANetConfig, ISTANetPlusConfig  # noqa: E402
from dscsnet.engines.networks.offgrid import (  # noqa: E402
    MlpTrunk,
    OffGridConfig,
    OffGridNetwork,
    UnfoldedTrunk,
)
from dscsnet.engines.networks.one_stage import OneStageConfig  # noqa: E402
from dscsnet.engines.networks.registry import build  # noqa: E402
from dscsnet.engines.networks.srcnn import SRCNNConfig  # noqa: E402


def numbers(network: Any) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (NetworkConfig(), 56393),
        (NetworkConfig(dynamic_convolution=False), 18761),
        (SRCNNConfig(), 8129),
        (OneStageConfig(), 50218),
    ],
)
def test_sizes_of_grid_networks(config: Any, expected: int) -> None:
    assert numbers(build(config)) == expected


@pytest.mark.parametrize(("trunk", "expected"), [(MlpTrunk(), 2781226), (UnfoldedTrunk(), 1566146)])
def test_sizes_of_off_grid_networks(trunk: Any, expected: int) -> None:
    assert numbers(OffGridNetwork(OffGridConfig(trunk=trunk))) == expected


def started(network: Any) -> dict[str, Any]:
    """Parameters by name; those behind a softplus as what it gives."""
    return {
        name: torch.nn.functional.softplus(value) if name.endswith(".raw") else value
        for name, value in network.named_parameters()
    }


def close(values: dict[str, Any], expected: dict[str, float]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(values[name], torch.full_like(values[name], value))


def spread(values: dict[str, Any], expected: dict[str, float]) -> None:
    for name, sigma in expected.items():
        assert float(values[name].detach().std()) == pytest.approx(sigma, rel=0.1), name


def test_dscsnet() -> None:
    torch.manual_seed(0)
    values = started(build(NetworkConfig(stages=3, width=128)))
    close(
        values,
        {
            "stages.0.pull": 0.7,
            "stages.1.keep": 0.3,
            "stages.2.pull": 0.7,
            "stages.1.multiplier_step": 0.3,
            "stages.0.threshold.raw": 0.01,
            "stages.0.transform.first.bias": 0.0,
            "stages.0.transform.last.bias": 0.0,
            "penalties.0.raw": 0.1,
            "penalties.2.raw": 0.1,
            "threshold_generator.attention.bias": -4.0,
            "reorganization.weights": 0.0,
            "reorganization.threshold.raw": 0.05,
            "reorganization.last.bias": 0.0,
        },
    )
    assert "stages.0.keep" not in values
    spread(
        values,
        {
            "stages.0.transform.last.weight": 0.02,
            "stages.0.transform.first.kernel": 1 / 3,
            "reorganization.last.weight": 0.02,
        },
    )


def test_the_networks_it_is_compared_with() -> None:
    torch.manual_seed(0)
    for config in (ISTANetConfig(stages=1), ISTANetPlusConfig(stages=1)):
        values = started(build(config))
        (threshold,) = (name for name in values if name.endswith(".raw"))
        close(values, {threshold: 0.01, "step_sizes": 1.0})
    values = started(build(DISTANetConfig(stages=1)))
    close(values, {"proximal_steps.0.threshold.attention.bias": -4.0, "step_sizes": 1.0})
    spread(values, {"proximal_steps.0.generator.mixture.weight": 1 / 96})
    xavier = math.sqrt(2 / (9 * 64))
    spread(values, {f"proximal_steps.0.{name}.weight": xavier for name in ("static", "after.0")})
    values = started(build(OneStageConfig()))
    assert (values["heads.bias"][9:] == -4).all()
    assert (values["heads.bias"][:9].abs() < 1).all()
    spread(values, {"stages.1.0.weight": math.sqrt(2 / (9 * 40))})


def test_off_grid_networks() -> None:
    torch.manual_seed(0)
    trunk = UnfoldedTrunk(stages=2, channels=64)
    values = started(OffGridNetwork(OffGridConfig(trunk=trunk)))
    for stage in ("features.stages.0", "features.stages.1"):
        close(
            values,
            {
                f"{stage}.pull": 1.0,
                f"{stage}.gains.weight": 0.0,
                f"{stage}.gains.bias": 1.0,
                f"{stage}.multiplier_step.raw": 1.0,
            },
        )
        assert values[f"{stage}.leave.bias"].tolist() == [0, -4]
        spread(values, {f"{stage}.leave.weight": 0.3 / math.sqrt(3 * 9 * 64)})
    close(values, {"features.stages.1.keep": 0.0, "features.penalties.0.bias": -3.0})
    assert "features.stages.0.keep" not in values
    assert values["features.penalties.1.weight"].tolist() == [[0, 0, 0, 0, 2]]
    uniform = 1 / math.sqrt(3 * 384)
    spread(
        values,
        {
            "head.blocks.first.0.weight": uniform,
            "head.blocks.second.1.weight": 0.3 * uniform,
            "head.leave.weight": 0.3 * uniform,
        },
    )
    close(values, {"head.blocks.second.0.bias": 0.0})
    slots = values["head.leave.bias"][7:].reshape(5, 7).detach()
    angle = torch.arange(1, 5) * math.pi / 2
    torch.testing.assert_close(slots[1:, 1:3], torch.stack([angle.cos(), angle.sin()], 1))
    assert slots[0].abs().max() == slots[:, [0, 3, 4, 5, 6]].abs().max() == 0
    lone = OffGridNetwork(OffGridConfig(trunk=MlpTrunk(width=8, depth=1), slots=1))
    assert started(lone)["head.leave.bias"][3:].abs().max() == 0
