"""Single arrays and images: bad-pixel masks and sampled PSFs.

The first byte of an input chooses the name's ending.
"""

import numpy as np

from dscsnet.engines.fitting.psf import read_samples
from dscsnet.engines.sensor import Sensor
from dscsnet.pipeline.cropping.bad_pixels import load_bad_pixels
from tests.fuzz.contract import attempt, scratch_file

ENDINGS = (".npy", ".png", ".tif", ".bmp")


def typed_path(data: bytes, endings: tuple[str, ...] = ENDINGS) -> str:
    """The input as a file of the kind that its first byte says."""
    kind = data[0] if data else 0
    return str(scratch_file("array" + endings[kind % len(endings)], data[1:]))


def mask(data: bytes) -> None:
    """The bad-pixel mask of node and detector."""
    path = typed_path(data)
    found = attempt(lambda: load_bad_pixels(path))
    assert found is None or (found.ndim == 2 and found.dtype == np.bool_)


def psf_file(data: bytes) -> None:
    """Samples of a PSF, and the table and widths made from them."""
    path = typed_path(data)
    samples = attempt(lambda: read_samples(path))
    sensor = None if samples is None else attempt(lambda: Sensor.sampled(samples, 4))
    if sensor is not None:
        assert min(sensor.psf) > 0
        assert abs(sensor.covariance_xy) < sensor.psf[0] * sensor.psf[1]
