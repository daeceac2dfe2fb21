"""The simulator against the definition of its protocols."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.geometry import Grid  # noqa: E402
from dscsnet.engines.imaging import render as render_reference  # noqa: E402
from dscsnet.tools.simulation.csist import CropProtocol, Simulator  # noqa: E402
from dscsnet.tools.simulation.field import FieldProtocol, FieldSimulator  # noqa: E402
from dscsnet.tools.simulation.scenes import render_grid, true_points  # noqa: E402

CLUSTER = CropProtocol(
    placement="cluster",
    empty=0.2,
    intensity=(1000, 1000),
    brightness_ratio=2.5,
    noise=(2, 50),
    min_separation=0.5,
    integer=False,
)


@pytest.mark.parametrize("exact", [True, False])
def test_csist_protocol_holds(exact: bool) -> None:
    scenes = Simulator(CropProtocol(), seed=3, pool=500, exact=exact).draw(2000)
    count = scenes.present.sum(1)
    share = np.bincount(count.numpy(), minlength=6) / len(count)
    np.testing.assert_allclose(share, [0, 0.2, 0.2, 0.2, 0.2, 0.2], atol=0.04)
    for position in (scenes.x, scenes.y):
        assert (position[scenes.present] - 5).abs().max() <= 0.5
    places = torch.stack([scenes.x, scenes.y], -1)
    gaps = torch.cdist(places, places) + 9 * torch.eye(5)
    both = scenes.present[:, :, None] & scenes.present[:, None]
    assert gaps[both].min() >= 0.494
    intensity = scenes.intensity[scenes.present]
    assert intensity.min() >= 220
    assert intensity.max() <= 250
    assert float(intensity.mean()) == pytest.approx(235, abs=1)
    assert torch.equal(scenes.crops, scenes.crops.round())


def test_crops_are_the_imaging_model() -> None:
    protocol = CropProtocol(integer=False)
    scenes = Simulator(protocol, seed=1, pool=200).draw(20)
    for i in range(20):
        there = scenes.present[i]
        expected = render_reference(
            scenes.x[i][there], scenes.y[i][there], scenes.intensity[i][there], (11, 11), 0.5
        )
        np.testing.assert_allclose(scenes.crops[i], expected, atol=2e-3)


def test_single_targets_are_uniform_in_the_pixel() -> None:
    scenes = Simulator(CropProtocol(targets=(1, 1)), seed=0, pool=4000).draw(4000)
    values = np.sort(scenes.x[:, 0].numpy() - 4.5)
    uniform = (np.arange(4000) + 0.5) / 4000
    assert np.abs(values - uniform).max() < 1.63 / np.sqrt(4000) * 1.5  # Kolmogorov-Smirnov


def test_moves_keep_the_distribution_of_exact_draws() -> None:
    protocol = CropProtocol(targets=(3, 3))
    exact = Simulator(protocol, seed=0, exact=True).draw(3000)
    moved = Simulator(protocol, seed=5, pool=1000)
    for _ in range(50):
        moved.draw(1)
    pooled = moved.draw(3000)
    assert float(exact.x.std(1).mean()) == pytest.approx(float(pooled.x.std(1).mean()), rel=0.02)


def test_cluster_protocol_holds() -> None:
    scenes = Simulator(CLUSTER, seed=0).draw(4000)
    count = scenes.present.sum(1)
    assert float((count == 0).float().mean()) == pytest.approx(0.2, abs=0.03)
    offset = torch.stack([scenes.x, scenes.y], -1)[scenes.present] - 5
    assert offset.abs().max() <= 3.0
    intensity = scenes.intensity[scenes.present]
    assert intensity.min() >= 400
    assert intensity.max() <= 2500
    places = torch.stack([scenes.x, scenes.y], -1)
    gaps = torch.cdist(places, places) + 9 * torch.eye(5)
    both = scenes.present[:, :, None] & scenes.present[:, None]
    assert gaps[both].min() >= 0.5 - 1e-6
    empty = scenes.crops[count == 0]
    expected = scenes.noise[count == 0]
    assert float((empty.std((1, 2)) / expected).mean()) == pytest.approx(1, abs=0.02)


def test_neighbours_stay_outside_the_field() -> None:
    protocol = CropProtocol(
        placement="cluster", empty=1.0, neighbour=1.0, integer=False, field_size=7
    )
    crops = Simulator(protocol, seed=0).draw(200).crops
    peak = crops.flatten(1).argmax(1)
    row, column = peak // 11 - 5, peak % 11 - 5
    lit = crops.flatten(1).amax(1) > 1
    assert lit.float().mean() > 0.5
    assert (torch.maximum(row.abs(), column.abs())[lit] > 3).all()


def test_same_seed_same_batches() -> None:
    first, second = (Simulator(CropProtocol(), seed=9, pool=100) for _ in range(2))
    for _ in range(3):
        torch.testing.assert_close(first.draw(8).crops, second.draw(8).crops, rtol=0, atol=0)
    assert not torch.equal(
        first.draw(8).crops, Simulator(CropProtocol(), seed=8, pool=100).draw(8).crops
    )


@pytest.mark.parametrize("upsampling", [3, 5])
def test_labels_put_each_target_into_its_cell(upsampling: int) -> None:
    scenes = Simulator(CLUSTER, seed=2).draw(30)
    labels = render_grid(scenes, 11, upsampling).numpy()
    grid = Grid(11, upsampling)
    expected = np.zeros_like(labels)
    for i in range(30):
        for x, y, s in zip(scenes.x[i], scenes.y[i], scenes.intensity[i], strict=True):
            expected[i, grid.crop_to_cell(float(y)), grid.crop_to_cell(float(x))] += float(s)
    np.testing.assert_allclose(labels, expected, rtol=1e-5)


def test_true_points_are_the_present_targets() -> None:
    scenes = Simulator(CLUSTER, seed=2).draw(10)
    points = true_points(scenes)
    assert len(points.x) == int(scenes.present.sum())
    np.testing.assert_allclose(points.score, scenes.intensity[scenes.present].numpy())


def test_what_never_happens_does_not_with_the_smallest_draw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A draw may be exactly 0."""
    zeros = lambda self, *shape: torch.zeros(shape)  # noqa: E731
    monkeypatch.setattr(Simulator, "_uniform", zeros)
    protocol = CropProtocol(empty=0.0, placement="cluster", noise=(2.0, 4.0), neighbour=1e-9)
    simulator = Simulator(protocol, seed=0)
    assert (simulator._noise(3) == 2).all()
    assert (simulator._neighbours(2) != 0).any()
    monkeypatch.setattr(FieldSimulator, "_uniform", zeros)
    field = FieldSimulator(FieldProtocol(), seed=0)
    assert field._happens(0.0, 3).tolist() == [0, 0, 0]
    assert field._happens(1e-9, 3).tolist() == [1, 1, 1]
