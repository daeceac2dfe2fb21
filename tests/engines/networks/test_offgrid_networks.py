"""Off-grid networks: contract of both trunks, exact data step, likelihood over assignments."""

import itertools
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from msgspec.structs import replace  # noqa: E402

from dscsnet.engines.geometry import Grid  # noqa: E402
from dscsnet.engines.imaging import gaussian_profile  # noqa: E402
from dscsnet.engines.networks.offgrid import MlpTrunk, OffGridConfig, OffGridNetwork, UnfoldedTrunk  # noqa: E402
from dscsnet.engines.networks.offgrid.head import Distribution, Head, ResidualBlocks  # noqa: E402
from dscsnet.engines.networks.offgrid.inputs import make_inputs  # noqa: E402
from dscsnet.engines.networks.offgrid.unfolded import DataTerm, OperatorTable  # noqa: E402
from dscsnet.tools.training.set_loss import assignments, position_intensity_cost, set_loss  # noqa: E402

UNFOLDED = UnfoldedTrunk(stages=2, channels=4, cells=12, reduced=4, width=16, depth=1)
TRUNKS = {"mlp": MlpTrunk(width=16, depth=1), "unfolded": UNFOLDED}


def make_network(trunk: str, **changes: object) -> OffGridNetwork:
    torch.manual_seed(0)
    return OffGridNetwork(replace(OffGridConfig(trunk=TRUNKS[trunk]), **changes)).eval()


