"""The light trunk's features against what they are called."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.networks.offgrid import OffGridConfig  # noqa: E402
from dscsnet.engines.networks.offgrid.inputs import Inputs  # noqa: E402
from dscsnet.engines.networks.offgrid.mlp import WhitenedPixels  # noqa: E402


def made_up(crops: np.ndarray, noise: float) -> Inputs:
    number = len(crops)
    ones = torch.ones(number, 1)
    context = torch.arange(5.0).expand(number, 5)
    return Inputs(torch.from_numpy(crops), ones, noise * ones, torch.ones(number, 2), context)


def crops_of(number: int) -> np.ndarray:
    """Correlated pixels about a mean that is not zero."""
    generator = np.random.default_rng(3)
    mixed = generator.normal(0, 1, (number, 9)) @ generator.normal(0, 2, (9, 9)) + 4
    return mixed.reshape(number, 3, 3).astype(np.float32)


@pytest.mark.parametrize("unit", [None, 10.0])
def test_features_are_uncorrelated_and_of_unit_variance(unit: float | None) -> None:
    """About zero where nothing depends on the counts, else about the mean crop."""
    crops = crops_of(500)
    trunk = WhitenedPixels(OffGridConfig(window=3, unit=unit))
    trunk.fit_start(made_up(crops, 0.0))
    faint = trunk(made_up(crops, 1e-3)).numpy().astype(float)
    assert faint.shape == (500, trunk.size)
    white, seen, context = faint[:, :9], faint[:, 9:18], faint[:, 18:]
    np.testing.assert_allclose(white.T @ white / 500, np.eye(9), atol=0.02)
    assert np.abs(white.mean(0)).max() < 1e-3 or unit is None
    assert (context == np.arange(5)).all()
    flat = crops.reshape(500, 9).astype(float)
    axes = np.linalg.eigh((flat - flat.mean(0)).T @ (flat - flat.mean(0)))[1]
    found = np.sinh(seen / 0.45) * 1e-3
    if unit is None:
        np.testing.assert_allclose(found, flat, rtol=1e-3, atol=1e-4)
    else:
        expected = np.abs((flat - flat.mean(0)) @ axes) / 3  # an axis has no direction
        np.testing.assert_allclose(np.abs(found), expected, rtol=1e-2, atol=1e-2)


def test_noise_takes_the_weight_of_what_is_fainter() -> None:
    crops = crops_of(500)
    trunk = WhitenedPixels(OffGridConfig(window=3))
    trunk.fit_start(made_up(crops, 0.0))
    faint, loud = (trunk(made_up(crops, noise)).numpy()[:, :9] for noise in (1e-4, 2.0))
    flat = crops.reshape(500, 9).astype(float)
    variance = np.linalg.eigvalsh(flat.T @ flat / 500)
    np.testing.assert_allclose(
        np.square(loud / faint).mean(0), variance / (variance + 4), rtol=0.02
    )


def test_an_axis_without_light_has_a_hundred_millionth_of_the_largest_variance() -> None:
    crops = np.zeros((4, 3, 3), np.float32)
    crops[:, 1, 1] = (1, -1, 3, 5)  # 9 on the mean of squares
    trunk = WhitenedPixels(OffGridConfig(window=3))
    trunk.fit_start(made_up(crops, 0.0))
    np.testing.assert_allclose(trunk.variance, [9e-8] * 8 + [9], rtol=1e-5)
