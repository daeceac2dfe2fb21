"""What the networks share: crops in, grids out, and the linear start of the unfolded ones."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dscsnet.engines.networks.config import GridConfig
from dscsnet.engines.networks.layers import full_precision


class GridNetwork(nn.Module):
    """Abstract: crops to grids.

    Input: (B, n, n) crops above background in units in which a typical target has intensity 1.
    Output: (B, c n, c n) intensity per grid cell, in the same units; zero outside the field.
    """

    config: GridConfig

    def with_auxiliary_loss(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """The grids, and the mean over crops of a loss term that training adds to the data term.

        A network that has no such term of its own gives zero.
        """
        return self(crops), crops.new_zeros(())

    def field_of(self, grids: Tensor) -> Tensor:
        """(B, c n, c n) whole grids to the (B, m, m) field."""
        margin = self.config.grid.margin_cells
        end = grids.shape[-1] - margin
        return grids[:, margin:end, margin:end]

    def embed(self, field: Tensor) -> Tensor:
        """(B, m, m) fields to (B, c n, c n) whole grids, zero outside."""
        margin = self.config.grid.margin_cells
        return functional.pad(field, (margin, margin, margin, margin)) if margin else field


class StartedNetwork(GridNetwork):
    """Abstract: a network that begins with the linear estimate x = Q y, as all published do."""

    start: Tensor

    def __init__(self, config: GridConfig) -> None:
        super().__init__()
        self.config = config
        grid = config.grid
        self.register_buffer("start", torch.zeros(grid.crop_size**2, grid.field_cells**2))

    def first_estimate(self, crops: Tensor) -> Tensor:
        """Q y: (B, n, n) crops to (B, 1, m, m) fields."""
        cells = self.config.grid.field_cells
        estimate = full_precision(torch.matmul, crops.flatten(1), self.start)
        return estimate.unflatten(1, (1, cells, cells))

    @torch.no_grad()
    def fit_start(self, crops: Tensor, grids: Tensor, ridge: float = 1e-3) -> None:
        """Set Q = X Yᵀ (Y Yᵀ)⁻¹ from (B, n, n) crops and (B, c n, c n) grids.

        Args:
            ridge: added to the diagonal, relative to its mean: simulated crops without noise
                leave Y Yᵀ singular.
        """
        y = crops.flatten(1).double()
        x = self.field_of(grids).flatten(1).double()
        normal = y.mT @ y
        identity = torch.eye(len(normal), dtype=y.dtype, device=y.device)
        normal += ridge * normal.diagonal().mean() * identity
        self.start.copy_(torch.linalg.solve(normal, y.mT @ x))