def make_batch(number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    crops = 30 * torch.randn(number, 11, 11, generator=generator)
    noise = 1 + 4 * torch.rand(number, generator=generator)
    psf = 0.45 + 0.4 * torch.rand(number, 2, generator=generator)
    return crops, noise, psf


@pytest.fixture(params=sorted(TRUNKS), name="trunk")
def _trunk(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_crops_result_does_not_depend_on_its_batch(trunk: str) -> None:
    network, batch = make_network(trunk), make_batch(5)
    together = network(*batch)
    for index in range(5):
        alone = network(*(values[index : index + 1] for values in batch))
        for whole, single in zip(together, alone, strict=True):
            torch.testing.assert_close(whole[index : index + 1], single, rtol=1e-4, atol=1e-5)


def test_every_parameter_has_a_gradient(trunk: str) -> None:
    network = make_network(trunk).train()
    outputs = network(*make_batch(8))
    sum((values * torch.randn_like(values)).sum() for values in outputs).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_nothing_depends_on_the_gain(trunk: str) -> None:
    network, (crops, noise, psf) = make_network(trunk), make_batch(4)
    once, thousandfold = network(crops, noise, psf), network(1000 * crops, 1000 * noise, psf)
    for name, one, many in zip(Distribution._fields, once, thousandfold, strict=True):
        expected = one + math.log(1000) if name == "log_intensity" else one
        torch.testing.assert_close(many, expected, rtol=1e-3, atol=1e-4)


def test_a_fixed_unit_knows_the_counts(trunk: str) -> None:
    network, (crops, noise, psf) = make_network(trunk, unit=235.0), make_batch(4)
    difference = network(crops, noise, psf).position - network(9 * crops, 9 * noise, psf).position
    assert difference.abs().max() > 1e-4


@pytest.mark.parametrize("window", [5, 11])
def test_pixels_outside_the_window_do_not_matter(trunk: str, window: int) -> None:
    network, (crops, noise, psf) = make_network(trunk, window=window, unit=100.0), make_batch(3)
    changed = crops.clone()
    changed[:, 0, 0] += 50
    same = torch.equal(network(crops, noise, psf).position, network(changed, noise, psf).position)
    assert same == (window == 5)


def test_targets_stay_within_reach_when_it_is_used(trunk: str) -> None:
    network = make_network(trunk, reach=0.01)
    batch = make_batch(4)
    assert (network(*batch).position - 5).abs().max() <= 0.01 + 1e-6
    assert (network.train()(*batch).position - 5).abs().max() > 0.01


@pytest.mark.parametrize(
    ("crops", "noise"), [(0.0, 0.0), (1e30, 1e-3), (-65535.0, 1e30), (65535.0, 0.3)]
)
def test_extreme_crops_give_finite_answers(trunk: str, crops: float, noise: float) -> None:
    network = make_network(trunk)
    pixels = torch.full((2, 11, 11), crops)
    pixels[1, ::2] = 0
    outputs = network(pixels, torch.full((2,), noise), torch.tensor([[0.1, 9.0], [0.5, 0.5]]))
    assert all(torch.isfinite(values).all() for values in outputs)


def test_a_configuration_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="window 13 must not exceed crop_size 11"):
        OffGridConfig(window=13)
    with pytest.raises(ValueError, match="must be odd"):
        OffGridConfig(crop_size=10, window=9)
    with pytest.raises(ValueError, match="rising"):
        OffGridConfig(psf_sigma=(0.9, 0.4))
    with pytest.raises(ValueError, match="even"):
        OffGridConfig(trunk=UnfoldedTrunk(cells=15))


class TestDataTerm:
    """The x-update with a PSF of its own for each crop."""

    def setup_method(self) -> None:
        self.config = OffGridConfig(trunk=UNFOLDED)
        crops, noise, _ = make_batch(3)
        # Widths that the table holds exactly.
        self.psf = torch.tensor([[0.5, 0.5], [0.45, 0.8], [0.9, 0.62]])
        self.inputs = make_inputs(self.config, crops.double(), noise.double(), self.psf.double())
        table = OperatorTable(self.config, UNFOLDED).double()
        self.data = DataTerm(table, self.inputs.pixels, self.inputs.psf)

    def operator(self, crop: int) -> np.ndarray:
        """Dense Φ, (121, 144), row by row of pixels and of cells."""
        positions = 5 + (np.arange(12) - 5.5) * 0.5
        along_x, along_y = (
            gaussian_profile(positions, 11, float(sigma)).T for sigma in self.psf[crop]
        )
        return np.kron(along_y, along_x)

    def test_it_is_the_dense_inverse(self) -> None:
        prior = torch.randn(3, 1, 12, 12, dtype=torch.double)
        prior[2] = 0
        penalty = torch.tensor([0.1, 1.0, 3.0], dtype=torch.double)[:, None, None, None]
        result = self.data.update(prior, penalty)
        for crop in range(3):
            phi, rho = self.operator(crop), float(penalty[crop])
            pixels = self.inputs.pixels[crop].flatten().numpy()
            right = phi.T @ pixels + rho * prior[crop].flatten().numpy()
            expected = np.linalg.solve(phi.T @ phi + rho * np.eye(144), right)
            # The table is kept in single precision.
            np.testing.assert_allclose(result[crop].flatten(), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(self.data.first_update(penalty)[2], result[2])

    def test_the_residual_is_what_is_left(self) -> None:
        grid = torch.randn(3, 1, 12, 12, dtype=torch.double)
        for crop, left in enumerate(self.data.residual(grid)):
            expected = (
                self.inputs.pixels[crop].flatten()
                - torch.from_numpy(self.operator(crop)) @ grid[crop].flatten()
            )
            torch.testing.assert_close(left.flatten(), expected, rtol=1e-4, atol=1e-5)


def brute_force(one: Distribution, crop: int, truth: np.ndarray, slots: int) -> float:
    """-ln of the likelihood, assignment by assignment; truth: (targets, 3)."""
    logits = one.count[crop].double()
    total = -float(torch.log_softmax(logits, 0)[len(truth)])
    likelihood = 0.0
    for order in itertools.permutations(range(slots)):
        value = 0.0
        for target, slot in enumerate(order):
            exists = float(torch.sigmoid(one.existence[crop, slot].double()))
            if target >= len(truth):
                value += math.log(1 - exists)
                continue
            sigma = np.exp(one.log_sigma[crop, slot].double().numpy())
            mean = [*one.position[crop, slot].tolist(), float(one.log_intensity[crop, slot])]
            pull = (truth[target] - mean) / sigma
            value += math.log(exists) - 0.5 * (pull**2).sum() - np.log(sigma).sum()
        likelihood += math.exp(value)
    return total - math.log(likelihood)


@pytest.mark.parametrize("slots", [1, 3, 4])
def test_the_loss_is_the_sum_over_assignments(slots: int) -> None:
    generator = torch.Generator().manual_seed(slots)
    number = slots + 1

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.double)

    stated = Distribution(
        draw(number, slots + 2),
        draw(number, slots),
        5 + 0.3 * draw(number, slots, 2),
        5 + 0.2 * draw(number, slots),
        0.2 * draw(number, slots, 3),
    )
    present = torch.arange(slots) < torch.arange(number)[:, None]
    x, y, log_intensity = 5 + draw(number, slots), 5 + draw(number, slots), 5 + draw(number, slots)
    loss = set_loss(stated, x, y, log_intensity, present, assignments(slots, x.device).double())
    expected = []
    for crop in range(number):
        truth = torch.stack([x[crop], y[crop], log_intensity[crop]], 1)[present[crop]].numpy()
        expected.append(brute_force(stated, crop, truth, slots))
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-6)


