"""Cutting of crops: padding, repair, flags, calibration; the frame stays untouched."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dscsnet.pipeline.cropping import cut as crop_module
from dscsnet.pipeline.cropping.cut import Crops, cut_crops, warm_up
from dscsnet.pipeline.cropping.plan import CropPlan
from dscsnet.pipeline.errors import ConfigError
from dscsnet.pipeline.messages import SpotFlag

SIZE = 11
HALF = SIZE // 2
DTYPES = (np.uint8, np.uint16, np.float32)


def plan_at(*centers: tuple[int, int]) -> CropPlan:
    """A plan with crops at (x, y)."""
    columns = np.array(centers, np.int32).reshape(-1, 2)
    count = len(centers)
    flags = np.zeros(count, np.uint32)
    return CropPlan(columns[:, 0], columns[:, 1], np.arange(count, dtype=np.int32), flags)


def noise_frame(rows: int = 40, columns: int = 50, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(100, 5, (rows, columns)).astype(np.float32)


def planes(crops: Crops) -> NDArray[np.float64]:
    offsets = np.arange(crops.pixels.shape[1]) - crops.pixels.shape[1] // 2
    level, slope_x, slope_y = (
        column.astype(float)[:, None, None]
        for column in (crops.background, crops.slope_x, crops.slope_y)
    )
    return level + slope_x * offsets[None, None, :] + slope_y * offsets[None, :, None]


@pytest.mark.parametrize("size", [1, 3, 5, 11, 15])
@pytest.mark.parametrize("shape", [(40, 50), (5, 7), (2, 3), (1, 9), (1, 1)])
def test_padding_is_numpys_reflection(shape: tuple[int, int], size: int) -> None:
    frame = noise_frame(*shape)
    rows, columns = shape
    centers = [(0, 0), (columns - 1, 0), (0, rows - 1), (columns - 1, rows - 1)]
    centers.append((columns // 2, rows // 2))
    crops = cut_crops(frame, plan_at(*centers), size=size)
    half = size // 2
    padded = np.pad(frame, half, mode="reflect")
    inside = np.pad(np.ones(shape, bool), half)
    for index, (x, y) in enumerate(centers):
        window = np.s_[y : y + size, x : x + size]
        restored = crops.pixels[index] + planes(crops)[index]
        np.testing.assert_allclose(restored, padded[window], atol=1e-3)
        np.testing.assert_array_equal(crops.usable[index], inside[window])
        assert bool(crops.flags[index] & SpotFlag.EDGE) == (not inside[window].all())


@pytest.mark.parametrize("size", [5, 11])
def test_tiny_frames_are_calibrated_or_say_that_they_are_not(size: int) -> None:
    crops = cut_crops(np.full((1, 1), 7, np.uint8), plan_at((0, 0)), size=size)
    assert crops.background[0] == 7
    assert not crops.pixels.any()
    assert crops.noise[0] > 0
    assert crops.flags[0] == SpotFlag.EDGE | SpotFlag.NOT_CONVERGED
    crops = cut_crops(noise_frame(5, 7), plan_at((3, 2)), size=size)
    assert crops.background[0] == pytest.approx(100, abs=10)
    assert 1 < crops.noise[0] < 15


def test_dtypes_agree_on_the_same_counts() -> None:
    counts = np.random.default_rng(1).integers(80, 120, (40, 50))
    counts[20, 20] = 255
    plan = plan_at((20, 20), (0, 3), (49, 39), (30, 12))
    eight, sixteen, floats = (cut_crops(counts.astype(t), plan, size=SIZE) for t in DTYPES)
    for name in ("pixels", "background", "slope_x", "slope_y", "noise", "usable", "flags"):
        np.testing.assert_array_equal(getattr(eight, name), getattr(sixteen, name))
        np.testing.assert_allclose(getattr(floats, name), getattr(eight, name), rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_read_only_frame_is_read_in_place(dtype: type[np.generic]) -> None:
    counts = np.random.default_rng(2).integers(0, 200, (1500, 2000)).astype(dtype)
    before = counts.copy()
    frame = np.frombuffer(counts.tobytes(), dtype).reshape(counts.shape)
    plan = plan_at((3, 3), (1000, 700))
    cut_crops(frame, plan, size=SIZE)
    tracemalloc.start()
    cut_crops(frame, plan, size=SIZE, bad_pixels=None, saturation=190)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < frame.nbytes // 20
    np.testing.assert_array_equal(frame, before)


def test_any_memory_order_gives_the_same() -> None:
    frame = noise_frame()
    plan = plan_at((20, 20), (0, 0))
    expected = cut_crops(frame, plan, size=SIZE)
    wide = np.zeros((40, 100), np.float32)
    wide[:, ::2] = frame
    for same in (np.asfortranarray(frame), wide[:, ::2]):
        found = cut_crops(same, plan, size=SIZE)
        np.testing.assert_array_equal(found.pixels, expected.pixels)


def test_a_crop_does_not_depend_on_the_others() -> None:
    frame = noise_frame()
    centers = [(20, 20), (0, 0), (49, 10), (21, 20)]
    together = cut_crops(frame, plan_at(*centers), size=SIZE)
    for index, center in enumerate(centers):
        alone = cut_crops(frame, plan_at(center), size=SIZE)
        np.testing.assert_array_equal(alone.pixels[0], together.pixels[index])
        assert alone.noise[0] == together.noise[index]


@pytest.mark.parametrize(("gain", "offset"), [(4.0, 0.0), (0.25, -20.0), (3.7, 1000.0), (1e-6, 0)])
def test_gain_and_offset_carry_through(gain: float, offset: float) -> None:
    frame = noise_frame(seed=3)
    frame[18:22, 24] += 400
    plan = plan_at((20, 20), (0, 0), (25, 20))
    before = cut_crops(frame, plan, size=SIZE)
    scaled = (frame.astype(float) * gain + offset).astype(np.float32)
    after = cut_crops(scaled, plan, size=SIZE)
    near: dict[str, Any] = {"rtol": 2e-4, "atol": 2e-4 * gain * 5}
    np.testing.assert_allclose(after.pixels, before.pixels * gain, **near)
    np.testing.assert_allclose(after.noise, before.noise * gain, **near)
    np.testing.assert_allclose(after.background, before.background * gain + offset, **near)
    np.testing.assert_allclose(after.slope_x, before.slope_x * gain, **near)


def test_integer_gain_scales_even_the_noise_floor_of_coarse_counts() -> None:
    counts = np.random.default_rng(4).integers(100, 103, (30, 30))
    plan = plan_at((15, 15))
    before = cut_crops(counts.astype(np.uint16), plan, size=SIZE)
    after = cut_crops((counts * 256).astype(np.uint16), plan, size=SIZE)
    np.testing.assert_allclose(after.noise, before.noise * 256, rtol=1e-6)
    np.testing.assert_allclose(after.pixels, before.pixels * 256, rtol=1e-5, atol=1e-2)


@pytest.mark.parametrize("value", [0.0, 0.25, 1e-20, 3e4, 1e29])
def test_noise_of_flat_float_frames_is_tiny_but_positive(value: float) -> None:
    crops = cut_crops(np.full((20, 20), value, np.float32), plan_at((10, 10)), size=SIZE)
    assert 0 < crops.noise[0] <= max(value * 1e-6, 1e-36)
    assert np.isfinite(crops.pixels / crops.noise[0]).all()


def test_bad_pixels_become_the_mean_of_their_good_neighbours() -> None:
    frame = noise_frame(seed=5)
    frame[20, 20], frame[3, 4] = np.nan, np.inf
    mask = np.zeros(frame.shape, bool)
    mask[20, 21] = mask[18:23, 24:29] = True
    crops = cut_crops(frame, plan_at((22, 20), (22, 33)), size=SIZE, bad_pixels=mask)
    restored = crops.pixels[0] + planes(crops)[0]
    corner = np.array([22, 20]) - HALF
    bad = mask | ~np.isfinite(frame)
    rows, columns = slice(corner[1], corner[1] + SIZE), slice(corner[0], corner[0] + SIZE)
    window, window_bad = frame[rows, columns], bad[rows, columns]
    for row, column in np.argwhere(window_bad):
        reach = 1
        while True:
            near = np.s_[
                max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1
            ]
            good = window[near][~window_bad[near]]
            if good.size:
                break
            reach += 1
        assert restored[row, column] == pytest.approx(good.mean(), rel=1e-5)
    np.testing.assert_array_equal(crops.usable[0], ~window_bad)
    assert crops.flags.tolist() == [SpotFlag.BAD_PIXELS, 0]


def test_bad_pixels_do_not_touch_background_and_noise() -> None:
    frame = noise_frame(seed=6)
    mask = np.zeros(frame.shape, bool)
    mask[15, 15:22] = True
    hot = frame.copy()
    hot[mask] = 60000
    for wrong in (hot, np.where(mask, np.float32(np.nan), frame)):
        found = cut_crops(wrong, plan_at((20, 20)), size=SIZE, bad_pixels=mask)
        clean = cut_crops(frame, plan_at((20, 20)), size=SIZE, bad_pixels=mask)
        np.testing.assert_array_equal(found.pixels, clean.pixels)
        assert found.noise[0] == clean.noise[0]


def test_saturated_pixels_keep_their_value_and_stay_out_of_the_fit() -> None:
    frame = np.random.default_rng(7).normal(1000, 10, (40, 40)).astype(np.uint16)
    plan = plan_at((20, 20), (5, 20))
    clean = cut_crops(frame, plan, size=SIZE)
    frame[15:17, 15:26] = 16383
    crops = cut_crops(frame, plan, size=SIZE, saturation=16383.0)
    assert crops.flags.tolist() == [SpotFlag.SATURATED, 0]
    np.testing.assert_array_equal(crops.usable[0], frame[15:26, 15:26] < 16383)
    np.testing.assert_allclose(crops.pixels[0][:2] + planes(crops)[0][:2], 16383, rtol=1e-5)
    assert crops.background[0] == pytest.approx(clean.background[0], abs=5)
    assert crops.noise[0] == pytest.approx(clean.noise[0], rel=0.3)


@pytest.mark.parametrize("kind", ["nan", "masked", "saturated"])
def test_crops_without_a_usable_pixel(kind: str) -> None:
    frame = np.full((20, 20), np.nan if kind == "nan" else 500, np.float32)
    crops = cut_crops(
        frame,
        plan_at((10, 10), (0, 0)),
        size=SIZE,
        bad_pixels=np.ones(frame.shape, bool) if kind == "masked" else None,
        saturation=400.0,
    )
    assert not crops.pixels.any()
    assert not crops.usable.any()
    for column in (crops.background, crops.noise, crops.slope_x, crops.slope_y):
        assert np.isnan(column).all()
    expected = SpotFlag.BAD_PIXELS | SpotFlag.NOT_CONVERGED
    if kind == "saturated":
        expected |= SpotFlag.SATURATED
    assert crops.flags.tolist() == [expected, expected | SpotFlag.EDGE]


def test_a_target_on_a_slope_keeps_its_counts() -> None:
    rows, columns = np.mgrid[:40, :40]
    frame = (200 + 4 * columns - 2 * rows).astype(np.float32)
    frame += np.random.default_rng(8).normal(0, 1, frame.shape).astype(np.float32)
    frame[20, 20] += 500
    crops = cut_crops(frame, plan_at((20, 20)), size=SIZE)
    assert crops.pixels[0, HALF, HALF] == pytest.approx(500, abs=5)
    assert crops.slope_x[0] == pytest.approx(4, abs=0.15)
    assert crops.slope_y[0] == pytest.approx(-2, abs=0.15)
    assert crops.background[0] == pytest.approx(240, abs=0.6)


def test_no_crops() -> None:
    crops = cut_crops(noise_frame(), plan_at(), size=SIZE)
    assert crops.pixels.shape == (0, SIZE, SIZE)
    assert crops.noise.shape == (0,)


def test_types_of_the_result() -> None:
    crops = cut_crops(noise_frame(), plan_at((9, 9)), size=SIZE)
    assert crops.pixels.dtype == crops.noise.dtype == crops.background.dtype == np.float32
    assert crops.pixels.flags.c_contiguous
    assert crops.flags.dtype == np.uint32
    assert crops.center_x.dtype == np.int32


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((4, 4), np.float64), "got (4, 4) <f8"),
        (np.zeros((4, 4), ">u2"), "native byte order"),
        (np.zeros((4, 4, 3), np.uint8), "(H, W)"),
        (np.zeros((0, 4), np.uint8), "got (0, 4)"),
    ],
)
def test_impossible_frames_are_named(frame: NDArray[np.generic], message: str) -> None:
    with pytest.raises(ValueError, match="pixels: ") as raised:
        cut_crops(frame, plan_at(), size=SIZE)
    assert message in str(raised.value)


def test_impossible_arguments_are_named() -> None:
    frame = noise_frame()
    with pytest.raises(ValueError, match="size: expected an odd"):
        cut_crops(frame, plan_at(), size=10)
    with pytest.raises(ValueError, match="saturation: "):
        cut_crops(frame, plan_at(), size=SIZE, saturation=float("nan"))
    masks: list[Any] = [np.zeros((4, 4), bool), np.zeros(frame.shape, np.uint8)]
    for mask in masks:
        with pytest.raises(ConfigError, match="bad_pixels: expected a bool mask"):
            cut_crops(frame, plan_at(), size=SIZE, bad_pixels=mask)


def test_warm_up_leaves_nothing_to_compile() -> None:
    warm_up(SIZE)
    kernels = (crop_module._cut, crop_module._fill_bad, crop_module.subtract_backgrounds)
    before = [len(kernel.signatures) for kernel in kernels]
    plan = plan_at((9, 9), (0, 0))
    for dtype in DTYPES:
        frame = np.frombuffer(np.ones((30, 30), dtype).tobytes(), dtype).reshape(30, 30)
        mask = np.eye(30, dtype=bool)
        cut_crops(frame, plan, size=SIZE, bad_pixels=mask, saturation=7)
        cut_crops(frame[::2], plan, size=9)
    assert [len(kernel.signatures) for kernel in kernels] == before
