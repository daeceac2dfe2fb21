"""A frame's spots weigh each other's numbers; what lies in one batch has nothing else in common."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from dscsnet.engines.array_types import Float
from dscsnet.engines.engine import CropBatch
from dscsnet.engines.estimates import Estimates
from dscsnet.engines.geometry import Grid
from dscsnet.engines.sensor import Sensor
from dscsnet.pipeline.unmix import Stages
from dscsnet.pipeline.unmix.result import _near_frame

#: What a spot says by itself of 0, 1, 2 targets and of more.
SINGLE, PAIR, UNSURE = (0.01, 0.95, 0.03, 0.01), (0.01, 0.02, 0.96, 0.01), (0.01, 0.52, 0.46, 0.01)


class Stated:
    """An engine that reads the numbers' probabilities off the crops' noise: 1, 2 and 3 counts.

    Args:
        weighs: whether a prior changes what it reads.
    """

    grid = Grid()
    sensor = Sensor.gaussian(0.5)

    def __init__(self, *, weighs: bool = True) -> None:
        self.weighs_numbers = weighs
        self.priors: list[Float | None] = []

    def run(self, batch: CropBatch) -> Mapping[str, Any]:
        stated = np.array([SINGLE, PAIR, UNSURE], np.float32)
        return {"stated": stated[batch.noise.astype(int) - 1]}

    def read(self, outputs: Mapping[str, Any], batch: CropBatch) -> Estimates:
        self.priors.append(batch.log_prior)
        probability = outputs["stated"].astype(float)
        if batch.log_prior is not None:
            weighed = probability * np.exp(batch.log_prior)
            some = (1 - probability[:, :1]) / weighed[:, 1:].sum(1, keepdims=True)
            probability = np.concatenate([probability[:, :1], some * weighed[:, 1:]], 1)
        number = 1 + probability[:, 1:3].argmax(1)
        crop = np.repeat(np.arange(len(number)), number)
        each, ones = np.ones(len(crop)), np.ones(len(number))
        return Estimates(
            crop=crop,
            **dict.fromkeys(("x", "y", "intensity", "score"), each),
            likely=each > 0,
            **dict.fromkeys(("sigma_x", "sigma_y", "sigma_intensity"), each),
            chi2=ones,
            doubt=np.zeros(len(number), np.uint8),
            psf_scale=ones,
            occupied=1 - probability[:, 0],
            probability=probability,
        )


def batch_of(kinds: list[int], frame: list[int] | None) -> CropBatch:
    """Crops of these kinds: 1 a single, 2 a pair, 3 unsure."""
    number = len(kinds)
    return CropBatch(
        np.zeros((number, 11, 11), np.float32),
        np.ones((number, 11, 11), bool),
        np.array(kinds, np.float32),
        np.full((number, 2), 0.5, np.float32),
        Stated.sensor,
        None if frame is None else np.array(frame),
    )


def read(engine: Any, batch: CropBatch, per_run: int = 256) -> Estimates:
    stages = Stages(engine, merge_radius=3.0, crops_per_frame=999, crops_per_run=per_run)
    return stages.read(stages.run(batch), batch)


def test_an_unsure_spot_takes_the_number_that_its_frame_is_made_of() -> None:
    """120 pairs and an unsure spot in one frame, 120 singles and another in the next."""
    kinds, frame = [2] * 120 + [3] + [3] + [1] * 120, [0] * 121 + [1] * 121
    engine = Stated()
    found = read(engine, batch_of(kinds, frame))
    assert found.number.tolist() == [2] * 121 + [1] * 121
    assert found.certainty[120] > 0.7
    assert found.certainty[121] > 0.7
    # Only the spot whose number changes is read anew.
    assert [None if p is None else len(p) for p in engine.priors] == [None, 1]
    np.testing.assert_allclose(found.probability.sum(1), 1)
    np.testing.assert_allclose(found.probability[:, 0], 0.01, atol=1e-6)


def test_spots_of_different_frames_have_nothing_in_common() -> None:
    engine = Stated()
    found = read(engine, batch_of([2] * 40 + [3], [0] * 40 + [1]))
    assert found.number[40] == 1
    alone = read(Stated(), batch_of([3], [0]))
    np.testing.assert_array_equal(found.probability[40], alone.probability[0])


@pytest.mark.parametrize("per_run", [1, 3, 7, 40, 41])
def test_runs_of_any_size_give_the_same(per_run: int) -> None:
    kinds = [2] * 20 + [3] + [2] * 12 + [1, 3, 3]
    batch = batch_of(kinds, [0] * len(kinds))
    whole, parts = read(Stated(), batch), read(Stated(), batch, per_run)
    for name, column in vars(whole).items():
        np.testing.assert_array_equal(getattr(parts, name), column, err_msg=name)
    assert whole.number.tolist() == [2] * 33 + [1, 2, 2]


@pytest.mark.parametrize("case", ["crops that are no frame's", "an engine that weighs nothing"])
def test_where_nothing_is_weighed_every_spot_has_its_own_word(case: str) -> None:
    separate = case.startswith("crops")
    kinds = [2] * 40 + [3]
    engine = Stated(weighs=separate)
    found = read(engine, batch_of(kinds, None if separate else [0] * 41))
    assert found.number.tolist() == [2] * 40 + [1]
    assert engine.priors == [None]
    np.testing.assert_allclose(found.probability[40], UNSURE, atol=1e-6)


def test_no_crops_no_estimates() -> None:
    assert read(Stated(), batch_of([], [])).crops == 0


def test_crops_of_a_frame_are_told_to_be_of_one() -> None:
    stages = Stages(Stated(), merge_radius=3.0, crops_per_frame=9, crops_per_run=256)  # type: ignore[arg-type]
    frame = np.random.default_rng(0).normal(100, 3, (40, 60)).astype(np.float32)
    first, second = stages.prepare(frame, [10, 30], [20, 20]), stages.prepare(frame, [50], [20])
    told = stages.gather([first, second]).frame
    assert told is not None
    assert told.tolist() == [0, 0, 1]
    stack = stages.prepare_stack(np.ascontiguousarray(frame[None, :11, :11]))
    assert stages.gather([stack]).frame is None
    psf = np.full((3, 2), 0.7, np.float32)
    wide = stages.gather([first, second], psf)
    np.testing.assert_array_equal(wide.psf, psf)
    assert wide.sensor is Stated.sensor


def test_targets_far_outside_the_frame_are_not_published() -> None:
    """Half a pixel beyond the outermost pixels' rims is where they end."""
    x, y = np.array([-1.0, -1.01, 30.0, 30.01, 3.0]), np.array([-1.0, 3.0, 20.0, 3.0, 20.01])
    assert _near_frame(x, y, (20, 30)).tolist() == [True, False, True, False, False]
