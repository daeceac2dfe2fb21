"""A program that uses the public interface, for the type checker: `make types`; it is never run."""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import dscsnet


def count(path: str, mask: NDArray[np.bool_]) -> int:
    """Number of targets in a recording."""
    detector = dscsnet.Detector(psf=(0.7, 0.8), bad_pixels=mask, threshold=5)
    total = 0
    with (
        dscsnet.open_recording(path, start=3) as recording,
        dscsnet.Unmixer((0.8, 0.6, 30.0), "psf-fit", bad_pixels="mask.png", threads=1) as unmixer,
    ):
        for frame in recording:
            assert_type(frame.timestamp_ns, int | None)
            spots = detector(frame.pixels, saturation=frame.saturation)
            result = unmixer.frame(frame.pixels, **spots.to_dict())
            again = unmixer.frame(frame.pixels, spots.x, spots.y, width=spots.width, id=[1, 2])
            assert_type(again, dscsnet.Result)
            assert_type(result.spots.flags, NDArray[np.uint32])
            assert_type(result.targets.take(result.targets.score > 0.5), dscsnet.TargetColumns)
            assert_type(result.targets.to_dict(), dict[str, Any])
            total += len(unmixer.crops(np.zeros((4, 11, 11))).targets)
    return total


def errors() -> str:
    """What can be caught."""
    try:
        unmixer = dscsnet.Unmixer(psf=None, psf_fit=dscsnet.PsfFitSettings(most=2))
        unmixer.crops([[[1.0]]])
    except (dscsnet.InputError, dscsnet.ModelError) as error:
        assert_type(error, dscsnet.InputError | dscsnet.ModelError)
        return str(error)
    return dscsnet.__version__


#: A mistake that must be seen: with `--strict`, a comment that suppresses nothing is an error.
dscsnet.Unmixer(psf={"sigma": 0.7})  # type: ignore[arg-type]
dscsnet.unmixer(psf=0.7)  # type: ignore[attr-defined]
