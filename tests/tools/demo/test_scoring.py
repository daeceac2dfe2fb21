"""Scores against frames made by hand, and against brute force over all pairings."""

import math
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest

from dscsnet.pipeline.messages import FrameKey, Targets
from dscsnet.tools.demo.scene_truth import TrueFrame
from dscsnet.tools.demo.scoring import Delivery, Outcome, Score, check_delivery, score_frame

Truth = Callable[..., TrueFrame]
Answer = Callable[..., Targets]


def test_a_frame_worked_out_by_hand(true_frame: Truth, published: Answer) -> None:
    truth = true_frame(
        [
            [(10, 10, 100)],
            [(30, 10, 100), (31, 10, 200)],
            [(50, 10, 100), (51, 10, 100), (52, 10, 100)],
        ]
    )
    answer = published(
        spots=[(10, 10), (30.6, 10), (90, 40)],
        targets=[
            (10.24, 10.32, 110),  # 0.4 px off
            (31.2, 10, 150),
            (30.7, 12, 10),  # false, in the cluster of two
            (90, 40, 10),  # false, in none
        ],
    )
    score = score_frame(truth, answer)
    found, missed, lost = Outcome.FOUND, Outcome.MISSED, Outcome.NOT_DETECTED
    assert score.size.tolist() == [1, 2, 2, 3, 3, 3]
    assert score.outcome.tolist() == [found, missed, found, lost, lost, lost]
    assert score.close.tolist() == [False, False, True, False, False, False]
    np.testing.assert_allclose(score.distance[[0, 2]], [0.4, 0.2])
    np.testing.assert_allclose(score.intensity_error[[0, 2]], [0.1, -0.25])
    assert score.cluster_size.tolist() == [1, 2]
    assert score.cluster_count.tolist() == [1, 2]
    assert score.false_size.tolist() == [2, 0]
    assert (score.spots, score.stray_spots) == (3, 1)
    assert score.recall() == pytest.approx(2 / 3)
    assert score.recall(close=True) == pytest.approx(1 / 3)
    assert score.count_accuracy() == 1
    assert score.position_error() == pytest.approx((0.3, math.sqrt((0.16 + 0.04) / 2)))
    assert score.intensity_errors() == pytest.approx((0.175, -0.075))


@pytest.mark.parametrize("seed", range(20))
def test_as_many_are_found_as_brute_force_can(
    seed: int, true_frame: Truth, published: Answer
) -> None:
    rng = np.random.default_rng(seed)
    true = rng.uniform(0, 1.6, (4, 2))
    resolved = rng.uniform(0, 1.6, (5, 2))
    truth = true_frame([[(x, y, 1.0) for x, y in true]])
    answer = published([(1.0, 1.0)], [(x, y, 1.0) for x, y in resolved])
    gap = np.hypot(*(true[:, None] - resolved[None]).T).T
    for radius, found in (
        (0.5, score_frame(truth, answer).count(Outcome.FOUND)),
        (0.25, int(score_frame(truth, answer).close.sum())),
    ):
        best = max(
            sum(gap[i, j] <= radius for i, j in enumerate(chosen))
            for chosen in permutations(range(5), 4)
        )
        assert found == best
    assert len(score_frame(truth, answer).false_size) == 5 - score_frame(truth, answer).count(
        Outcome.FOUND
    )


def test_one_candidate_can_serve_two_clusters(true_frame: Truth, published: Answer) -> None:
    # They meet 8 px apart; the candidate in the middle is within reach of neither.
    truth = true_frame([[(10, 10, 1), (10, 11, 1)], [(18, 10, 1)]])
    answer = published([(14, 10)], [(10, 10, 1), (18, 10, 1)])
    score = score_frame(truth, answer)
    assert score.outcome.tolist() == [Outcome.FOUND, Outcome.MISSED, Outcome.FOUND]
    assert score.cluster_count.tolist() == [1, 1]
    assert score.count_accuracy() == 0.5


@pytest.mark.parametrize("status", ["no_detections", "dropped", "error"])
def test_a_frame_that_was_not_unmixed_belongs_to_no_recall(
    status: str, true_frame: Truth, published: Answer
) -> None:
    truth = true_frame([[(10, 10, 1), (11, 10, 1)]])
    for answer in (published([], status=status), None):
        score = score_frame(truth, answer)
        assert score.outcome.tolist() == [Outcome.NOT_UNMIXED] * 2
        assert math.isnan(score.recall())
        assert math.isnan(score.count_accuracy())