def test_crops_with_too_many_targets_teach_the_count_alone() -> None:
    stated = Distribution(*(torch.randn(1, *s) for s in ((4,), (2,), (2, 2), (2,), (2, 3))))
    where = torch.randn(1, 5)
    loss = set_loss(
        stated,
        where,
        where,
        where,
        torch.ones(1, 5, dtype=torch.bool),
        assignments(2, where.device),
    )
    assert float(loss) == pytest.approx(-float(torch.log_softmax(stated.count[0], 0)[-1]))


def test_the_gradient_is_that_of_the_likelihood() -> None:
    """The responsibilities carry no gradient, yet the result's is exact."""
    generator = torch.Generator().manual_seed(0)
    matrices = assignments(3, torch.device("cpu")).double()
    x = 5 + torch.rand(2, 3, generator=generator, dtype=torch.double)
    present = torch.tensor([[True, True, False], [True, True, True]])
    rest = [torch.randn(2, *s, generator=generator, dtype=torch.double) for s in ((5,), (3,))]
    sigma = torch.zeros(2, 3, 3, dtype=torch.double)

    def loss(position: torch.Tensor) -> torch.Tensor:
        stated = Distribution(rest[0], rest[1], position, x, sigma)
        return set_loss(stated, x, x, x, present, matrices)

    start = 5 + torch.rand(2, 3, 2, generator=generator, dtype=torch.double)
    assert torch.autograd.gradcheck(loss, start.requires_grad_())


def test_far_errors_cost_in_proportion_and_exact_ones_have_a_gradient() -> None:
    """Half the squared sigmas up to 5 of them; beyond, the tangent: 5 for each further sigma."""
    sigmas = torch.tensor([0.0, 2.0, 5.0, 7.0, 40.0], dtype=torch.double)
    x = (0.5 * sigmas).requires_grad_()
    nothing = torch.zeros(5, 1, dtype=torch.double)
    stated = Distribution(
        nothing,
        nothing,
        torch.zeros(5, 1, 2, dtype=torch.double),
        nothing,
        torch.full((5, 1, 3), math.log(0.5), dtype=torch.double),
    )
    cost = position_intensity_cost(stated, x[:, None], nothing, nothing)[:, 0, 0]
    wanted = torch.tensor([0.0, 2.0, 12.5, 22.5, 187.5], dtype=torch.double) + 3 * math.log(0.5)
    torch.testing.assert_close(cost, wanted)
    (slope,) = torch.autograd.grad(cost.sum(), x)
    torch.testing.assert_close(slope, torch.tensor([0.0, 4, 10, 10, 10], dtype=torch.double))


def test_cells_lie_symmetrically_about_the_crop() -> None:
    table = OperatorTable(OffGridConfig(trunk=UNFOLDED), UNFOLDED)
    operator = table.left[10] * table.singular[10] @ table.right[10].mT
    torch.testing.assert_close(operator, operator.flip(0, 1), rtol=1e-4, atol=1e-5)
    assert Grid().center == 5


def test_blocks_begin_as_hardly_more_than_what_they_are_given() -> None:
    """So that many of them can be trained: the second layer is small, and adds no constant."""
    torch.manual_seed(0)
    blocks = ResidualBlocks(256, 3)
    for layer in blocks.second:
        assert not layer.bias.any()
        # PyTorch's own range of a layer of this width is 1/16.
        assert layer.weight.detach().abs().max().item() == pytest.approx(0.3 / 16, rel=0.01)


def test_slots_begin_apart() -> None:
    """The first in the middle, the others evenly on a circle of radius 1 step about it."""
    config = OffGridConfig(slots=5)
    head = Head(config, 10, 16, 1)
    start = head.leave.bias.detach()[7:].reshape(5, -1).double()
    place = torch.complex(start[:, 1], start[:, 2])
    assert place[0] == 0
    torch.testing.assert_close(place[1:].abs(), torch.ones(4, dtype=torch.double))
    turns = place[1:] / place[1:].roll(1)
    torch.testing.assert_close(turns, torch.full((4,), 1j, dtype=torch.cdouble))
    assert not start[:, [0, 3, 4, 5, 6]].any()
    assert head.leave.weight.abs().max() <= 0.3 / 4
