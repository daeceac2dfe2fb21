"""Golden candidates of the spot detector on the stored frames.

    python -m tests.golden.detections

As with golden answers (`tests.golden.answers`), they are written anew only by a commit that means
to change what the detector finds.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from dscsnet.detector_stub.config import SpotSettings
from dscsnet.detector_stub.spots import Candidates, SpotDetector
from tests.golden.frames import GoldenFrame, load_frames

FILE = Path(__file__).parent / "detections.json"
COLUMNS = ("x", "y", "score", "width", "height")

SETTINGS = {
    "default": SpotSettings(),
    "keen": SpotSettings(threshold=3.5, border=0, link_gap=2, psf_sigma=0.5, noise_floor=0.9),
    "tight": SpotSettings(
        guard_size=5, ring_size=11, noise_tile=5, object_contrast=6.0, max_size=30, link_gap=0
    ),
    "saturated objects alone": SpotSettings(object_contrast=1e6),
    "white": SpotSettings(method="white_tophat", tophat_size=7, max_candidates=12),
    "black": SpotSettings(method="black_tophat", border=6),
}


def with_objects(frame: GoldenFrame) -> np.ndarray:
    """The frame as float32 with large objects, a dead row and what is no number."""
    pixels: np.ndarray = frame.pixels.astype(np.float32)
    pixels[8:28, 70:95] += 400
    pixels[60:64, 10:60] += 250  # longer than the largest candidate
    pixels[85:97, 40:52] = 4095
    pixels[50] = np.nan
    pixels[70, 100], pixels[33, 21] = np.inf, 1e20
    return pixels


def find_all() -> dict[str, dict[str, list[float]]]:
    """Columns of the candidates, by frame and settings."""
    frames = load_frames()
    given: dict[str, tuple[Any, ...]] = {
        name: (frame.pixels, frame.bad if frame.bad.any() else None, 4095.0)
        for name, frame in frames.items()
    }
    given["objects"] = (with_objects(frames["field"]), frames["field"].bad, 1280.0)
    given["objects-unsaturated"] = (with_objects(frames["field"]), None, None)
    return {
        f"{name}/{kind}": _columns(SpotDetector(settings).detect(*frame))
        for name, frame in given.items()
        for kind, settings in SETTINGS.items()
    }


def _columns(found: Candidates) -> dict[str, list[float]]:
    return {name: getattr(found, name).tolist() for name in COLUMNS}


def load_detections() -> dict[str, dict[str, list[float]]]:
    """The stored candidates."""
    stored: dict[str, dict[str, list[float]]] = json.loads(FILE.read_text())
    return stored


def main() -> None:
    """Write the candidates."""
    cases = (
        f' "{case}": {{\n'
        + ",\n".join(
            f'  "{name}": [{", ".join(f"{value:.7g}" for value in column)}]'
            for name, column in columns.items()
        )
        + "\n }"
        for case, columns in find_all().items()
    )
    FILE.write_text("{\n" + ",\n".join(cases) + "\n}\n")


if __name__ == "__main__":
    main()
