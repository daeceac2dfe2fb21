"""The light trunk: pixels whitened for the noise at hand."""

import torch
from torch import Tensor, nn

from dscsnet.engines.networks.layers import full_precision
from dscsnet.engines.networks.offgrid.config import OffGridConfig
from dscsnet.engines.networks.offgrid.inputs import Inputs, over_noise


class WhitenedPixels(nn.Module):
    """Features of a crop in the principal axes of noise-free crops.

    Along each axis the signal's variance λ and the noise's ν² are known, so dividing by
    sqrt(λ + ν²) gives unit variance at every noise level. A second set of features, an arcsinh of
    the signal over the noise, keeps what is far above both.
    """

    axes: Tensor
    variance: Tensor
    mean: Tensor

    def __init__(self, config: OffGridConfig) -> None:
        super().__init__()
        pixels = config.window**2
        self.scale_free = config.unit is None
        self.register_buffer("axes", torch.eye(pixels))
        self.register_buffer("variance", torch.ones(pixels))
        self.register_buffer("mean", torch.zeros(pixels))
        self.size = 2 * pixels + 5

    def forward(self, inputs: Inputs) -> Tensor:
        pixels = inputs.pixels.flatten(1)
        along = full_precision(torch.matmul, pixels - self.mean, self.axes)
        white = along / torch.sqrt(self.variance + inputs.noise.square())
        # With the counts known, the axes tell the targets apart better than pixels do; where they
        # are not, clutter and hot pixels are seen best pixel by pixel.
        seen = pixels if self.scale_free else along / 3
        return torch.cat([white, 0.45 * over_noise(seen, inputs.noise), inputs.context], 1)

    @torch.no_grad()
    def fit_start(self, clean: Inputs) -> None:
        """Set axes, variances and mean from noise-free crops."""
        pixels = clean.pixels.flatten(1).double()
        mean = torch.zeros_like(pixels[0]) if self.scale_free else pixels.mean(0)
        centred = pixels - mean
        variance, axes = torch.linalg.eigh(centred.mT @ centred / len(centred))
        floor = 1e-7 * variance.max() / 10
        self.axes.copy_(axes)
        self.variance.copy_(variance.clamp_min(float(floor)))
        self.mean.copy_(mean)
