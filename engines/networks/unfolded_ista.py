"""ISTA unfolded into a network: a gradient step on the exact operator, then a learned proximal.

The frame that ISTA-Net, ISTA-Net+ and DISTA-Net share; they differ in the proximal step.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from dscsnet.engines.networks.base import StartedNetwork
from dscsnet.engines.networks.config import GridConfig
from dscsnet.engines.networks.layers import DataStep, full_precision

#: Weight of the symmetry term against the data term, as ISTA-Net's authors chose it.
SYMMETRY_WEIGHT = 0.01


class ProximalStep(nn.Module):
    """Abstract: the learned proximal step of one iteration."""

    def forward(self, estimate: Tensor, mismatches: list[Tensor] | None = None) -> Tensor:
        """(B, 1, m, m) after the gradient step to (B, 1, m, m).

        Args:
            mismatches: where given, (left inverse of the transform of v) - v is appended.
        """
        raise NotImplementedError


class UnfoldedISTA(StartedNetwork):
    """Abstract: as many iterations as there are proximal steps."""

    def __init__(self, config: GridConfig, proximal_steps: Iterable[ProximalStep]) -> None:
        super().__init__(config)
        self.data = DataStep(config.grid, config.psf_sigma)
        # In units of 1 / L, with L the largest eigenvalue of ΦᵀΦ: ISTA converges below 2.
        self.unit_step = 1 / float(self.data.gain.max()) ** 2
        self.proximal_steps = nn.ModuleList(proximal_steps)
        self.step_sizes = nn.Parameter(torch.ones(len(self.proximal_steps)))

    def forward(self, crops: Tensor) -> Tensor:
        return self._unfold(crops, None)

    def with_auxiliary_loss(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """The grids and the symmetry term: the transforms' left inverses should be inverses."""
        mismatches: list[Tensor] = []
        grids = self._unfold(crops, mismatches)
        # The mean over channels, summed over cells as the data term is.
        per_stage = torch.stack([mismatch.square().mean() for mismatch in mismatches])
        return grids, SYMMETRY_WEIGHT * self.config.grid.field_cells**2 * per_stage.sum()

    def _unfold(self, crops: Tensor, mismatches: list[Tensor] | None) -> Tensor:
        y, x = crops.unsqueeze(1), self.first_estimate(crops)
        for size, proximal in zip(self.step_sizes, self.proximal_steps, strict=True):
            x = x - size * self.unit_step * full_precision(self._gradient, x, y)
            x = proximal(x, mismatches)
        return self.embed(x.squeeze(1))

    def _gradient(self, x: Tensor, y: Tensor) -> Tensor:
        return self.data.adjoint(self.data.forward_model(x) - y)
