import subprocess
import sys
import zlib

import msgspec
import numpy as np
import pytest

from dscsnet.detector_stub import scene as scene_module
from dscsnet.detector_stub.scene import Scene, Truth
from dscsnet.detector_stub.scene_config import (
    CloudSettings,
    ClusterSettings,
    SceneConfig,
    SensorSettings,
    SkySettings,
)

QUIET = SensorSettings(
    bits=16, read_noise=0.0, electrons_per_count=None, offset_sigma=0.0, column_sigma=0.0,
    gain_sigma=0.0,
)  # fmt: skip
FLAT = SkySettings(top=1000.0, bottom=1000.0)
CLEAR = CloudSettings(contrast=0.0, texture_size=64)
NOBODY = ClusterSettings(count=0)


def small(**changes: object) -> SceneConfig:
    base = SceneConfig(width=96, height=72, sky=FLAT, clouds=CLEAR, sensor=QUIET, clusters=NOBODY)
    return msgspec.structs.replace(base, **changes)


def test_isolated_targets_lie_where_the_truth_says_with_their_flux() -> None:
    # without noise the ratio is one to a count: 20000 counts in the central pixel
    lone = ClusterSettings(
        count=1, max_members=1, min_peak_snr=20000.0, max_peak_snr=20000.0,
        psf_sigma_x=0.6, psf_sigma_y=0.8, min_speed=0.37, max_speed=0.37,
    )  # fmt: skip
    scene = Scene(small(clusters=lone))
    y, x = np.mgrid[:72, :96]
    for frame_id in range(0, 200, 9):
        frame = scene.frame(frame_id)
        light = frame.pixels.astype(float) - 1000
        truth = frame.truth
        assert light.sum() == pytest.approx(truth.intensity[0], rel=1e-4)
        assert (light * x).sum() / light.sum() == pytest.approx(truth.x[0], abs=1e-3)
        assert (light * y).sum() / light.sum() == pytest.approx(truth.y[0], abs=1e-3)
    assert scene.radiance(3).max() - 1000 <= 20000


def test_every_member_is_rendered_also_where_the_frame_cuts_it_off() -> None:
    crowd = ClusterSettings(count=12, motion="reenter", margin=4.0, min_speed=1.0, max_speed=3.0)
    scene = Scene(small(clusters=crowd))
    for frame_id in range(0, 60, 6):
        y, x = np.mgrid[:72, :96]
        expected = np.full((72, 96), 1000.0)
        for cluster in scene.clusters:
            for (tx, ty), light in zip(cluster.positions(frame_id), cluster.intensity, strict=True):
                # the pixel's integral by fine sampling, not by error functions
                fine = (np.arange(41) - 20) / 41
                column = np.exp(-((y[:, :1] + fine - ty) ** 2) / 0.5).mean(1)
                row = np.exp(-((x[0][:, None] + fine - tx) ** 2) / 0.5).mean(1)
                expected += light / (np.pi * 0.5) * column[:, None] * row
        np.testing.assert_allclose(scene.radiance(frame_id), expected, atol=0.02)


def test_truth_lists_the_targets_whose_centre_is_in_the_frame() -> None:
    crowd = ClusterSettings(count=30, motion="reenter", margin=20.0)
    scene = Scene(small(clusters=crowd))
    truth = scene.truth(11)
    total = sum(len(c.intensity) for c in scene.clusters)
    assert 0 < len(truth.x) < total
    assert ((truth.x >= -0.5) & (truth.x < 95.5) & (truth.y >= -0.5) & (truth.y < 71.5)).all()
    table = truth.clusters()
    assert table.count.sum() == len(truth.x)
    assert set(table.id) == set(truth.cluster)


def test_cluster_table_is_the_centre_of_light() -> None:
    truth = Truth(
        np.array([4, 4, 7]), np.array([1.0, 3, 9]), np.array([2.0, 2, 5]), np.array([1.0, 3, 2]),
        1.0, 0,
    )  # fmt: skip
    table = truth.clusters()
    assert table.id.tolist() == [4, 7]
    assert table.x.tolist() == [2.5, 9.0]
    assert table.y.tolist() == [2.0, 5.0]
    assert table.count.tolist() == [2, 1]


def test_a_frame_depends_on_seed_and_number_alone() -> None:
    noisy = small(sensor=SensorSettings(), clouds=CloudSettings(texture_size=64))
    scene = Scene(noisy)
    in_order = [scene.frame(k).pixels.tobytes() for k in range(4)]
    assert Scene(noisy).frame(3).pixels.tobytes() == in_order[3]
    assert scene.frame(1).pixels.tobytes() == in_order[1]
    assert len(set(in_order)) == 4
    other = Scene(msgspec.structs.replace(noisy, seed=2))
    assert other.frame(3).pixels.tobytes() != in_order[3]


