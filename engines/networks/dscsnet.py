"""DSCSNet: ADMM for sparse unmixing, unfolded into a network (eqs. 6 to 22 of the paper).

Φ is the imaging operator, y the crop, x the grid, z the sparse copy of x, β the scaled multiplier,
ρ the penalty. With `dynamic_convolution`, `reorganization` and `threshold_generator` all off this
is ADMM-CSNet.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dscsnet.engines.networks.base import StartedNetwork
from dscsnet.engines.networks.config import NetworkConfig
from dscsnet.engines.networks.layers import (
    DataStep,
    DynamicConvolution,
    PositiveScalar,
    full_precision,
    soft_threshold,
)


class SparseTransform(nn.Module):
    """C2(SiLU(C1(W, z))), eq. 13, with `depth` further convolutions between C1 and C2."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        weight = config.dynamic_weight if config.dynamic_convolution else 0.0
        self.first = DynamicConvolution(config.width, weight)
        self.between = nn.ModuleList(
            nn.Conv2d(config.width, config.width, 3, padding=1) for _ in range(config.depth)
        )
        self.last = nn.Conv2d(config.width, 1, 3, padding=1)
        nn.init.normal_(self.last.weight, std=0.02)
        nn.init.zeros_(self.last.bias)

    def forward(self, z: Tensor) -> Tensor:
        features = functional.silu(full_precision(self.first, z))
        for convolution in self.between:
            features = functional.silu(features + convolution(features))
        return full_precision(self.last, features)


class Stage(nn.Module):
    """z- and β-update of one ADMM iteration (eqs. 10 to 13); the first one starts from z = 0."""

    def __init__(self, config: NetworkConfig, *, first: bool) -> None:
        super().__init__()
        self.transform = SparseTransform(config)
        self.keep = None if first else nn.Parameter(torch.tensor(0.3))  # μ1 = 1 - l_r ρ
        self.pull = nn.Parameter(torch.tensor(0.7))  # μ2 = l_r ρ
        self.threshold = PositiveScalar(0.01)
        self.multiplier_step = nn.Parameter(torch.tensor(0.3))  # η

    def forward(self, x: Tensor, z: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        target = x + beta
        gradient_step = self.pull * target - self.transform(target)
        if self.keep is not None:
            gradient_step = gradient_step + self.keep * z
        z = soft_threshold(gradient_step, self.threshold())
        return z, beta + self.multiplier_step * (x - z)


class ThresholdGenerator(nn.Module):
    """DTG: one threshold per cell from δ = β - z (eqs. 15, 16, 18); never negative."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        weight = config.dynamic_weight if config.dynamic_convolution else 0.0
        self.features = DynamicConvolution(config.width, weight)
        self.branches = nn.Conv2d(config.width, config.width, 3, padding=1)
        self.attention = nn.Conv2d(2, 1, 3, padding=1)
        nn.init.constant_(self.attention.bias, -4.0)

    def forward(self, delta: Tensor) -> Tensor:
        # The two parallel convolutions of eq. 15 are the halves of one.
        branches = self.branches(functional.silu(full_precision(self.features, delta)))
        maps = torch.cat([branches.mean(1, keepdim=True), branches.amax(1, keepdim=True)], 1)
        return functional.softplus(full_precision(self.attention, maps))


class InformationReorganization(nn.Module):
    """DIR: the last m sparse codes sharpen the back-projected crop (eqs. 19 to 22)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.sharpen = nn.ModuleList(
            nn.Conv2d(1, 1, 3, padding=1) for _ in range(config.fused_stages)
        )
        self.weights = nn.Parameter(torch.zeros(config.fused_stages))
        self.threshold = PositiveScalar(0.05)
        self.first = nn.Conv2d(2, config.width, 3, padding=1)
        self.last = nn.Conv2d(config.width, 1, 3, padding=1)
        nn.init.normal_(self.last.weight, std=0.02)
        nn.init.zeros_(self.last.bias)

    def forward(self, back_projection: Tensor, codes: list[Tensor]) -> Tensor:
        sharpened = [
            torch.tanh(convolution(z)) for convolution, z in zip(self.sharpen, codes, strict=True)
        ]
        shares = self.weights.softmax(0)
        fused = torch.stack(sharpened, -1) @ shares
        sparse_input = soft_threshold(back_projection, self.threshold())
        features = functional.silu(self.first(torch.cat([fused, sparse_input], 1)))
        return back_projection + full_precision(self.last, features)


class DSCSNet(StartedNetwork):
    """Crops to grids by N stages of ADMM."""

    config: NetworkConfig

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.data = DataStep(config.grid, config.psf_sigma)
        self.stages = nn.ModuleList(
            Stage(config, first=index == 0) for index in range(config.stages)
        )
        # The first stage starts from Q y, so N stages have N - 1 x-updates and the final one.
        self.penalties = nn.ModuleList(PositiveScalar(0.1) for _ in range(config.stages))
        if config.threshold_generator:
            self.threshold_generator = ThresholdGenerator(config)
        if config.reorganization:
            self.reorganization = InformationReorganization(config)

    def forward(self, crops: Tensor) -> Tensor:
        y = crops.unsqueeze(1)
        spectrum = full_precision(self.data.to_spectrum, y)
        x = self.first_estimate(crops)
        z, beta = self.stages[0](x, torch.zeros_like(x), torch.zeros_like(x))
        codes = [z]
        for stage, penalty in zip(self.stages[1:], self.penalties[:-1], strict=True):
            x = full_precision(self.data.update, spectrum, z - beta, penalty())
            z, beta = stage(x, z, beta)
            codes.append(z)
        return self.embed(self._reconstruct(y, beta - z, codes))

    def _reconstruct(self, y: Tensor, delta: Tensor, codes: list[Tensor]) -> Tensor:
        """Final reconstruction, eq. 14."""
        penalty = self.penalties[-1]()
        source = full_precision(self.data.adjoint, y)
        if self.config.threshold_generator:
            delta = soft_threshold(delta, self.threshold_generator(delta))
        if self.config.reorganization:
            source = self.reorganization(source, codes[-self.config.fused_stages :])
        return full_precision(self.data.solve, source - penalty * delta, penalty).squeeze(1)
