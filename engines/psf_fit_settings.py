"""Settings of the engine without weights; apart from it, so that reading them compiles nothing."""

import math

import msgspec

#: Name of the engine, where a model would be named.
PSF_FIT = "psf-fit"

#: Bounds of what may be asked for: a fit's time and memory go with these.
MOST = {"crop_size": 127, "oversampling": 1000, "most": 32, "starts": 1000, "steps": 1000}
LEAST_SIGMA, GREATEST_SIGMA = 0.01, 100.0


class PsfFitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `PsfFitEngine` assumes and how hard it tries.

    Attributes:
        crop_size: side of a crop, px; odd.
        sigma_x, sigma_y: of a Gaussian PSF along its own axes, px; `sigma_y` is `sigma_x` unless
            it is given.
        angle: from the image's x axis to that of the PSF, towards y, degrees.
        file: `.npy` file or 8- or 16-bit grey image with samples of the PSF, before any
            integration over pixels; takes the place of the Gaussian.
        oversampling: the file's samples per px.
        most: greatest number of targets in a crop.
        starts: random starts of each number of targets, after those from the number before.
        seed: of the random starts.
        steps: most steps of a fit.
        reach: pixels this far from the crop's centre count, px; None: half the crop less 1 px.
        target_penalty: cost of a target, in units of ln(pixels); 3 makes the criterion Bayesian.
        background_prior: sigma of the priors of the plane's level and of its rise over half a
            crop, noise sigmas.
        width_prior: sigma of the prior of ln PSF width; 0 holds the width, as does a sampled PSF
            that extends too far for tables of several widths.
        max_chi2: reduced chi-square above which a crop is in doubt.
    """

    crop_size: int = 11
    sigma_x: float = 0.5
    sigma_y: float | None = None
    angle: float = 0.0
    file: str | None = None
    oversampling: int = 1
    most: int = 5
    starts: int = 2
    seed: int = 0
    steps: int = 20
    reach: float | None = None
    target_penalty: float = 3.0
    background_prior: float = 100.0
    width_prior: float = 0.0
    max_chi2: float = 3.0

    def __post_init__(self) -> None:
        least = {"crop_size": 3, "oversampling": 1, "most": 1, "starts": 0, "seed": 0, "steps": 1}
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise ValueError(f"{name} must be at least {bound}, got {getattr(self, name)}")
        for name, bound in MOST.items():
            if not getattr(self, name) <= bound:
                raise ValueError(f"{name} must be at most {bound}, got {getattr(self, name)}")
        for name in ("sigma_x", "sigma_y", "reach", "background_prior", "max_chi2"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {value}")
        for name in ("sigma_x", "sigma_y"):
            value = getattr(self, name)
            if value is not None and not LEAST_SIGMA <= value <= GREATEST_SIGMA:
                raise ValueError(
                    f"{name} must be {LEAST_SIGMA} to {GREATEST_SIGMA:g} px, got {value}"
                )
        if self.crop_size % 2 == 0:
            raise ValueError(f"crop_size must be odd, got {self.crop_size}")
        for name in ("width_prior", "target_penalty"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not math.isfinite(self.angle):
            raise ValueError(f"angle must be finite, got {self.angle}")
