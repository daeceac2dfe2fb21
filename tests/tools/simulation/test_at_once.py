"""Draws that never wait for a device: in distribution the same crops as drawn in turn."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.tools.simulation.csist import CropProtocol, Simulator  # noqa: E402
from dscsnet.tools.simulation.feed import FieldRun  # noqa: E402
from dscsnet.tools.simulation.field import FieldProtocol, FieldSimulator  # noqa: E402
from dscsnet.tools.simulation.positions import PositionTable  # noqa: E402

CROPS = 20_000


class TestTable:
    """Pools of one and of two targets, of different length."""

    def setup_method(self) -> None:
        self.pools = {1: torch.tensor([[[1.0, 2.0]]]), 2: torch.arange(12.0).reshape(3, 2, 2) + 10}
        self.table = PositionTable(self.pools)

    def test_each_crop_is_served_from_its_own_pool(self) -> None:
        count = torch.tensor([0, 1, 2, 2, 2, 1])
        uniform = torch.tensor([0.9, 0.99, 0.0, 0.34, 1 - 2**-24, 0.0])
        taken = self.table.take(count, uniform)
        assert taken.shape == (6, 2, 2)
        assert not taken[0].any()
        assert taken[1].tolist() == taken[5].tolist() == [[1.0, 2.0], [0.0, 0.0]]
        for row, chosen in ((2, 0), (3, 1), (4, 2)):
            assert torch.equal(taken[row], self.pools[2][chosen])

    def test_every_member_is_as_likely(self) -> None:
        taken = self.table.take(torch.full((CROPS,), 2), torch.rand(CROPS))
        share = (taken[:, 0, 0, None] == self.pools[2][:, 0, 0]).float().mean(0)
        assert share.tolist() == pytest.approx([1 / 3] * 3, abs=0.02)

    def test_what_is_moved_in_a_pool_is_moved_in_the_table(self) -> None:
        self.table.pools[2][1] = -1.0
        taken = self.table.take(torch.tensor([2]), torch.tensor([0.5]))
        assert (taken == -1).all()


def quantiles(values: torch.Tensor) -> np.ndarray:
    return np.quantile(values.double().numpy(), [0.05, 0.25, 0.5, 0.75, 0.95])


def test_field_crops_are_drawn_alike() -> None:
    usual, at_once = (
        FieldSimulator(FieldProtocol(), seed=1, at_once=way).draw(CROPS) for way in (False, True)
    )
    shares = [
        torch.bincount(scenes.present.sum(1), minlength=10) / CROPS for scenes in (usual, at_once)
    ]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.015)
    for name in ("noise", "true_noise", "psf"):
        one, other = (quantiles(getattr(scenes, name).flatten()) for scenes in (usual, at_once))
        np.testing.assert_allclose(one, other, rtol=0.04, err_msg=name)
    for name in ("x", "y"):
        one, other = (
            quantiles(getattr(scenes, name)[scenes.present]) for scenes in (usual, at_once)
        )
        np.testing.assert_allclose(one, other, atol=0.06, err_msg=name)
    for scenes in (usual, at_once):
        gap = (scenes.x[:, :, None] - scenes.x[:, None]).hypot(
            scenes.y[:, :, None] - scenes.y[:, None]
        )
        pairs = (
            scenes.present[:, :, None] & scenes.present[:, None] & ~torch.eye(9, dtype=torch.bool)
        )
        assert gap[pairs].min() >= FieldProtocol().min_separation - 1e-5
        assert (scenes.x[~scenes.present] == 5).all()


def test_published_crops_are_drawn_alike() -> None:
    simulators = [Simulator(CropProtocol(), seed=2, pool=500, at_once=way) for way in (False, True)]
    for simulator in simulators:
        for _ in range(20):  # the pools move on
            scenes = simulator.draw(2000)
        gap = (scenes.x[:, :, None] - scenes.x[:, None]).hypot(
            scenes.y[:, :, None] - scenes.y[:, None]
        )
        pairs = (
            scenes.present[:, :, None] & scenes.present[:, None] & ~torch.eye(5, dtype=torch.bool)
        )
        assert gap[pairs].min() >= simulator.protocol.min_separation - 1e-5
        for axis in (scenes.x, scenes.y):
            assert (axis - 5).abs().max() <= 0.5
        share = torch.bincount(scenes.present.sum(1), minlength=6)[1:] / 2000
        np.testing.assert_allclose(share, 0.2, atol=0.04)


def test_pools_that_are_drawn_from_move() -> None:
    simulator = Simulator(CropProtocol(), seed=2, pool=100, at_once=True)
    simulator.draw(10)
    before = {count: pool.clone() for count, pool in simulator.pools.items()}
    simulator.draw(10)
    assert all(not torch.equal(pool, before[count]) for count, pool in simulator.pools.items())


def test_a_restored_simulator_goes_on_with_the_same_crops() -> None:
    first, second = (Simulator(CropProtocol(), seed=s, pool=100, at_once=True) for s in (2, 3))
    first.draw(10)
    second.draw(10)
    state = first.state()
    state["pools"] = {count: pool.clone() for count, pool in state["pools"].items()}
    wanted = first.draw(50)
    second.restore(state)
    assert torch.equal(second.draw(50).crops, wanted.crops)


def test_a_run_on_the_cpu_draws_one_number_after_another() -> None:
    assert not FieldRun(FieldProtocol(), 1).at_once
    assert FieldRun(FieldProtocol(), 1).generator.device.type == "cpu"


@pytest.mark.parametrize("at_once", [True, False])
def test_backgrounds_are_taken_off_on_the_device_where_crops_are_drawn_at_once(
    monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    simulator = FieldSimulator(FieldProtocol(), seed=1, at_once=at_once)
    told = torch.full((2, 11, 11), 7.0), torch.full((2,), 3.0)
    monkeypatch.setattr(simulator._background, "subtract", lambda values: told)
    values = torch.full((2, 11, 11), 100.0)
    values[:, ::2] += 1
    pixels, noise = simulator._as_the_node_sees(values)
    assert (pixels is told[0]) == (noise is told[1]) == at_once
    assert pixels.shape == (2, 11, 11)
