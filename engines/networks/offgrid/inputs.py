"""What the trunks see: the crop in its own unit, its noise and its PSF."""

from typing import NamedTuple

import torch
from torch import Tensor

from dscsnet.engines.networks.offgrid.config import OffGridConfig

#: Least noise sigma, counts: below the rounding error of whole counts of any real sensor.
LEAST_NOISE = 1e-6
#: In the rms from which the crop's unit is made, its outermost pixels do not count.
RIM = 1


#: A pixel's counts over the noise beyond this tell no more.
MOST_SIGNIFICANT = 1e6


def over_noise(values: Tensor, noise: Tensor) -> Tensor:
    """arcsinh of values over the noise: linear where it is faint, logarithmic where bright."""
    return torch.asinh((values / noise).clamp(-MOST_SIGNIFICANT, MOST_SIGNIFICANT))


class Inputs(NamedTuple):
    """A batch as the trunks take it.

    Attributes:
        pixels: (B, w, w) the crop's central window, in units.
        unit: (B, 1) counts.
        noise: (B, 1) noise sigma, in units.
        psf: (B, 2) PSF sigma along x and y, px.
        context: (B, 5) PSF widths, their inverses' mean and the logarithm of the noise, each
            about 1 in size.
    """

    pixels: Tensor
    unit: Tensor
    noise: Tensor
    psf: Tensor
    context: Tensor


def make_inputs(config: OffGridConfig, crops: Tensor, noise: Tensor, psf: Tensor) -> Inputs:
    """From (B, n, n) counts above background, (B,) noise sigma in counts and (B, 2) PSF sigma."""
    noise = noise.clamp_min(LEAST_NOISE)[:, None]
    unit = torch.full_like(noise, config.unit) if config.unit else _rms_unit(crops, noise)
    margin = (config.crop_size - config.window) // 2
    end = config.crop_size - margin
    pixels = crops[:, margin:end, margin:end] / unit[..., None]
    low, high = config.psf_sigma
    psf = psf.clamp(low, high)
    relative = noise / unit
    middle, half = (low + high) / 2, max((high - low) / 2, 0.05)
    inverse = 1 / psf.mean(1, keepdim=True) - 1 / middle
    context = torch.cat(
        [
            (psf - middle) / half,
            (psf[:, :1] - psf[:, 1:]) * 5,
            inverse,
            0.5 * torch.log(relative) + 1.0,
        ],
        1,
    )
    return Inputs(pixels, unit, relative, psf, context)


def _rms_unit(crops: Tensor, noise: Tensor) -> Tensor:
    """(B, 1) root mean square of the light above the noise, at least the noise."""
    end = crops.shape[-1] - RIM
    inner = crops[:, RIM:end, RIM:end].flatten(1)
    # In units of the largest value, so that no square overflows.
    largest = torch.maximum(inner.abs().amax(1, keepdim=True), noise)
    power = (inner / largest).square().mean(1, keepdim=True)
    variance = (noise / largest).square()
    return largest * torch.maximum(power - variance, variance).sqrt()