def test_an_empty_answer_says_that_the_detector_reported_nothing(
    true_frame: Truth, published: Answer
) -> None:
    score = score_frame(true_frame([[(10, 10, 1)]]), published([], status="empty"))
    assert score.outcome.tolist() == [Outcome.NOT_DETECTED]


def test_a_frame_without_targets(true_frame: Truth, published: Answer) -> None:
    score = score_frame(true_frame([]), published([(5, 5)], [(5, 5, 1)]))
    assert score.size.tolist() == []
    assert score.false_size.tolist() == [0]
    assert (score.spots, score.stray_spots) == (1, 1)
    assert all(map(math.isnan, (*score.position_error(), *score.intensity_errors())))


def test_sizes_add_up_to_the_whole(true_frame: Truth, published: Answer) -> None:
    rng = np.random.default_rng(5)
    scores = []
    for _ in range(6):
        centres = rng.uniform(20, 200, (7, 2))
        clusters = [
            [(x + dx, y + dy, 100.0) for dx, dy in rng.normal(0, 0.7, (rng.integers(1, 5), 2))]
            for x, y in centres
        ]
        targets = [
            (x + rng.normal(0, 0.2), y, 90.0) for rows in clusters for x, y, _ in rows[: -1 or None]
        ]
        targets += [(1.0, 1.0, 5.0)]
        answer = published(centres[:-1].tolist(), targets)
        scores.append(score_frame(true_frame(clusters), answer))
    whole = Score.join(scores)
    parts = [whole.of_size(size) for size in range(5)]
    assert len(whole.size) == sum(len(score.size) for score in scores)
    assert whole.spots == sum(score.spots for score in scores) == 36
    for outcome in Outcome:
        assert whole.count(outcome) == sum(part.count(outcome) for part in parts)
        assert whole.count(outcome) == sum(score.count(outcome) for score in scores)
    assert len(whole.false_size) == sum(len(part.false_size) for part in parts)
    assert len(whole.cluster_size) == sum(len(part.cluster_size) for part in parts)
    assert whole.count(Outcome.FOUND) > 0
    assert whole.count(Outcome.NOT_DETECTED) > 0


def keys(*numbers: int) -> list[FrameKey]:
    return [FrameKey("cam0", bytes(16), number) for number in numbers]


@pytest.mark.parametrize(
    ("answered", "expected"),
    [
        (keys(3, 4, 5), Delivery(3, 0, 0, 0, 0)),
        (keys(3, 5), Delivery(3, 1, 0, 0, 0)),
        (keys(3, 4, 4, 5), Delivery(3, 0, 1, 0, 0)),
        (keys(3, 4, 5, 6), Delivery(3, 0, 0, 1, 0)),
        (keys(3, 5, 4), Delivery(3, 0, 0, 0, 1)),
        (keys(), Delivery(3, 3, 0, 0, 0)),
        (keys(3, 4, 5, 3), Delivery(3, 0, 1, 0, 1)),
    ],
)
def test_delivery(answered: list[FrameKey], expected: Delivery) -> None:
    delivery = check_delivery(keys(3, 4, 5), answered)
    assert delivery == expected
    assert delivery.exact == (answered == keys(3, 4, 5))


@pytest.mark.parametrize(
    ("away", "found", "close"),
    [(0.25, True, True), (0.2501, True, False), (0.5, True, False), (0.5001, False, False)],
)
def test_radii_include_their_edges(
    true_frame: Truth, published: Answer, away: float, found: bool, close: bool
) -> None:
    truth = true_frame([[(10, 10, 100)]])
    for x, y in ((10 + away, 10), (10, 10 - away)):
        score = score_frame(truth, published(spots=[(10, 10)], targets=[(x, y, 100)]))
        assert (score.count(Outcome.FOUND), score.close.tolist()) == (found, [close])


@pytest.mark.parametrize(("away", "reached"), [(3.0, True), (3.01, False)])
def test_a_cluster_reaches_three_pixels(
    true_frame: Truth, published: Answer, away: float, reached: bool
) -> None:
    truth = true_frame([[(10, 10, 100), (11, 10, 100)], [(40, 10, 100)]])
    score = score_frame(truth, published(spots=[(10 - away, 10)], targets=[(11, 10 + away, 50)]))
    detected = Outcome.MISSED if reached else Outcome.NOT_DETECTED
    assert score.outcome.tolist() == [detected, detected, Outcome.NOT_DETECTED]
    assert score.stray_spots == (not reached)
    assert score.false_size.tolist() == [2 if reached else 0]
    assert score.cluster_count.tolist() == [1] * reached
