"""DSCSNet's trunk: ADMM unfolded on a fine grid, each crop with its own PSF.

Stages as in eqs. 8 to 18 of the paper: an exact x-update with the imaging operator A ⊗ A', a sparse
code z by a learned proximal step with a threshold a cell (DTG), and a scaled multiplier β. Two
things differ: the operator follows the PSF that the crop is told to have, and the feature maps of
a stage are handed to the next, as DIR hands on the sparse codes. The kernels' gains are made from
the crop's noise and PSF (DCN, of rank one).
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dscsnet.engines.imaging import gaussian_profile
from dscsnet.engines.networks.layers import PositiveScalar, full_precision, soft_threshold
from dscsnet.engines.networks.offgrid.config import OffGridConfig, UnfoldedTrunk
from dscsnet.engines.networks.offgrid.inputs import Inputs, over_noise

#: Step of the table of PSF widths, px; the refinement after the network uses the exact width.
TABLE_STEP = 0.01
CONTEXT = 5
#: Range of ln ρ.
PENALTIES = (-9.0, 3.0)


class SpreadAlong(NamedTuple):
    """The imaging operator along one axis, U S Vᵀ, of each crop.

    Attributes:
        left: (B, 1, n, n) U.
        singular: (B, 1, n) S.
        right: (B, 1, m, n) V.
    """

    left: Tensor
    singular: Tensor
    right: Tensor


class OperatorTable(nn.Module):
    """Singular value decompositions of the imaging operator by PSF width.

    For each width: A (n x m) = U S Vᵀ, m cells of the grid by n pixels.
    """

    left: Tensor
    singular: Tensor
    right: Tensor

    def __init__(self, config: OffGridConfig, trunk: UnfoldedTrunk) -> None:
        super().__init__()
        low, high = config.psf_sigma
        self.low, self.number = low, round((high - low) / TABLE_STEP) + 1
        cells = (np.arange(trunk.cells) - (trunk.cells - 1) / 2) * trunk.cell
        positions = cells + config.window // 2
        widths = low + TABLE_STEP * np.arange(self.number)
        operators = np.stack([gaussian_profile(positions, config.window, s).T for s in widths])
        left, singular, right = torch.linalg.svd(torch.from_numpy(operators), full_matrices=False)
        self.register_buffer("left", left.float())
        self.register_buffer("singular", singular.float())
        self.register_buffer("right", right.mT.contiguous().float())

    def forward(self, psf: Tensor) -> tuple[SpreadAlong, SpreadAlong]:
        """(B, 2) widths along x and y to the operators along x and y."""
        index = torch.round((psf - self.low) / TABLE_STEP).clamp(0, self.number - 1).long()
        along_x, along_y = index.split(1, 1)
        return self._at(along_x), self._at(along_y)

    def _at(self, index: Tensor) -> SpreadAlong:
        return SpreadAlong(self.left[index], self.singular[index], self.right[index])


class DataTerm:
    """The exact x-update of a batch of crops, eq. 8, and what is left of the crop after it.

    Args:
        pixels: (B, n, n), in units.
        psf: (B, 2) PSF sigma along x and y, px.
    """

    def __init__(self, table: OperatorTable, pixels: Tensor, psf: Tensor) -> None:
        self.x, self.y = table(psf)
        self.gain = self.y.singular[..., :, None] * self.x.singular[..., None, :]
        self.spectrum = self.y.left.mT @ pixels[:, None] @ self.x.left

    def update(self, prior: Tensor, penalty: Tensor) -> Tensor:
        """(ΦᵀΦ + ρI)⁻¹ (Φᵀ y + ρ w); w (B, 1, m, m), ρ (B, 1, 1, 1)."""
        return prior + self._image(self._left_by(prior), penalty)

    def first_update(self, penalty: Tensor) -> Tensor:
        """The same where w is zero."""
        return self._image(self.spectrum, penalty)

    def residual(self, grid: Tensor) -> Tensor:
        """y - Φ x, (B, 1, n, n)."""
        return self.y.left @ self._left_by(grid) @ self.x.left.mT

    def _left_by(self, grid: Tensor) -> Tensor:
        return self.spectrum - self.gain * (self.y.right.mT @ grid @ self.x.right)

    def _image(self, spectrum: Tensor, penalty: Tensor) -> Tensor:
        weighed = self.gain * spectrum / (self.gain.square() + penalty)
        return self.y.right @ weighed @ self.x.right.mT


class Stage(nn.Module):
    """z- and β-update of one ADMM iteration, with feature maps handed on."""

    def __init__(self, channels: int, *, first: bool) -> None:
        super().__init__()
        self.gains = nn.Linear(CONTEXT, channels)
        self.enter = nn.Conv2d(2 if first else 3 + channels, channels, 3, padding=1)
        self.middle = nn.Conv2d(channels, channels, 3, padding=1)
        self.leave = nn.Conv2d(channels, 2, 3, padding=1)
        self.pull = nn.Parameter(torch.tensor(1.0))  # μ2 = l_r ρ
        self.keep = None if first else nn.Parameter(torch.tensor(0.0))  # μ1 = 1 - l_r ρ
        self.multiplier_step = PositiveScalar(1.0)  # η
        nn.init.zeros_(self.gains.weight)
        nn.init.ones_(self.gains.bias)
        self.leave.weight.data *= 0.3
        self.leave.bias.data.copy_(torch.tensor([0.0, -4.0]))

    def forward(
        self, x: Tensor, z: Tensor, beta: Tensor, features: Tensor | None, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The next z, β and feature maps; x, z and β are (B, 1, m, m)."""
        target = x + beta
        maps = [target, x]
        if features is not None:
            maps += [z, features]
        gained = self.enter(torch.cat(maps, 1)) * self.gains(context)[:, :, None, None]
        features = functional.silu(gained)
        features = features + functional.silu(self.middle(features))
        step, threshold = full_precision(self.leave, features).split(1, 1)
        moved = self.pull * target - step
        if self.keep is not None:
            moved = moved + self.keep * z
        z = soft_threshold(moved, functional.softplus(threshold))
        return z, beta + self.multiplier_step() * (x - z), features


