"""Unmixes closely spaced infrared point targets, in a program of yours or in a streaming node.

Far-away targets that fly close together blur into one spot on the sensor. Given an image and the
spots that a detector found in it, an `Unmixer` says how many targets each is made of, where they
are (below the pixel), how bright, and how sure all that is:

>>> import dscsnet, numpy
>>> from dscsnet.engines.imaging import render
>>> noise = numpy.random.default_rng(0).normal(1000, 5, (64, 96))
>>> pair = render([30.0, 31.1], [20.0, 20.4], [5000, 4000], noise.shape, 0.7)
>>> image = numpy.round(noise + pair).astype("uint16")

>>> detector = dscsnet.Detector(psf=0.7)
>>> unmixer = dscsnet.Unmixer(psf=0.7)
>>> result = unmixer.frame(image, **detector(image).to_dict())
>>> result.spots.count.tolist()
[2]
>>> sorted(result.targets.x.round(1).tolist())
[30.0, 31.1]

Pixel convention: x is the column, y the row; integers are pixel centres; (0, 0) is the centre of
the top-left pixel. Intensities are total counts above background, sigmas are 1-sigma.

Everything is loaded when it is first used: to import this package costs next to nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dscsnet.detector_stub.in_process import Detector
    from dscsnet.detector_stub.spots import Candidates
    from dscsnet.engines.errors import DscsnetError, InferenceError, ModelError
    from dscsnet.engines.psf_fit_settings import PsfFitSettings
    from dscsnet.pipeline.errors import ConfigError, InputError, SourceError
    from dscsnet.pipeline.messages import SpotFlag
    from dscsnet.pipeline.sources.frames import RecordedFrame, Recording, open_recording
    from dscsnet.pipeline.unmix import Result, SpotColumns, TargetColumns, Unmixer

    __version__: str

__all__ = [  # noqa: RUF022  in the order in which the reference shows them
    "Unmixer",
    "Result",
    "SpotColumns",
    "TargetColumns",
    "SpotFlag",
    "PsfFitSettings",
    "Detector",
    "Candidates",
    "open_recording",
    "Recording",
    "RecordedFrame",
    "DscsnetError",
    "InputError",
    "ModelError",
    "InferenceError",
    "SourceError",
    "ConfigError",
    "__version__",
]

_HOMES = {
    "detector_stub.in_process": ("Detector",),
    "detector_stub.spots": ("Candidates",),
    "engines.errors": ("DscsnetError", "InferenceError", "ModelError"),
    "engines.psf_fit_settings": ("PsfFitSettings",),
    "pipeline.errors": ("ConfigError", "InputError", "SourceError"),
    "pipeline.messages": ("SpotFlag",),
    "pipeline.sources.frames": ("RecordedFrame", "Recording", "open_recording"),
    "pipeline.unmix": ("Result", "SpotColumns", "TargetColumns", "Unmixer"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


if not TYPE_CHECKING:  # to a type checker a name that is not imported above is a mistake

    def __getattr__(name: str) -> Any:
        """Load what is asked for, and keep it."""
        if name == "__version__":
            from importlib.metadata import version

            value: Any = version("dscsnet")
        elif name in _HOME_OF:
            from importlib import import_module

            value = getattr(import_module(f"dscsnet.{_HOME_OF[name]}"), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted({*globals(), *__all__})
