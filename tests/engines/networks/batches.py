"""What holds of every network: a crop's result is its own."""

import torch

from dscsnet.engines.networks.base import GridNetwork


def check_alone_and_together(network: GridNetwork, crops: torch.Tensor, least: float) -> None:
    """Each crop's grid is the same alone and in a batch, and crops differ by `least` or more."""
    with torch.no_grad():
        together = network(crops)
        alone = torch.cat([network(crop[None]) for crop in crops])
    cells = network.config.grid.cells
    assert together.shape == (len(crops), cells, cells)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > least
