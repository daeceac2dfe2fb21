"""The exported layout of the unfolded network against the plain one."""

import copy

import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.networks.offgrid import OffGridConfig, OffGridNetwork, UnfoldedTrunk  # noqa: E402
from dscsnet.engines.networks.offgrid.blocked import BlockedNetwork, RowsConvolution  # noqa: E402


def plain(trunk: UnfoldedTrunk) -> OffGridNetwork:
    """A network none of whose weights is as it begins."""
    torch.manual_seed(1)
    network = OffGridNetwork(OffGridConfig(trunk=trunk)).double().eval()
    with torch.no_grad():
        for value in network.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return network


@pytest.mark.parametrize(
    "trunk",
    [
        UnfoldedTrunk(stages=1, channels=3, width=8, depth=1),
        UnfoldedTrunk(stages=2, channels=5, reduced=3, cells=10, width=8, depth=1),
        UnfoldedTrunk(stages=4, channels=16, cells=22, width=8, depth=1),
    ],
)
@torch.no_grad()
def test_it_is_the_same_function(trunk: UnfoldedTrunk) -> None:
    network = plain(trunk)
    before = copy.deepcopy(network.state_dict())
    generator = torch.Generator().manual_seed(2)
    crops = 30 * torch.randn(6, 11, 11, generator=generator, dtype=torch.double)
    noise = torch.tensor([0.0, 0.3, 1.0, 5.0, 40.0, 1e3], dtype=torch.double)
    psf = 0.3 + 0.8 * torch.rand(6, 2, generator=generator, dtype=torch.double)
    found, expected = (each(crops, noise, psf) for each in (BlockedNetwork(network), network))
    for name, value in expected._asdict().items():
        torch.testing.assert_close(getattr(found, name), value, rtol=1e-10, atol=1e-10, msg=name)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(("cells", "rows"), [(16, 8), (10, 5), (22, 2), (6, 6), (4, 4)])
@torch.no_grad()
def test_rows_fill_a_block_where_they_divide_the_grid(cells: int, rows: int) -> None:
    layer = torch.nn.Conv2d(3, 2, 3, padding=1)
    found = RowsConvolution(layer, cells)
    assert found.rows == rows
    assert found.layer.out_channels == 2 * rows <= 16
    maps = torch.randn(5, 3, cells, cells)
    torch.testing.assert_close(found(maps), layer(maps), rtol=1e-5, atol=1e-5)