def test_another_process_makes_the_same_bytes() -> None:
    code = (
        "import zlib; from dscsnet.detector_stub.scene import Scene;"
        "from dscsnet.detector_stub.scene_config import SceneConfig;"
        "print(zlib.crc32(Scene(SceneConfig(width=64, height=48)).frame(5).pixels))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert int(out.stdout) == zlib.crc32(Scene(SceneConfig(width=64, height=48)).frame(5).pixels)


def test_noise_in_time_has_the_configured_variance() -> None:
    sensor = msgspec.structs.replace(QUIET, read_noise=6.0, electrons_per_count=20.0)
    scene = Scene(small(sensor=sensor))
    stack = np.stack([scene.frame(k).pixels.astype(float) for k in range(40)])
    expected = 6.0**2 + 1000 / 20 + 1 / 12  # read, shot, rounding
    assert stack.var(axis=0, ddof=1).mean() == pytest.approx(expected, rel=0.02)
    assert scene.noise_sigma == pytest.approx(np.sqrt(6.0**2 + 50))
    means = stack.mean(0)
    assert means.std() == pytest.approx(np.sqrt(expected / 40), rel=0.05)  # no fixed pattern


@pytest.mark.parametrize(
    ("read_noise", "electrons", "variance"), [(0.0, 20.0, 50.0), (6.0, None, 36.0)]
)
def test_read_and_shot_noise_each_alone(
    read_noise: float, electrons: float | None, variance: float
) -> None:
    sensor = msgspec.structs.replace(QUIET, read_noise=read_noise, electrons_per_count=electrons)
    scene = Scene(small(sensor=sensor))
    difference = scene.frame(0).pixels.astype(float) - scene.frame(1).pixels
    # two frames' noise and rounding
    assert difference.var() == pytest.approx(2 * (variance + 1 / 12), rel=0.05)
    assert scene.noise_sigma == pytest.approx(np.sqrt(variance))


def test_fixed_pattern_is_fixed_and_as_strong_as_configured() -> None:
    sensor = msgspec.structs.replace(QUIET, offset_sigma=20.0, gain_sigma=0.01, column_sigma=30.0)
    scene = Scene(small(sensor=sensor, height=512, width=256))
    first = scene.frame(0).pixels.astype(float)
    np.testing.assert_array_equal(first, scene.frame(9).pixels)
    columns = first.mean(0)
    assert columns.std() == pytest.approx(30, rel=0.15)
    within = (first - columns).std()
    assert within == pytest.approx(np.hypot(20.0, 0.01 * 1000), rel=0.02)


def test_dead_and_hot_pixels_and_full_scale() -> None:
    sensor = msgspec.structs.replace(QUIET, bits=14, dead_pixels=5, hot_pixels=3)
    bright = SkySettings(top=100.0, bottom=40000.0, exponent=1.0)
    scene = Scene(small(sensor=sensor, sky=bright))
    pixels = scene.frame(0).pixels
    assert pixels.max() == scene.full_scale == 2**14 - 1
    assert scene.bad_pixels.sum() == 8
    assert (pixels == 0).sum() == 5
    assert (pixels[-1][~scene.bad_pixels[-1]] == 2**14 - 1).all()
    top = pixels[:20]
    assert (top == 2**14 - 1).sum() == (scene.bad_pixels[:20] & (top > 0)).sum()


def test_sky_profile_and_clouds() -> None:
    sky = SkySettings(top=500.0, bottom=2500.0, exponent=2.0)
    image = Scene(small(sky=sky)).radiance(0)
    assert image[0, 0] == 500
    assert image[-1, 50] == 2500
    assert image[36, 5] == pytest.approx(500 + 2000 * (36 / 71) ** 2, rel=1e-5)
    cloudy = Scene(
        small(clouds=CloudSettings(contrast=80.0, texture_size=64, drift_x=1.0, drift_y=0.0))
    )
    first, later = cloudy.radiance(0), cloudy.radiance(10)
    assert first[:64, :64].std() == pytest.approx(80, rel=1e-3)
    np.testing.assert_allclose(later[:, 10:], first[:, :-10], atol=1e-3)


def test_no_frame_before_the_first() -> None:
    with pytest.raises(ValueError, match="at least 0, got -1"):
        Scene(small()).frame(-1)


def test_impossible_scenes_are_refused() -> None:
    with pytest.raises(ValueError, match="margin must be below"):
        SceneConfig(width=32, height=32, clusters=ClusterSettings(margin=16.0))
    for width, height in ((64, 32), (32, 64)):  # the shorter side decides
        with pytest.raises(ValueError, match="margin must be below"):
            SceneConfig(width=width, height=height, clusters=ClusterSettings(margin=16.0))
    with pytest.raises(ValueError, match="more than the frame has"):
        SceneConfig(
            width=32,
            height=16,
            clusters=ClusterSettings(margin=1.0),
            sensor=SensorSettings(hot_pixels=513),
        )
    with pytest.raises(ValueError, match="min_members must not be above max_members, got 6 and 5"):
        ClusterSettings(min_members=6)


def test_the_streams_of_chance_do_not_touch_each_other() -> None:
    """What one part of a scene draws does not depend on what the others draw."""
    plain = small(
        sensor=msgspec.structs.replace(QUIET, offset_sigma=5.0, read_noise=3.0),
        clouds=CloudSettings(contrast=50.0, texture_size=64),
        clusters=ClusterSettings(count=4),
    )
    more = msgspec.structs.replace(
        plain,
        sensor=msgspec.structs.replace(plain.sensor, column_sigma=4.0, hot_pixels=7),
        clouds=CloudSettings(contrast=50.0, texture_size=64, drift_x=1.0),
    )
    one, other = Scene(plain), Scene(more)
    for first, second in zip(one.clusters, other.clusters, strict=True):
        np.testing.assert_array_equal(first.positions(5), second.positions(5))
    np.testing.assert_array_equal(one.radiance(0), other.radiance(0))
    streams = [one._random(purpose).random(8).tolist() for purpose in range(4)]
    assert len({tuple(stream) for stream in streams}) == 4


def test_a_signal_to_noise_ratio_is_that_of_the_central_pixel() -> None:
    for noise in (0.0, 4.0):
        sensor = msgspec.structs.replace(QUIET, read_noise=noise)
        lone = ClusterSettings(
            count=1, max_members=1, min_peak_snr=50.0, max_peak_snr=50.0,
            psf_sigma_x=0.7, psf_sigma_y=0.4,
        )  # fmt: skip
        (cluster,) = Scene(small(sensor=sensor, clusters=lone)).clusters
        fine = (np.arange(1001) - 500) / 1001
        shares = [
            np.exp(-0.5 * (fine / s) ** 2).mean() / (s * np.sqrt(2 * np.pi)) for s in (0.7, 0.4)
        ]
        peak = cluster.intensity[0] * np.prod(shares)
        assert peak == pytest.approx(50 * (noise or 1.0), rel=1e-5)


def test_targets_half_outside_lose_what_lies_there_and_no_more() -> None:
    """The edge of the frame is the edge of its pixels, where half of a target's light is lost."""
    scene = Scene(small())
    for axis, edge in ((0, -0.5), (0, 95.5), (1, -0.5), (1, 71.5)):
        image, place = np.zeros((72, 96), np.float32), np.array([[40.0, 30.0]])
        place[0, axis] = edge
        scene_module._add_targets(image, place, np.array([800.0]), 0.5, 0.8)
        assert image.sum() == pytest.approx(400, rel=1e-5)
    image = np.zeros((72, 96), np.float32)
    for far in ((-20.0, 5.0), (200.0, 5.0), (5.0, -20.0), (5.0, 200.0)):
        scene_module._add_targets(image, np.array([far]), np.array([800.0]), 0.5, 0.8)
    assert not image.any()
    assert scene.frame(0).pixels.min() == 1000


@pytest.mark.parametrize("beyond", [(-21.0, 5.0), (116.0, 5.0), (5.0, -21.0), (5.0, 92.0)])
def test_beyond_its_reach_a_target_adds_nothing(beyond: tuple[float, float]) -> None:
    """Six deviations and a pixel: 19 px of a wide PSF, here just more from the frame's edge."""
    image = np.zeros((72, 96), np.float32)
    scene_module._add_targets(image, np.array([beyond]), np.array([1e9]), 3.0, 3.0)
    assert not image.any()


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_counts_are_rounded_and_cut_at_full_scale(bits: int) -> None:
    sensor = msgspec.structs.replace(QUIET, bits=bits)
    for level, wanted in ((100.4, 100), (100.6, 101), (1e6, 2**bits - 1)):
        scene = Scene(small(sensor=sensor, sky=SkySettings(top=level, bottom=level)))
        assert scene.full_scale == 2**bits - 1
        assert set(np.unique(scene.frame(0).pixels)) == {wanted}


def test_dark_pixels_have_read_noise_alone() -> None:
    """An offset far below 0 would make shot noise of a negative variance."""
    sensor = msgspec.structs.replace(QUIET, read_noise=0.0, electrons_per_count=1.0)
    dark = SkySettings(top=0.0, bottom=0.0)
    assert not Scene(small(sensor=sensor, sky=dark)).frame(0).pixels.any()
    noisy = msgspec.structs.replace(sensor, offset_sigma=300.0)
    pixels = Scene(small(sensor=noisy, sky=dark)).frame(0).pixels
    assert 0.4 < (pixels == 0).mean() < 0.6


def test_the_truth_reaches_to_the_outer_edges_of_the_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(small(clusters=ClusterSettings(count=1, min_members=5)))
    edges = [(-0.5, 3.0), (-0.51, 3.0), (95.49, 3.0), (95.5, 3.0)]
    edges += [(3.0, -0.5), (3.0, -0.51), (3.0, 71.49), (3.0, 71.5)]
    place = np.array(edges)
    (cluster,) = scene.clusters
    monkeypatch.setattr(cluster, "positions", lambda frame: place)
    monkeypatch.setattr(cluster, "intensity", np.arange(8.0))
    truth = scene.truth(0)
    assert truth.intensity.tolist() == [0, 2, 4, 6]
    assert list(zip(truth.x, truth.y, strict=True)) == [edges[k] for k in (0, 2, 4, 6)]
