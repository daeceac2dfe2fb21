"""Speeds of the chain, and how samples are shared out over frames."""

import numpy as np
import pytest

from dscsnet.engines.estimates import Estimates
from dscsnet.tools.field import chain as module
from dscsnet.tools.field.chain import Answers, Speed


def answers(number: int, *seconds: float) -> Answers:
    pixels = np.zeros((number, 11, 11), np.float32)
    return Answers(Estimates.none(), pixels, np.zeros(number), seconds)  # type: ignore[arg-type]


def test_crops_a_second_of_each_stage_and_of_all() -> None:
    assert answers(120, 0.5, 2.0, 0.25).speed == Speed(240, 60, 480, pytest.approx(120 / 2.75))
    assert answers(120, 0.0, 2.0, 0.0).speed.crop == pytest.approx(1.2e11)


@pytest.mark.parametrize(
    ("count", "parts"),
    [
        (0, []),
        (1, [(0, 1)]),
        (256, [(0, 256)]),
        (257, [(0, 256), (256, 257)]),
        (600, [(0, 256), (256, 512), (512, 600)]),
    ],
)
def test_a_frame_holds_16_by_16_regions(count: int, parts: list[tuple[int, int]]) -> None:
    assert [(each.start, each.stop) for each in module._frames_of(count)] == parts


def test_both_axes_are_told_the_same_width() -> None:
    told = module._both_axes(np.array([0.5, 0.75]))
    assert told.dtype == np.float32
    assert told.tolist() == [[0.5, 0.5], [0.75, 0.75]]
