"""`dscsnet.Detector`: the shipped spot detector in one call, without sockets."""

import logging
import os

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from dscsnet.detector_stub.config import SpotSettings
from dscsnet.detector_stub.spots import Candidates, FrameError, SpotDetector
from dscsnet.pipeline.arguments import array_of, counts_of, mask_of, saturation_of
from dscsnet.pipeline.errors import InputError
from dscsnet.pipeline.process.logs import RateLimitedLog
from dscsnet.pipeline.yaml_file import explain

log = logging.getLogger(__name__)


class Detector:
    """Finds candidate spots in single images: a classical detector, a stand-in for a better one.

    Args:
        psf: sigma of the sensor's point spread function, px, or (sigma_x, sigma_y): the filter
            takes their geometric mean.
        saturation: count at and above which a pixel is saturated, unless an image says otherwise.
        bad_pixels: (H, W) mask, or its file (an image or `.npy`): bad where it is above 0.
        settings: any of `spots` in `configs/detector.yaml`, for example `threshold=5`.

    Raises:
        InputError: an argument cannot be used; it is a `ValueError`, too.

    Examples:
        >>> import dscsnet, numpy
        >>> from dscsnet.engines.imaging import render
        >>> noise = numpy.random.default_rng(3).normal(1000, 5, (64, 96))
        >>> image = noise + render([30.0, 70.2], [20.0, 40.5], [2000, 900], noise.shape, 0.7)
        >>> spots = dscsnet.Detector(psf=0.7)(image.astype("float32"))
        >>> spots.x.round().tolist(), spots.y.round().tolist()
        ([30.0, 70.0], [20.0, 40.0])
    """

    def __init__(
        self,
        psf: float | tuple[float, float] = 0.7,
        *,
        saturation: float | None = None,
        bad_pixels: ArrayLike | str | os.PathLike[str] | None = None,
        **settings: float | str,
    ) -> None:
        sigmas = array_of("psf", psf)
        if sigmas.shape not in ((), (1,), (2,)) or not (sigmas > 0).all():
            raise InputError(f"psf: expected a width in px or (sigma_x, sigma_y), got {psf!r}")
        width = float(np.exp(np.log(sigmas.astype(float)).mean()))
        if "psf_sigma" in settings:
            raise InputError("psf_sigma: is given as psf")
        given = {"psf_sigma": width, **settings}
        try:
            chosen = msgspec.convert(given, SpotSettings)
        except msgspec.ValidationError as error:
            raise InputError(explain(error, given)) from None
        self._saturation, self._mask = saturation_of(saturation), mask_of(bad_pixels)
        self._detector = SpotDetector(chosen)
        self._complain = RateLimitedLog(log)

    def __call__(self, image: ArrayLike, *, saturation: float | None = None) -> Candidates:
        """Find the candidates of one image.

        Args:
            image: (H, W) counts; NaN and infinity mark bad pixels. Types as in `Unmixer.frame`.
            saturation: in place of the detector's own.

        Returns:
            Columns `x`, `y`, `score`, `width`, `height`, the strongest candidate first:
            `unmixer.frame(image, **spots.to_dict())` takes them as they are.

        Raises:
            InputError: the image cannot be used; it is a `ValueError`, too.
        """
        pixels = counts_of("image", image, "(H, W)")
        level = self._saturation if saturation is None else saturation_of(saturation)
        try:
            found = self._detector.detect(pixels, self._mask, level)
        except FrameError as error:
            raise InputError(str(error)) from None
        if left_out := self._detector.left_out:
            self._complain.warning(
                "left_out", f"{left_out} weaker candidates are left out: raise max_candidates"
            )
        return found
