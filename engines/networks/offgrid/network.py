"""Crops, noise and PSF in; a distribution over the targets out. This is what is exported."""

import torch
from torch import Tensor, nn

from dscsnet.engines.networks.offgrid.config import MlpTrunk, OffGridConfig
from dscsnet.engines.networks.offgrid.head import Distribution, Head
from dscsnet.engines.networks.offgrid.inputs import make_inputs
from dscsnet.engines.networks.offgrid.mlp import WhitenedPixels
from dscsnet.engines.networks.offgrid.unfolded import UnfoldedFeatures

INPUTS = ("crops", "noise", "psf_sigma")
OUTPUTS = Distribution._fields


class OffGridNetwork(nn.Module):
    """A trunk and the head of `config`.

    Input: (B, n, n) counts above background, (B,) noise sigma in counts, (B, 2) PSF sigma along x
    and y in px. Output: a `Distribution`; a crop's result depends on that crop alone.
    """

    def __init__(self, config: OffGridConfig) -> None:
        super().__init__()
        self.config = config
        trunk = config.trunk
        self.features: WhitenedPixels | UnfoldedFeatures = (
            WhitenedPixels(config)
            if isinstance(trunk, MlpTrunk)
            else UnfoldedFeatures(config, trunk)
        )
        self.head = Head(config, self.features.size, trunk.width, trunk.depth)

    def forward(self, crops: Tensor, noise: Tensor, psf_sigma: Tensor) -> Distribution:
        inputs = make_inputs(self.config, crops, noise, psf_sigma)
        return self.head(self.features(inputs), inputs)

    @torch.no_grad()
    def fit_start(self, clean: Tensor, noise: Tensor, psf_sigma: Tensor) -> None:
        """Prepare the trunk from noise-free crops, where it wants to be."""
        if isinstance(self.features, WhitenedPixels):
            self.features.fit_start(make_inputs(self.config, clean, noise, psf_sigma))