class UnfoldedFeatures(nn.Module):
    """The last codes, residual and multipliers of the unfolded stages, as one vector."""

    def __init__(self, config: OffGridConfig, trunk: UnfoldedTrunk) -> None:
        super().__init__()
        self.cells, self.scale_free = trunk.cells, config.unit is None
        self.table = OperatorTable(config, trunk)
        self.stages = nn.ModuleList(
            Stage(trunk.channels, first=index == 0) for index in range(trunk.stages)
        )
        # ln ρ, linear in the crop's context (noise and PSF).
        self.penalties = nn.ModuleList(nn.Linear(CONTEXT, 1) for _ in range(trunk.stages))
        for penalty in self.penalties:
            nn.init.zeros_(penalty.weight)
            nn.init.constant_(penalty.bias, -3.0)
            penalty.weight.data[0, -1] = 2.0
        self.reduce = nn.Conv2d(trunk.channels + 3, trunk.reduced, 4, stride=2, padding=1)
        self.size = trunk.reduced * (trunk.cells // 2) ** 2 + config.window**2 + CONTEXT

    def forward(self, inputs: Inputs) -> Tensor:
        data = full_precision(self._data_term, inputs.pixels, inputs.psf)
        x = inputs.pixels.new_zeros(inputs.pixels.shape[0], 1, self.cells, self.cells)
        z, beta, features = x, x, None
        for stage, penalty in zip(self.stages, self.penalties, strict=True):
            rho = full_precision(penalty, inputs.context).clamp(*PENALTIES).exp()[:, :, None, None]
            x = full_precision(data.update, z - beta, rho)
            z, beta, features = stage(x, z, beta, features, inputs.context)
        assert features is not None
        maps = torch.cat([features, x, z, beta], 1)
        reduced = functional.silu(self.reduce(maps)).flatten(1)
        residual = over_noise(2 * full_precision(data.residual, z).flatten(1), inputs.noise)
        return torch.cat([reduced, 0.45 * residual, inputs.context], 1)

    def _data_term(self, pixels: Tensor, psf: Tensor) -> DataTerm:
        # Half a unit makes the typical cell small beside 1, where the features are linear.
        return DataTerm(self.table, 0.5 * pixels, psf)
