"""From features to the distribution over targets."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from dscsnet.engines.networks.layers import full_precision
from dscsnet.engines.networks.offgrid.config import OffGridConfig
from dscsnet.engines.networks.offgrid.inputs import Inputs

#: Numbers that describe one slot: existence, x, y, ln intensity, and their three ln sigmas.
PER_SLOT = 7
#: ln sigma stays within these of the typical one.
SIGMA_RANGE = (-4.3, 3.0)
#: What a head begins with as a crop's total counts over its rms unit, ln.
START_LN_COUNTS = 2.3


class Distribution(NamedTuple):
    """What a network states of a batch; K slots.

    Attributes:
        count: (B, K + 2) logits of 0..K targets, and of more.
        existence: (B, K) logit that a slot holds a target.
        position: (B, K, 2) x, y, crop px.
        log_intensity: (B, K) ln counts.
        log_sigma: (B, K, 3) ln of the sigmas of x, y (px) and ln counts.
    """

    count: Tensor
    existence: Tensor
    position: Tensor
    log_intensity: Tensor
    log_sigma: Tensor


class ResidualBlocks(nn.Module):
    """Perceptron blocks with pre-normalisation, and a last normalisation."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.first = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.second = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last_norm = nn.LayerNorm(width)
        for layer in self.second:
            nn.init.zeros_(layer.bias)
            layer.weight.data *= 0.3

    def forward(self, features: Tensor) -> Tensor:
        for norm, first, second in zip(self.norms, self.first, self.second, strict=True):
            features = features + second(functional.silu(first(norm(features))))
        return self.last_norm(features)


class Head(nn.Module):
    """(B, inputs) features to a `Distribution`."""

    typical: Tensor

    def __init__(self, config: OffGridConfig, inputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.config = config
        self.enter = nn.Linear(inputs, width)
        self.blocks = ResidualBlocks(width, depth)
        self.leave = nn.Linear(width, config.slots + 2 + config.slots * PER_SLOT)
        self.leave.weight.data *= 0.3
        sigmas = [config.position_sigma, config.position_sigma, config.intensity_sigma]
        self.register_buffer("typical", torch.tensor(sigmas).log(), persistent=False)
        # The slots begin apart, or they would all learn the same.
        start = torch.zeros(config.slots, PER_SLOT)
        angle = torch.arange(config.slots) * 2 * math.pi / max(config.slots - 1, 1)
        start[1:, 1], start[1:, 2] = angle[1:].cos(), angle[1:].sin()
        self.leave.bias.data[config.slots + 2 :] = start.flatten()

    def forward(self, features: Tensor, inputs: Inputs) -> Distribution:
        config = self.config
        output = full_precision(self.leave, self.blocks(full_precision(self.enter, features)))
        count = output[:, : config.slots + 2]
        slots = output[:, config.slots + 2 :].unflatten(1, (config.slots, PER_SLOT))
        offset = config.position_step * slots[..., 1:3]
        if not self.training:
            offset = offset.clamp(-config.reach, config.reach)
        base = torch.log(inputs.unit) + (0.0 if config.unit else START_LN_COUNTS)
        return Distribution(
            count=count,
            existence=slots[..., 0],
            position=config.crop_size // 2 + offset,
            log_intensity=base + config.intensity_step * slots[..., 3],
            log_sigma=self.typical + slots[..., 4:].clamp(*SIGMA_RANGE),
        )
