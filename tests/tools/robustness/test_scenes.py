"""Scenes: what is in them is what was asked for."""

from dataclasses import replace

import numpy as np
import pytest

from dscsnet.tools.robustness.render import Gaussian, add
from dscsnet.tools.robustness.scenes import LEVEL, NOISE, SPOTS, Scene, Situation, draw, peak_share

PLAIN = Situation("group", "name", Gaussian(0.8, 0.6, 30), noise=1e-6, snr=1e9)


def light_of(scene: Scene, situation: Situation) -> np.ndarray:
    image = np.zeros(scene.pixels.shape)
    flux = scene.flux / situation.scale
    add(image, situation.light, scene.x.ravel(), scene.y.ravel(), flux.ravel())
    return image


@pytest.mark.parametrize("targets", [1, 2, 3])
def test_targets_are_where_they_are_said_to_be(targets: int) -> None:
    situation = replace(PLAIN, targets=targets)
    scene = draw(situation, 3)
    assert scene.x.shape == scene.y.shape == scene.flux.shape == (SPOTS**2, targets)
    np.testing.assert_allclose(scene.pixels - LEVEL, light_of(scene, situation), atol=1e-3)
    gaps = np.hypot(scene.x[:, :1] - scene.x, scene.y[:, :1] - scene.y)
    np.testing.assert_allclose(gaps[:, 1:], 1.2)
    middle = scene.x.mean(1), scene.y.mean(1)
    assert np.hypot(middle[0] - scene.spot_x, middle[1] - scene.spot_y).max() < 0.9
    # Each is alone in its crop.
    apart = np.hypot(*(np.subtract.outer(axis, axis) for axis in middle))
    assert apart[~np.eye(len(apart), dtype=bool)].min() > 22
    again = draw(situation, 3)
    np.testing.assert_array_equal(again.pixels, scene.pixels)
    assert (draw(situation, 4).x != scene.x).any()


def test_brightness_is_the_peak_of_a_centred_target_over_the_noise() -> None:
    situation = Situation("group", "name", snr=40.0)
    scene = draw(situation, 0)
    share = peak_share(situation.light)
    assert share == pytest.approx(0.2752, abs=2e-3)  # erf(0.5 / 0.7 / sqrt 2) squared
    np.testing.assert_allclose(scene.flux * share, 40 * NOISE)
    rest = scene.pixels - LEVEL - light_of(scene, situation)
    assert rest.std() == pytest.approx(NOISE, rel=0.01)
    assert abs(rest.mean()) < 0.1
    np.testing.assert_allclose(scene.sigma, NOISE)
    assert scene.pixels.dtype == np.float32


def test_shot_noise_is_that_of_electrons() -> None:
    situation = Situation("group", "name", electrons=1e5, noise=3.0)
    scene = draw(situation, 1)
    light = light_of(scene, situation)
    assert (scene.flux == 1e5).all()
    np.testing.assert_allclose(scene.sigma, np.sqrt(9 + light), rtol=1e-4)
    pull = (scene.pixels - LEVEL - light) / scene.sigma
    assert pull[light > 1000].std() == pytest.approx(1, abs=0.03)
    assert pull[light < 1].std() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("scale", [1e-15, 1e12])
def test_counts_are_scaled_at_the_end(scale: float) -> None:
    one, other = (draw(Situation("group", "name", scale=s), 2) for s in (1.0, scale))
    np.testing.assert_allclose(other.pixels, scale * one.pixels.astype(float), rtol=1e-5)
    np.testing.assert_allclose(other.flux, scale * one.flux)
    np.testing.assert_allclose(other.sigma, scale * one.sigma)
    np.testing.assert_array_equal(other.x, one.x)


def test_whole_counts_have_the_noise_of_rounding() -> None:
    scene = draw(Situation("group", "name", whole=True), 2)
    assert scene.pixels.dtype == np.uint16
    np.testing.assert_allclose(scene.sigma, np.sqrt(NOISE**2 + 1 / 12))


@pytest.mark.parametrize("told", [True, False])
def test_saturated_pixels_tell_nothing(told: bool) -> None:
    situation = Situation("group", "name", snr=200.0, clipped=0.5, clip_told=told)
    scene = draw(situation, 2)
    limit = LEVEL + 0.5 * 200 * NOISE
    assert scene.pixels.max() == pytest.approx(limit)
    assert scene.saturation == (pytest.approx(limit) if told else None)
    clipped = scene.pixels >= np.float32(limit)
    assert clipped.sum() >= SPOTS**2 / 2
    np.testing.assert_array_equal(np.isinf(scene.sigma), clipped)


@pytest.mark.parametrize("edge", [(-0.5, 0.0), (1.0, 1.5)])
def test_spots_of_the_edge_are_at_the_first_column(edge: tuple[float, float]) -> None:
    scene = draw(Situation("group", "name", edge=edge), 5)
    assert ((scene.x >= edge[0]) & (scene.x <= edge[1])).all()
    np.testing.assert_array_equal(scene.spot_x, scene.x[:, 0])
    assert np.diff(scene.y[:, 0]).min() > 22


@pytest.mark.parametrize("box", [5.0, 16.0, 40.0])
def test_a_target_is_anywhere_in_its_box_and_no_other_is(box: float) -> None:
    scene = draw(Situation("group", "name", box=box), 6)
    for spot, place in ((scene.spot_x, scene.x[:, 0]), (scene.spot_y, scene.y[:, 0])):
        assert abs(spot - place).max() <= box / 2 - 1.5
        assert abs(spot - place).max() > 0.8 * (box / 2 - 1.5)
    across = abs(np.subtract.outer(scene.spot_x, scene.x[:, 0]))
    down = abs(np.subtract.outer(scene.spot_y, scene.y[:, 0]))
    assert ((across <= box / 2 + 3) & (down <= box / 2 + 3)).sum() == len(scene.spot_x)


def test_a_trail_has_all_the_light_along_x() -> None:
    situation = replace(PLAIN, light=Gaussian(0.7, 0.7), trail=3.0)
    scene, point = draw(situation, 7), draw(replace(situation, trail=0.0), 7)
    row, column = round(float(scene.y[0, 0])), round(float(scene.x[0, 0]))
    about = np.s_[row - 9 : row + 10, column - 9 : column + 10]
    widths = []
    for each in (scene, point):
        light = each.pixels[about].astype(float) - LEVEL
        assert light.sum() == pytest.approx(each.flux[0, 0], rel=1e-3)
        places = np.arange(19) - 9.0
        middle = (light.sum(0) * places).sum() / light.sum()
        widths.append((light.sum(0) * (places - middle) ** 2).sum() / light.sum())
    # A uniform trail of 3 px adds 3 squared over 12.
    assert widths[0] - widths[1] == pytest.approx(0.75 * (33 + 1) / (33 - 1), rel=0.02)


def test_a_resampled_frame_is_shifted_and_so_are_its_targets() -> None:
    situation = replace(PLAIN, light=Gaussian(0.7, 0.7))
    plain, shifted = (draw(replace(situation, resampled=r), 8) for r in (False, True))
    np.testing.assert_allclose(shifted.x, plain.x + 0.5)
    np.testing.assert_allclose(shifted.y, plain.y + 0.5)
    former = plain.pixels.astype(float)
    expected = (former[1:, 1:] + former[:-1, 1:] + former[1:, :-1] + former[:-1, :-1]) / 4
    np.testing.assert_allclose(shifted.pixels[1:, 1:], expected, rtol=1e-4)
