"""Whether noise is correlated, on noise whose correlation is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from dscsnet.engines.imaging import render
from dscsnet.pipeline.cropping import correlation
from dscsnet.pipeline.cropping.cut import has_correlated_noise
from dscsnet.pipeline.cropping.plan import plan_crops


def white(seed: int = 0, shape: tuple[int, int] = (256, 320)) -> NDArray[np.float64]:
    return 1000 + 10 * np.random.default_rng(seed).normal(size=shape)


def moved(frame: NDArray[np.float64], share: float, axis: int) -> NDArray[np.float64]:
    """Shifted by a share of a pixel along an axis, linearly."""
    return (1 - share) * frame + share * np.roll(frame, 1, axis)


def is_correlated(
    frame: NDArray[np.generic],
    x: NDArray[np.float64] | None = None,
    y: NDArray[np.float64] | None = None,
) -> bool:
    """Of a frame with candidates at x, y."""
    plan = plan_crops(
        *(np.zeros(0) if x is None else x, np.zeros(0) if y is None else y),
        frame_shape=frame.shape,
        crop_size=11,
        field_size=7.0,
        merge_radius=3.0,
        max_crops=512,
    )
    return has_correlated_noise(frame, plan)


def read_only(frame: NDArray[np.generic]) -> NDArray[np.generic]:
    frame = np.ascontiguousarray(frame)
    frame.flags.writeable = False
    return frame


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_white_noise_is_not_correlated(dtype: type) -> None:
    assert not any(is_correlated(white(seed).astype(dtype)) for seed in range(60))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_frame_that_was_shifted_by_part_of_a_pixel_is(axis: int, share: float) -> None:
    frame = moved(white(), share, axis)
    assert is_correlated(frame.astype(np.float32))
    assert is_correlated(frame.astype(np.uint16))


def test_the_variances_are_those_of_the_filters() -> None:
    """Of a shift by a share s: 1 - 2 s (1 - s) times what two equal neighbours would leave."""
    frame = read_only(moved(white(shape=(800, 800)), 0.5, 1).astype(np.float32))
    nowhere = np.zeros(0, np.int64)
    quick, slow, places = correlation._variances(frame, nowhere, nowhere, True)
    assert places == 512
    # Noise of 10, averaged in twos, has half the variance and half of that along x as correlation.
    assert slow == pytest.approx(50, rel=0.3)
    assert quick == pytest.approx(50 * (1 - 1.5 * 0.5), rel=0.3)
    quick, slow, _ = correlation._variances(frame, nowhere, nowhere, False)
    assert (quick, slow) == (pytest.approx(50, rel=0.3), pytest.approx(50, rel=0.3))


def test_targets_clouds_and_gaps_are_no_correlation() -> None:
    random = np.random.default_rng(3)
    x, y = random.uniform(5, 300, (2, 400))
    frame = white() + render(x, y, np.full(400, 1e6), (256, 320), 0.7)
    frame += 3000 * np.sin(np.arange(320) / 15)
    frame[::7, ::5] = np.nan
    assert not is_correlated(frame.astype(np.float32))


@pytest.mark.parametrize("spacing", [24.0, 30.0])
def test_wide_bright_targets_are_left_out(spacing: float) -> None:
    """Their light, nearly everywhere, is a slow part that noise does not have."""
    places = np.arange(spacing, 250, spacing)
    x, y = (axis.ravel() for axis in np.meshgrid(places, places))
    frame = white(shape=(256, 256)) + render(x, y, np.full(len(x), 1e5), (256, 256), 2.0)
    assert not is_correlated(frame.astype(np.float32), x, y)
    smooth = moved(white(shape=(256, 256)), 0.5, 0)
    smooth += render(x, y, np.full(len(x), 1e5), (256, 256), 2.0)
    assert is_correlated(smooth.astype(np.float32), x, y)


def test_where_targets_are_everywhere_nothing_is_told() -> None:
    places = np.arange(4.0, 256, 12)
    x, y = (axis.ravel() for axis in np.meshgrid(places, places))
    frame = moved(white(shape=(256, 256)), 0.5, 0).astype(np.float32)
    assert is_correlated(frame)
    assert not is_correlated(frame, x, y)


@pytest.mark.parametrize(
    "frame",
    [
        np.full((64, 64), 7, np.uint8),
        np.full((64, 64), np.nan, np.float32),
        np.zeros((4, 100), np.float32),
        np.random.default_rng(0).normal(100, 0.2, (64, 64)).round().astype(np.uint8),
    ],
)
def test_without_noise_there_is_nothing_to_tell(frame: NDArray[np.generic]) -> None:
    assert not is_correlated(frame)


def test_counts_may_be_in_any_unit() -> None:
    frame = moved(white(), 0.5, 0)
    for scale in (1e-15, 1e12):
        assert is_correlated((scale * frame).astype(np.float32))
        assert not is_correlated((scale * white()).astype(np.float32))
