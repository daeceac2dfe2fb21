"""DSCSNet: exact ADMM steps, independence of the batch, gradients everywhere."""

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.imaging import central_fraction  # noqa: E402
from dscsnet.engines.networks.config import NetworkConfig  # noqa: E402
from dscsnet.engines.networks.deployed import Deployed, Normalisation  # noqa: E402
from dscsnet.engines.networks.dscsnet import DSCSNet  # noqa: E402
from dscsnet.engines.networks.layers import (  # noqa: E402
    DataStep,
    DynamicConvolution,
    neighbourhoods,
    soft_threshold,
)
from tests.engines.networks.batches import check_alone_and_together  # noqa: E402

SMALL = NetworkConfig(field_size=5, stages=3, width=4)
VARIANTS = {
    "full": SMALL,
    "no DCN": msgspec.structs.replace(SMALL, dynamic_convolution=False),
    "no DIR": msgspec.structs.replace(SMALL, reorganization=False),
    "no DTG": msgspec.structs.replace(SMALL, threshold_generator=False),
    "ADMM-CSNet": msgspec.structs.replace(
        SMALL, dynamic_convolution=False, reorganization=False, threshold_generator=False
    ),
    "c=5": msgspec.structs.replace(SMALL, upsampling=5),
    "c=7, 9 px, wider PSF": msgspec.structs.replace(
        SMALL, upsampling=7, crop_size=9, psf_sigma=0.8
    ),
    "whole crop": msgspec.structs.replace(SMALL, field_size=11),
    "two stages": msgspec.structs.replace(SMALL, stages=2, fused_stages=2, depth=0),
}


@pytest.fixture(params=VARIANTS, name="config")
def _config(request: pytest.FixtureRequest) -> NetworkConfig:
    return VARIANTS[request.param]


def make(config: NetworkConfig, seed: int = 0) -> "DSCSNet":
    """A network whose weights are random everywhere, the zero-initialised ones too."""
    torch.manual_seed(seed)
    network = DSCSNet(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        network.start.normal_(std=0.05)
    return network


def crops(config: NetworkConfig, number: int) -> "torch.Tensor":
    generator = torch.Generator().manual_seed(1)
    return torch.rand(number, config.crop_size, config.crop_size, generator=generator)


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 5.0])
def test_x_update_is_the_dense_inverse(config: NetworkConfig, penalty: float) -> None:
    grid = config.grid
    step = DataStep(grid, config.psf_sigma).double()
    operator = torch.from_numpy(grid.operator(config.psf_sigma))
    # The buffers keep float32 values; refill them exactly, so that only the algebra is compared.
    left, singular, right = torch.linalg.svd(operator, full_matrices=False)
    step.operator, step.left, step.right = operator, left, right.mT
    step.gain = torch.outer(singular, singular)
    dense = torch.kron(operator, operator)
    y = crops(config, 2).double().unsqueeze(1)
    prior = torch.randn(2, 1, grid.field_cells, grid.field_cells, dtype=torch.float64)
    normal = dense.mT @ dense + penalty * torch.eye(dense.shape[1], dtype=torch.float64)
    rho = torch.tensor(penalty, dtype=torch.float64)
    right_side = y.flatten(1) @ dense + penalty * prior.flatten(1)
    expected = torch.linalg.solve(normal, right_side.mT).mT
    updated = step.update(step.to_spectrum(y), prior, rho)
    torch.testing.assert_close(updated.flatten(1), expected, rtol=1e-9, atol=1e-9)
    solved = step.solve(step.adjoint(y) + penalty * prior, rho)
    torch.testing.assert_close(solved.flatten(1), expected, rtol=1e-8, atol=1e-8)
    projected = step.forward_model(prior).flatten(1)
    torch.testing.assert_close(projected, prior.flatten(1) @ dense.mT)


def test_a_result_does_not_depend_on_its_batch(config: NetworkConfig) -> None:
    check_alone_and_together(make(config).eval(), crops(config, 5), 1e-3)


def test_every_parameter_gets_a_gradient(config: NetworkConfig) -> None:
    network = make(config)
    network(crops(config, 8)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_cells_outside_the_field_are_zero() -> None:
    output = make(SMALL)(crops(SMALL, 2))
    margin = SMALL.grid.margin_cells
    inside = output[:, margin:-margin, margin:-margin]
    assert output.count_nonzero() == inside.count_nonzero() > 0


def test_start_is_the_least_squares_map() -> None:
    network = make(SMALL)
    y = torch.randn(400, 11, 11)
    truth = torch.randn(121, 225)
    grids = torch.zeros(400, 33, 33)
    grids[:, 9:24, 9:24] = (y.flatten(1) @ truth).unflatten(1, (15, 15))
    network.fit_start(y, grids, ridge=1e-12)
    torch.testing.assert_close(network.start, truth, rtol=1e-3, atol=1e-3)


def test_dynamic_convolution_is_a_convolution_with_the_mixed_kernel() -> None:
    torch.manual_seed(0)
    layer = DynamicConvolution(4, 0.7)
    image = torch.randn(3, 1, 7, 7)
    features = torch.nn.functional.silu(layer.features(image))
    pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
    for index in range(3):
        generated = layer.generator(pooled[index]).reshape(4, 1, 3, 3)
        kernel = 0.3 * layer.kernel.reshape(4, 1, 3, 3) + 0.7 * generated
        expected = torch.nn.functional.conv2d(
            image[index : index + 1], kernel, layer.bias[:, 0], padding=1
        )
        torch.testing.assert_close(layer(image)[index : index + 1], expected)


def test_neighbourhoods_agree_with_unfold() -> None:
    image = torch.randn(2, 1, 6, 6)
    expected = torch.nn.functional.unfold(image, 3, padding=1)
    torch.testing.assert_close(neighbourhoods(image), expected)


def test_soft_threshold_by_hand() -> None:
    value = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0])
    expected = torch.tensor([-1.0, 0.0, 0.0, 0.0, 1.0])
    torch.testing.assert_close(soft_threshold(value, torch.tensor(1.0)), expected)


def test_peak_normalisation_is_scale_free() -> None:
    model = Deployed(make(SMALL), Normalisation(kind="peak")).eval()
    batch = crops(SMALL, 3)
    with torch.no_grad():
        torch.testing.assert_close(model(batch * 37), model(batch) * 37, rtol=1e-4, atol=1e-3)
        assert model(torch.zeros(1, 11, 11)).abs().max() == 0
        assert model(-torch.ones(1, 11, 11)).abs().max() == 0


def test_peak_unit_is_a_centred_target() -> None:
    model = Deployed(make(SMALL), Normalisation(kind="peak"))
    crop = torch.zeros(1, 11, 11)
    crop[0, 5, 5] = 300 * central_fraction(0.5)
    assert float(model.scale(crop)) == pytest.approx(300)
    crop[0, 0, 0] = 1e6  # light outside the field sets no unit
    assert float(model.scale(crop)) == pytest.approx(300)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="fused_stages 3 must not exceed stages 2"):
        NetworkConfig(stages=2)
    with pytest.raises(ValueError, match="field_size 13 must not exceed crop_size 11"):
        NetworkConfig(field_size=13)


def test_float64_reference_keeps_float32_weights() -> None:
    network = make(SMALL).eval()
    batch = crops(SMALL, 4)
    with torch.no_grad():
        single = network(batch).numpy()
        double = network.double()(batch.double()).numpy()
    assert np.linalg.norm(single - double) < 1e-5 * np.linalg.norm(double)
