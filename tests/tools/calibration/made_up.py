"""Calibrations with figures that are known."""

import math
from collections import Counter
from typing import Any

import numpy as np

from dscsnet.tools.calibration.fit import ALL, INTENSITY, SHAPE, spot_images
from dscsnet.tools.calibration.noise import Line, Noise, Patches
from dscsnet.tools.calibration.psf import shape_of
from dscsnet.tools.calibration.result import Calibration, Psf, SpotTable


def psf_of(xx: float, yy: float, xy: float = 0.0, error: float = 1e-3) -> Psf:
    """Elements of the covariance, px², and the error of each."""
    return Psf(np.array([xx, yy, xy]), error**2 * np.eye(3), 0.02, 0.01)


ROUND, TURNED = psf_of(0.25, 0.25), psf_of(0.34, 0.34, 0.16)


def noise_of(**changes: Any) -> Noise:
    level = np.linspace(100.0, 300.0, 50)
    given: dict[str, Any] = {
        **{"sigma": 5.0, "sigma_error": 0.125, "level": 200.0, "lowest": 100.0, "highest": 300.0},
        **{"gain": 20.0, "gain_error": 0.5, "read": 3.0, "read_error": 0.25},
        **{"method": "in time", "reason": ""},
        "patches": Patches(np.arange(50), level, 15 + 0.05 * level),
        "line": Line(15.0, 0.05, np.eye(2) * 1e-6),
    }
    return Noise(**(given | changes))


def spots_of(used: int, number: int, psf: Psf = ROUND, size: int = 21) -> SpotTable:
    """Spots without noise, a tenth of a pixel apart; those in use come first."""
    rows = np.zeros((number, ALL))
    rows[:, 0] = np.linspace(-0.4, 0.5, number)
    rows[:, 1] = np.linspace(0.5, -0.4, number)
    rows[:, INTENSITY] = np.linspace(500, 1500, number)
    rows[:, SHAPE] = shape_of(psf.covariance)
    return SpotTable(
        spot_images(rows, size),
        rows,
        sigma=np.linspace(0.48, 0.6, number),
        sigma_error=np.full(number, 0.01),
        noise=np.full(number, 2.0),
        used=np.arange(number) < used,
        track=np.arange(number),
    )


def calibration_of(psf: Psf | None = ROUND, **changes: Any) -> Calibration:
    given: dict[str, Any] = {
        **{"recording": "a  recording", "frames": 9, "psf": psf, "problem": "", "warnings": ()},
        **{"noise": noise_of(), "spots": spots_of(7, 10), "objects": 4, "found": 25},
        "dropped": Counter({"too faint": 2, "saturated": 3, "bad pixels": 0}),
    }
    return Calibration(**(given | changes))


NOTHING = calibration_of(
    None,
    problem="no spots: nothing compact; record stars (bright ones)",
    noise=None,
    spots=None,
    objects=0,
    found=0,
    dropped=Counter(),
)
NAN = math.nan
