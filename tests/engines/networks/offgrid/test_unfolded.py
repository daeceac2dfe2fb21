"""The unfolded trunk, with weights of which the answer is known."""

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.imaging import gaussian_profile  # noqa: E402
from dscsnet.engines.networks.offgrid import OffGridConfig, UnfoldedTrunk  # noqa: E402
from dscsnet.engines.networks.offgrid.inputs import Inputs, make_inputs  # noqa: E402
from dscsnet.engines.networks.offgrid.unfolded import OperatorTable, Stage, UnfoldedFeatures  # noqa: E402

TRUNK = UnfoldedTrunk(stages=2, channels=3, cells=10, reduced=4)
CONFIG = OffGridConfig(trunk=TRUNK, window=9, psf_sigma=(0.4, 1.0))


def some_inputs() -> Inputs:
    generator = torch.Generator().manual_seed(0)
    crops = 30 * torch.randn(4, 11, 11, generator=generator)
    psf = torch.tensor([[0.5, 0.6]]).repeat(4, 1)
    return make_inputs(CONFIG, crops, torch.full((4,), 2.0), psf)


def features() -> UnfoldedFeatures:
    torch.manual_seed(0)
    return UnfoldedFeatures(CONFIG, TRUNK)


@pytest.mark.parametrize(
    ("told", "used"),
    [(0.4, 0.4), (0.404, 0.4), (0.406, 0.41), (0.777, 0.78), (1.0, 1.0), (0.2, 0.4), (7.0, 1.0)],
)
def test_the_operator_is_that_of_the_nearest_hundredth(told: float, used: float) -> None:
    table = OperatorTable(CONFIG, TRUNK)
    assert table.number == 61
    along_x, along_y = table(torch.tensor([[told, 0.55]]))
    left, singular, right = (value.double()[0, 0].numpy() for value in along_x)
    assert torch.equal(along_y.singular[0, 0], table.singular[15])
    cells = 4 + np.array([-2.25, -1.75, -1.25, -0.75, -0.25, 0.25, 0.75, 1.25, 1.75, 2.25])
    expected = np.stack([gaussian_profile(cell, 9, used) for cell in cells], axis=1)
    np.testing.assert_allclose(left @ np.diag(singular) @ right.T, expected, atol=1e-6)


@pytest.mark.parametrize("first", [True, False])
def test_a_stage_without_kernels_is_a_soft_threshold(first: bool) -> None:
    stage = Stage(3, first=first)
    for layer in (stage.enter, stage.middle, stage.leave):
        layer.weight.data.zero_()
        layer.bias.data.zero_()
    stage.leave.bias.data.copy_(torch.tensor([0.25, 0.0]))  # step, and softplus(0) as threshold
    stage.pull.data.fill_(0.5)
    kept = 0.0
    if stage.keep is not None:
        stage.keep.data.fill_(kept := 2.0)
    stage.multiplier_step.raw.data.fill_(3.0)
    x, z, beta = (
        torch.randn(1, 1, 5, 5, generator=torch.Generator().manual_seed(k)) for k in (1, 2, 3)
    )
    given: Any = None if first else torch.zeros(1, 3, 5, 5)
    new_z, new_beta, _ = stage(x, z, beta, given, torch.zeros(1, 5))
    moved = 0.5 * (x + beta) - 0.25 + kept * z
    expected = moved.sign() * (moved.abs() - math.log(2)).clamp_min(0)
    torch.testing.assert_close(new_z, expected)
    eta = math.log(1 + math.exp(3))
    torch.testing.assert_close(new_beta, beta + eta * (x - expected))


def test_with_no_code_the_whole_crop_is_left() -> None:
    """Then the trunk's second part is the crop over its noise, and its third the context."""
    trunk, inputs = features(), some_inputs()
    for stage in trunk.stages:
        stage.leave.bias.data[1] = 1e6  # a threshold that nothing passes
    found = trunk(inputs)
    assert found.shape == (4, trunk.size) == (4, 4 * 25 + 81 + 5)
    expected = 0.45 * torch.asinh(inputs.pixels / inputs.noise[:, :, None]).flatten(1)
    torch.testing.assert_close(found[:, -86:-5], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[:, -5:], inputs.context)


def test_what_the_codes_explain_is_not_left() -> None:
    """A threshold and a penalty of nothing: the codes are the least-squares image of the crop."""
    trunk, inputs = features(), some_inputs()
    grid = torch.rand(4, 1, 10, 10, generator=torch.Generator().manual_seed(5))
    (left, singular, right), (left_y, singular_y, right_y) = trunk.table(inputs.psf)
    lit = left_y @ torch.diag_embed(singular_y) @ right_y.mT @ grid
    lit = (lit @ right @ torch.diag_embed(singular) @ left.mT)[:, 0]
    for stage in trunk.stages:
        stage.leave.weight.data.zero_()
        stage.leave.bias.data.copy_(torch.tensor([0.0, -50.0]))
    for penalty in trunk.penalties:
        penalty.weight.data.zero_()
        penalty.bias.data.fill_(-9)
    found = trunk(inputs._replace(pixels=lit))
    nothing = 0.45 * torch.asinh(lit / inputs.noise[:, :, None]).flatten(1)
    assert found[:, -86:-5].abs().mean() < 0.05 * nothing.abs().mean()


@pytest.mark.parametrize(("beyond", "limit", "within"), [(-20.0, -9.0, -8.0), (9.0, 3.0, 2.0)])
def test_the_penalty_stays_within_e_to_the_minus_9_and_3(
    beyond: float, limit: float, within: float
) -> None:
    trunk, inputs = features(), some_inputs()

    def at(value: float) -> torch.Tensor:
        for penalty in trunk.penalties:
            penalty.weight.data.zero_()
            penalty.bias.data.fill_(value)
        return trunk(inputs).detach()  # type: ignore[no-any-return]

    assert torch.equal(at(beyond), at(limit))
    assert not torch.equal(at(within), at(limit))
