"""Crops as the off-grid networks are given them: within what they were trained on.

A network knows Gaussians along the image's axes, a brightness that is some hundred times the noise,
and crops whose pixels are all there. What is beyond that is brought into it where that can be done
exactly enough; the fit that follows sees the crops as they are.
"""

import numpy as np
from numpy.typing import NDArray

from dscsnet.engines.compiled import kernel
from dscsnet.engines.engine import CropBatch

#: Noise, counts, with which crops are given as they are.
USUAL_NOISE = (1e-3, 1e6)
#: A covariance of the PSF below this share of its variances is as good as none.
UPRIGHT = 1e-3


def seen_by_network(batch: CropBatch, *, scale_free: bool = True) -> dict[str, NDArray[np.float32]]:
    """Inputs of a network by name.

    The light of a turned PSF is spread along the diagonal across it, until its axes are those of
    the image. The noise is that of the brightest pixel.

    Args:
        scale_free: false for a network of one sensor's counts: it is given crops as they are.
    """
    if not scale_free:
        return {"crops": batch.pixels, "noise": batch.noise, "psf_sigma": batch.psf}
    noise = batch.sensor.noise_model.at_peak(batch.pixels, batch.usable, batch.noise)
    pixels, leaning = batch.pixels, _leaning(batch)
    exponent = count_exponent(batch)
    if exponent.any():
        pixels = np.ldexp(pixels, -exponent[:, None, None])
        noise = np.ldexp(noise, -exponent)
    if leaning:
        share = abs(leaning) / 2
        pixels = _spread(pixels, share, rising=leaning > 0)
        noise = noise * np.float32(np.hypot(1 - 2 * share, np.sqrt(2) * share))
    return {"crops": pixels, "noise": noise, "psf_sigma": seen_psf(batch)}


def count_exponent(batch: CropBatch) -> NDArray[np.int32]:
    """(n,) power of 2 by which each crop's counts are divided for a scale-free network.

    0 for the counts of usual sensors, whose noise lies within what single precision holds squared.
    """
    with np.errstate(invalid="ignore"):
        unusual = ~((batch.noise >= USUAL_NOISE[0]) & (batch.noise <= USUAL_NOISE[1]))
    _, exponent = np.frexp(np.where(np.isfinite(batch.noise) & unusual, batch.noise, 0))
    return np.asarray(exponent, np.int32)


def seen_psf(batch: CropBatch) -> NDArray[np.float32]:
    """(n, 2) PSF sigma along x and y of the crops as the network sees them, px."""
    leaning = _leaning(batch)
    if not leaning:
        return batch.psf
    return np.sqrt(batch.psf.astype(np.float64) ** 2 + abs(leaning)).astype(np.float32)


@kernel
def blind_crops(
    psf: NDArray[np.float32],
    usable: NDArray[np.bool_],
    least: np.float32,
    greatest: np.float32,
    margin: int,
) -> NDArray[np.bool_]:
    """(n,) crops whose PSF is not within the limits, px, or that lack a pixel within the margin.

    Args:
        psf: (n, 2) as `seen_psf` gives it.
        usable: (n, s, s) pixels that are there.
        margin: pixels along the rim that may be missing.
    """
    number, size, _ = usable.shape
    result = np.zeros(number, np.bool_)
    for crop in range(number):
        for axis in range(2):
            if psf[crop, axis] < least or psf[crop, axis] > greatest:
                result[crop] = True
        for i in range(margin, size - margin):
            for j in range(margin, size - margin):
                if not usable[crop, i, j]:
                    result[crop] = True
    return result


def _leaning(batch: CropBatch) -> float:
    """Covariance of the PSF, px squared; 0 where it is next to nothing."""
    sensor = batch.sensor
    upright = abs(sensor.covariance_xy) <= UPRIGHT * sensor.psf[0] * sensor.psf[1]
    return 0.0 if upright else sensor.covariance_xy


def _spread(pixels: NDArray[np.float32], share: float, *, rising: bool) -> NDArray[np.float32]:
    """Give this share of each pixel's light to either neighbour on one diagonal.

    It adds twice the share, px squared, to the variances and takes it from the covariance, or adds
    it there.

    Args:
        rising: the diagonal of (1, -1): takes from the covariance.
    """
    padded = np.pad(pixels, ((0, 0), (1, 1), (1, 1)), mode="edge")
    above, below = (
        (padded[:, :-2, 2:], padded[:, 2:, :-2])
        if rising
        else (
            padded[:, :-2, :-2],
            padded[:, 2:, 2:],
        )
    )
    return np.ascontiguousarray((1 - 2 * share) * pixels + share * (above + below), np.float32)
