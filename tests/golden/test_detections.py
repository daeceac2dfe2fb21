"""What the spot detector finds; see `tests.golden.detections`."""

import numpy as np

from dscsnet.detector_stub.config import SpotSettings
from dscsnet.detector_stub.spots import SpotDetector
from tests.golden.detections import COLUMNS, find_all, load_detections, with_objects
from tests.golden.frames import load_frames

#: px for positions, else relative: OpenCV's float32 sums differ by processor.
TOLERANCE = 1e-4


def test_candidates_are_the_golden_ones() -> None:
    found, golden = find_all(), load_detections()
    assert list(found) == list(golden)
    for case, columns in golden.items():
        for name in COLUMNS:
            np.testing.assert_allclose(
                found[case][name],
                columns[name],
                rtol=0 if name in ("x", "y") else TOLERANCE,
                atol=TOLERANCE if name in ("x", "y") else 0,
                err_msg=f"{case}: {name}",
            )


def test_the_frames_give_the_detector_enough_to_do() -> None:
    golden = load_detections()
    numbers = {case: len(columns["x"]) for case, columns in golden.items()}
    assert numbers["field/default"] > 15
    assert numbers["field/keen"] > numbers["field/default"]
    assert numbers["field/white"] == 12
    alone = "saturated objects alone"
    assert numbers[f"objects/{alone}"] > numbers[f"objects-unsaturated/{alone}"]
    for size in ("width", "height"):
        assert max(golden["objects/default"][size]) > 12


def test_a_copy_in_another_layout_gives_the_same() -> None:
    pixels = with_objects(load_frames()["field"])
    detector = SpotDetector(SpotSettings())
    one, other = detector.detect(pixels), detector.detect(np.asfortranarray(pixels))
    np.testing.assert_array_equal(one.x, other.x)
