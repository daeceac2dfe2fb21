"""The defaults on real infrared frames, where they are there (they are no part of the project)."""

from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from dscsnet.detector_stub.config import SpotSettings
from dscsnet.detector_stub.spots import SpotDetector

DATA = Path(__file__).parents[2].parent / "shared" / "data"
MATCH_DISTANCE = 3.0  # px


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., 0])


def centroids(path: Path) -> np.ndarray:
    """(n, 2) x and y; the annotation counts from 1, as the brightest pixels show."""
    found = ElementTree.parse(path).iter("centroid")
    given = [(float(c.findtext("xc", "nan")), float(c.findtext("yc", "nan"))) for c in found]
    return np.array(given).reshape(-1, 2) - 1


@pytest.mark.skipif(not (DATA / "sirst").is_dir(), reason="SIRST is not here")
def test_annotated_targets_are_found_with_few_false_alarms() -> None:
    detector = SpotDetector(SpotSettings())
    targets = hits = alarms = frames = 0
    for path in sorted((DATA / "sirst" / "images").glob("*.png")):
        truth = centroids(DATA / "sirst" / "centroids" / f"{path.stem}.xml")
        found = detector.detect(read(path))
        apart = np.hypot(found.x[:, None] - truth[:, 0], found.y[:, None] - truth[:, 1])
        near = apart <= MATCH_DISTANCE
        frames, targets = frames + 1, targets + len(truth)
        hits, alarms = hits + int(near.any(0).sum()), alarms + int((~near.any(1)).sum())
    assert frames == 214
    assert hits / targets > 0.94
    assert alarms / frames < 1.5


@pytest.mark.skipif(not (DATA / "ir_sequence").is_dir(), reason="the sequence is not here")
def test_the_aircraft_of_the_sequence_is_one_candidate_near_and_far() -> None:
    """Read off the pictures: far and small in frame 25, near and 30 px wide in frame 99."""
    detector = SpotDetector(SpotSettings())
    expected = {25: (174, 137), 43: (178, 108), 64: (140, 88), 71: (100, 139), 99: (102, 128)}
    for number, place in expected.items():
        found = detector.detect(read(DATA / "ir_sequence" / f"SEQ{number:03d}.bmp"))
        assert (found.x[0], found.y[0]) == pytest.approx(place, abs=3), number
        if number == 99:
            assert 25 <= found.width[0] <= 40
            assert len(found) <= 2
