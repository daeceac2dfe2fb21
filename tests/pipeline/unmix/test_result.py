"""From estimates of crops to the spots and targets of a frame."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from dscsnet.engines.estimates import Estimates
from dscsnet.engines.geometry import Grid
from dscsnet.pipeline.messages import SpotFlag
from dscsnet.pipeline.unmix import Result
from dscsnet.pipeline.unmix.prepare import prepare_frame
from dscsnet.pipeline.unmix.result import result_of

#: Two candidates whose fields overlap by a strip of 6 px; the crops are centred on them.
GRID = Grid(11, 3, 11)
X, Y = [20.0, 25.0], [20.0, 20.0]


def answer(
    *targets: tuple[int, float, float, bool], probability: ArrayLike | None = None
) -> Result:
    """The result of a frame in which crops found these: crop, frame x, score, likely."""
    given = dict.fromkeys(("score", "width", "height", "id", "bad_pixels", "saturation"))
    prepared = prepare_frame(
        np.zeros((40, 50), np.float32), X, Y, **given, grid=GRID, merge_radius=1.0, max_crops=9
    )
    plan = prepared.plan
    assert plan.center_x.tolist() == X
    crop, x, score, likely = (np.array(column) for column in zip(*targets, strict=True))
    ones = np.ones(len(crop))
    estimates = Estimates(
        crop=crop,
        x=x - plan.center_x[crop] + 5,
        y=5 * ones,
        intensity=100 * ones,
        likely=likely,
        score=score,
        **dict.fromkeys(("sigma_x", "sigma_y", "sigma_intensity"), ones),
        chi2=np.ones(2),
        doubt=np.zeros(2, np.uint8),
        psf_scale=np.ones(2),
        occupied=np.ones(2),
        probability=np.empty((2, 0)) if probability is None else np.array(probability),
    )
    return result_of(prepared, estimates, GRID)


def test_a_less_likely_target_takes_no_likely_ones_place() -> None:
    """At x = 22.5 both crops see a target; neither centre is nearer."""
    found = answer((0, 20.0, 0.9, True), (0, 22.5, 0.8, False), (1, 22.6, 0.3, True))
    assert found.targets.x.tolist() == [20.0, 22.6]
    assert found.spots.count.tolist() == [1, 1]


def test_of_two_likely_ones_the_higher_score_stays() -> None:
    found = answer((0, 20.0, 0.9, True), (0, 22.5, 0.8, True), (1, 22.6, 0.3, True))
    assert found.targets.x.tolist() == [20.0, 22.5]
    assert found.spots.count.tolist() == [2, 0]


def test_a_spots_likely_targets_come_first() -> None:
    found = answer((0, 19.0, 0.5, True), (0, 20.0, 0.9, False), (1, 26.0, 0.4, True))
    assert found.targets.spot.tolist() == [0, 0, 1]
    assert found.targets.score.tolist() == [0.5, 0.9, 0.4]
    assert found.spots.count.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("sure", "flagged"), [(0.95, False), (0.9499, True), (np.nan, False), (1.0, False)]
)
def test_a_number_that_is_not_certain_is_flagged(sure: float, flagged: bool) -> None:
    """By the probability of the number that is given: here two of the one spot, one of the other.

    The other spot's number is certain; neither answer is less to be trusted.
    """
    rest = (1 - sure) / 2
    probability = [[rest, rest, sure, 0.0], [0.0, 0.99, 0.01, 0.0]]
    found = answer(
        (0, 19.0, 0.9, True), (0, 20.0, 0.8, True), (1, 26.0, 0.4, True), probability=probability
    )
    assert found.spots.count.tolist() == [2, 1]
    assert found.spots.flags.tolist() == [SpotFlag.NUMBER if flagged else 0, 0]


def test_none_is_a_number_of_targets_too() -> None:
    found = answer((0, 20.0, 0.9, True), probability=[[0.0, 0.97, 0.03, 0.0], [0.4, 0.6, 0.0, 0.0]])
    # The second crop has no target, of which it is 40 % certain.
    assert found.spots.flags.tolist() == [0, SpotFlag.NUMBER]


def test_without_probabilities_nothing_is_said_of_the_number() -> None:
    assert answer((0, 20.0, 0.9, True)).spots.flags.tolist() == [0, 0]
