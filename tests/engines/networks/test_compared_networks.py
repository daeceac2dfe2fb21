"""The networks that DSCSNet is compared with: batch, gradients, geometry, and their own parts."""

import msgspec
import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.networks.base import GridNetwork, StartedNetwork  # noqa: E402
from dscsnet.engines.networks.config import GridConfig, NetworkConfig  # noqa: E402
from dscsnet.engines.networks.dista_net import (  # noqa: E402
    DISTANetConfig,
    DynamicThreshold,
    adjoint,
    convolve_each,
)
from dscsnet.engines.networks.ista_net import ISTANetConfig, ISTANetPlusConfig  # noqa: E402
from dscsnet.engines.networks.one_stage import OneStageConfig  # noqa: E402
from dscsnet.engines.networks.registry import AnyNetworkConfig, build  # noqa: E402
from dscsnet.engines.networks.srcnn import SRCNNConfig  # noqa: E402
from tests.engines.networks.batches import check_alone_and_together  # noqa: E402

SMALL: dict[str, GridConfig] = {
    "dscsnet": NetworkConfig(field_size=5, stages=3, width=4),
    "ista-net": ISTANetConfig(field_size=5, stages=2, width=6),
    "ista-net-plus": ISTANetPlusConfig(field_size=5, stages=2, width=6),
    "dista-net": DISTANetConfig(field_size=5, stages=2, width=6),
    "srcnn": SRCNNConfig(field_size=5, patch_width=6, mapping_width=4),
    "one-stage": OneStageConfig(field_size=5, width=6),
}
SIZES = {
    "c=3": {},
    "c=5, wider PSF": {"upsampling": 5, "psf_sigma": 0.8},
    "whole crop, 9 px": {"crop_size": 9, "field_size": 9},
}


@pytest.fixture(params=[(kind, size) for kind in SMALL for size in SIZES], ids="-".join)
def config(request: pytest.FixtureRequest) -> GridConfig:
    kind, size = request.param
    return msgspec.structs.replace(SMALL[kind], **SIZES[size])


def make(config: GridConfig) -> GridNetwork:
    """A network whose weights are random everywhere, the zero-initialised ones too."""
    torch.manual_seed(0)
    network = build(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        if isinstance(network, StartedNetwork):
            network.start.normal_(std=0.05)
    return network


def crops(config: GridConfig, number: int) -> "torch.Tensor":
    generator = torch.Generator().manual_seed(1)
    return torch.rand(number, config.crop_size, config.crop_size, generator=generator)


def test_a_result_does_not_depend_on_its_batch(config: GridConfig) -> None:
    check_alone_and_together(make(config).eval(), crops(config, 5), 1e-4)


def test_every_parameter_gets_a_gradient(config: GridConfig) -> None:
    network = make(config)
    grids, auxiliary = network.with_auxiliary_loss(crops(config, 8))
    assert auxiliary >= 0
    (grids.square().sum() + auxiliary).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_training_and_use_give_the_same_grids(config: GridConfig) -> None:
    network = make(config)
    with torch.no_grad():
        torch.testing.assert_close(
            network.with_auxiliary_loss(crops(config, 3))[0], network(crops(config, 3))
        )


@pytest.mark.parametrize("kind", SMALL)
def test_cells_outside_the_field_are_zero(kind: str) -> None:
    config = SMALL[kind]
    output = make(config)(crops(config, 2))
    margin = config.grid.margin_cells
    inside = output[:, margin:-margin, margin:-margin]
    assert output.count_nonzero() == inside.count_nonzero() > 0


@pytest.mark.parametrize("kind", SMALL)
def test_kind_names_the_network(kind: str) -> None:
    text = msgspec.yaml.encode(SMALL[kind])
    assert f"kind: {kind}" in text.decode()
    assert msgspec.yaml.decode(text, type=AnyNetworkConfig) == SMALL[kind]


def test_a_network_without_a_proximal_step_is_gradient_descent() -> None:
    config = ISTANetPlusConfig(field_size=5, stages=3, width=2)
    network = make(config)
    with torch.no_grad():
        for proximal in network.proximal_steps:
            proximal.drop.weight.zero_()
        network.step_sizes.fill_(0.7)
    y = crops(config, 2)
    line = torch.from_numpy(config.grid.operator(config.psf_sigma)).float()
    dense = torch.kron(line, line)
    step = 0.7 / torch.linalg.matrix_norm(dense, 2) ** 2
    x = y.flatten(1) @ network.start
    for _ in range(3):
        x = x - step * (x @ dense.mT - y.flatten(1)) @ dense
    found = network.field_of(network(y)).flatten(1)
    torch.testing.assert_close(found, x, rtol=1e-4, atol=1e-5)


def test_symmetry_loss_vanishes_for_a_transform_with_an_exact_inverse() -> None:
    config = ISTANetConfig(field_size=3, stages=1, width=2)
    network = build(config)
    (step,) = network.proximal_steps
    with torch.no_grad():
        # x becomes (x, -x), the ReLU keeps what is positive of each, the difference is x again.
        for layer in (step.first, step.second, step.third, step.last):
            layer.weight.zero_()
        step.first.weight[:, 0, 1, 1] = torch.tensor([1.0, -1.0])
        for layer in (step.second, step.third):
            layer.weight[[0, 1], [0, 1], 1, 1] = 1.0
        step.last.weight[0, :, 1, 1] = torch.tensor([1.0, -1.0])
        assert network.with_auxiliary_loss(crops(config, 3))[1] < 1e-10
        step.last.weight.zero_()
        network.step_sizes.zero_()
        network.start.normal_(std=0.1)
        estimate = network.first_estimate(crops(config, 3))
        # Now the inverse gives 0 and the mismatch is the estimate itself.
        expected = 0.01 * estimate.square().sum((1, 2, 3)).mean()
        torch.testing.assert_close(network.with_auxiliary_loss(crops(config, 3))[1], expected)


def test_each_crop_is_convolved_with_its_own_kernel() -> None:
    image, kernel = torch.randn(3, 4, 7, 7), torch.randn(3, 5, 9, 4)
    expected = torch.cat(
        [
            torch.nn.functional.conv2d(one[None], k.reshape(5, 3, 3, 4).movedim(3, 1), padding=1)
            for one, k in zip(image, kernel, strict=True)
        ]
    )
    torch.testing.assert_close(convolve_each(image, kernel), expected, rtol=1e-4, atol=1e-5)


def test_adjoint_kernel_is_the_transposed_operator() -> None:
    x, y, kernel = torch.randn(2, 4, 7, 7), torch.randn(2, 5, 7, 7), torch.randn(2, 5, 9, 4)
    forward = (convolve_each(x, kernel) * y).sum((1, 2, 3))
    backward = (x * convolve_each(y, adjoint(kernel))).sum((1, 2, 3))
    torch.testing.assert_close(forward, backward, rtol=1e-3, atol=1e-3)


def test_dynamic_thresholds_are_one_per_cell_and_not_negative() -> None:
    codes = 10 * torch.randn(3, 4, 7, 7)
    threshold = DynamicThreshold(4)(codes)
    assert threshold.shape == (3, 1, 7, 7)
    assert threshold.min() >= 0
    assert threshold.std() > 0


@pytest.mark.parametrize(
    ("config", "millions"),
    [(ISTANetConfig(), 0.171), (ISTANetPlusConfig(), 0.337), (DISTANetConfig(), 2.179)],
)
def test_published_sizes(config: GridConfig, millions: float) -> None:
    found = sum(parameter.numel() for parameter in build(config).parameters())
    assert found / 1e6 == pytest.approx(millions, rel=0.005)
