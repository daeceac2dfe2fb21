"""Field crops keep what their protocol says, and the network is given what the node would give."""

import itertools
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

torch = pytest.importorskip("torch")

from msgspec.structs import replace  # noqa: E402
from torch import Tensor  # noqa: E402

from dscsnet.engines.imaging import central_fraction, render  # noqa: E402
from dscsnet.tools.simulation.background import CORRELATION, FIELD_SIDE, FIELDS, Backgrounds  # noqa: E402
from dscsnet.tools.simulation.field import CROWD_RADIUS, FieldProtocol, FieldScenes, FieldSimulator  # noqa: E402

SIZE, CENTER = 11, 5
#: Targets alone: one to five in each crop, nothing else but noise.
PLAIN = FieldProtocol(
    empty=0, crowded=0, wings=0, shot=0, hot_pixels=0, neighbour=0, structure=0, ellipticity=0
)
NOTHING = replace(PLAIN, empty=1.0)


class Flat:
    """A background without anything."""

    def draw(self, batch: int, *, empty: Tensor, structure: float) -> Tensor:
        return torch.zeros(batch, SIZE, SIZE)


def simulator(protocol: FieldProtocol, seed: int = 1, *, flat: bool = True) -> FieldSimulator:
    result = FieldSimulator(protocol, seed=seed)
    if flat:
        result.backgrounds = Flat()  # type: ignore[assignment]
    return result


def drawn(protocol: FieldProtocol, number: int, seed: int = 1, *, flat: bool = True) -> FieldScenes:
    return simulator(protocol, seed, flat=flat).draw(number)


def number_of_targets(scenes: FieldScenes) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = scenes.present.sum(1).numpy()
    return counts


def distances(scenes: FieldScenes, crop: int) -> NDArray[np.float64]:
    """Between all pairs of a crop's targets, px."""
    there = scenes.present[crop]
    x, y = (v[crop][there].double().numpy() for v in (scenes.x, scenes.y))
    pairs = itertools.combinations(range(len(x)), 2)
    return np.array([math.hypot(x[i] - x[j], y[i] - y[j]) for i, j in pairs])


def assert_same(first: FieldScenes, second: FieldScenes) -> None:
    for name, value in vars(first).items():
        assert torch.equal(value, getattr(second, name)), name


def uniform(values: Any, low: float, high: float) -> bool:
    """Whether a Kolmogorov-Smirnov test believes it."""
    inside = np.asarray((values - low) / (high - low), float)
    return bool(stats.kstest(inside, "uniform").pvalue > 1e-3)


def test_a_seed_fixes_every_crop() -> None:
    first, again, other = (drawn(FieldProtocol(), 50, seed, flat=False) for seed in (1, 1, 2))
    assert_same(first, again)
    assert not torch.equal(first.crops, other.crops)


def test_a_saved_generator_goes_on_with_the_same_crops() -> None:
    interrupted = simulator(FieldProtocol(), 1, flat=False)
    interrupted.draw(40)
    state, pools = interrupted.generator.get_state(), dict(interrupted.pools)
    expected = interrupted.draw(40)
    resumed = simulator(FieldProtocol(), 1, flat=False)
    resumed.generator.set_state(state)
    resumed.pools = pools
    assert_same(resumed.draw(40), expected)


def test_scenes_have_the_stated_shapes() -> None:
    scenes = drawn(FieldProtocol(), 30, flat=False)
    shapes = {name: tuple(value.shape) for name, value in vars(scenes).items()}
    assert shapes == {
        "crops": (30, 11, 11),
        **dict.fromkeys(("noise", "true_noise"), (30,)),
        **dict.fromkeys(("psf", "true_psf"), (30, 2)),
        **dict.fromkeys(("x", "y", "intensity", "present"), (30, 9)),
    }
    assert scenes.crops.dtype == scenes.noise.dtype == torch.float32
    assert scenes.present.dtype == torch.bool


def test_shares_of_empty_and_crowded_crops_and_all_numbers_between() -> None:
    protocol = replace(PLAIN, empty=0.3, crowded=0.2)
    count = number_of_targets(drawn(protocol, 6000))
    expected = [0.3] + 5 * [0.5 / 5] + 4 * [0.2 / 4]
    found = np.bincount(count, minlength=10)
    assert stats.chisquare(found, 6000 * np.array(expected)).pvalue > 1e-3


@pytest.mark.parametrize("most", [1, 3])
def test_fewer_targets_at_most(most: int) -> None:
    scenes = drawn(replace(PLAIN, most=most), 300)
    assert scenes.x.shape == (300, most)
    assert set(number_of_targets(scenes)) == set(range(1, most + 1))


def test_those_present_come_first_and_the_rest_is_at_the_centre() -> None:
    scenes = drawn(FieldProtocol(), 300, flat=False)
    count = number_of_targets(scenes)
    np.testing.assert_array_equal(scenes.present, np.arange(9) < count[:, None])
    absent = ~scenes.present
    assert (scenes.x[absent] == CENTER).all()
    assert (scenes.y[absent] == CENTER).all()
    assert (scenes.intensity[absent] == 0).all()
    assert (scenes.intensity[scenes.present] > 0).all()


@pytest.mark.parametrize("separation", [0.5, 0.9])
def test_targets_keep_their_distance(separation: float) -> None:
    scenes = drawn(replace(PLAIN, min_separation=separation, crowded=0.1), 1000)
    least = [distances(scenes, crop).min(initial=np.inf) for crop in range(1000)]
    assert min(least) >= separation - 1e-5
    assert min(least) < separation + 0.05


def test_targets_stay_in_their_clusters_disc() -> None:
    still = replace(PLAIN, cluster_offset=0.0, cluster_radius=(0.4, 1.5), crowded=0.3)
    scenes = drawn(still, 3000)
    from_centre = torch.hypot(scenes.x - CENTER, scenes.y - CENTER).amax(1).numpy()
    crowd = number_of_targets(scenes) > 5
    assert 1.45 < from_centre[~crowd].max() <= 1.5 + 1e-5
    assert 0.97 * CROWD_RADIUS[1] < from_centre[crowd].max() <= CROWD_RADIUS[1] + 1e-5


def test_single_targets_are_uniform_over_the_disc() -> None:
    one = replace(PLAIN, most=1, cluster_offset=0.0, cluster_radius=(2.0, 2.0))
    scenes = drawn(one, 2000)
    x, y = (v[:, 0].numpy() - CENTER for v in (scenes.x, scenes.y))
    assert uniform(x**2 + y**2, 0, 4)
    assert uniform(np.arctan2(y, x), -np.pi, np.pi)


def test_clusters_lie_anywhere_within_their_offset() -> None:
    scenes = drawn(replace(PLAIN, most=1, cluster_offset=0.7, cluster_radius=(0.0, 0.0)), 2000)
    for place in (scenes.x, scenes.y):
        assert uniform(place[:, 0].numpy() - CENTER, -0.7, 0.7)
    assert abs(np.corrcoef(scenes.x[:, 0], scenes.y[:, 0])[0, 1]) < 0.1


def test_brightness_over_the_noise() -> None:
    protocol = replace(PLAIN, snr=(5.0, 200.0), brightness_ratio=3.0)
    scenes = drawn(protocol, 2000)
    fraction = np.array([central_fraction(*pair) for pair in scenes.true_psf.tolist()])
    peak = scenes.intensity.numpy() * (fraction / scenes.true_noise.numpy())[:, None]
    there = scenes.present.numpy()
    assert 5 * (1 - 1e-5) < peak[there].min() < 5.2
    assert 190 < peak[there].max() < 200 * (1 + 1e-5)
    assert uniform(np.log(peak[:, 0]), np.log(5), np.log(200))
    ratio = (peak / peak[:, :1])[there & (np.arange(5) > 0)]
    assert 1 / 3 - 1e-5 < ratio.min() < 0.36
    assert 2.8 < ratio.max() < 3 + 1e-5


def test_noise_is_log_uniform_and_has_that_of_rounding() -> None:
    scenes = drawn(replace(NOTHING, noise=(0.5, 20.0)), 2000)
    read = np.sqrt(scenes.true_noise.double().numpy() ** 2 - 1 / 12)
    assert uniform(np.log(read), np.log(0.5), np.log(20))


@pytest.mark.parametrize("protocol", [NOTHING, PLAIN], ids=["empty", "targets"])
def test_the_noise_estimate_is_right(protocol: FieldProtocol) -> None:
    scenes = drawn(protocol, 3000)
    ratio = (scenes.noise / scenes.true_noise).numpy()
    assert np.median(ratio) == pytest.approx(1, abs=0.015)
    # Where rounding is small beside it, its error is that of the border's 72 pixels.
    fine = scenes.true_noise.numpy() > 5
    assert 0.08 < ratio[fine].std() < 0.12


def test_empty_crops_are_noise_about_zero() -> None:
    scenes = drawn(NOTHING, 2000)
    values = (scenes.crops / scenes.true_noise[:, None, None]).numpy()
    assert values.mean() == pytest.approx(0, abs=0.01)
    assert values.std() == pytest.approx(1, abs=0.02)
    assert stats.kstest(
        values[:, ::3, ::3][scenes.true_noise > 5].ravel()[:3000], "norm"
    ).pvalue > (1e-3)


def test_a_steep_background_is_taken_off() -> None:
    planes = simulator(NOTHING)

    class Steep(Flat):
        def draw(self, batch: int, *, empty: Tensor, structure: float) -> Tensor:
            axis = torch.arange(SIZE).float()
            return (7 * axis[None, None, :] - 3 * axis[None, :, None]).expand(batch, -1, -1)

    planes.backgrounds = Steep()  # type: ignore[assignment]
    scenes = planes.draw(500)
    values = (scenes.crops / scenes.true_noise[:, None, None]).numpy()
    assert values.mean() == pytest.approx(0, abs=0.03)
    assert values.std() == pytest.approx(1, abs=0.05)
    assert np.median(scenes.noise / scenes.true_noise) == pytest.approx(1, abs=0.03)


def test_crops_hold_whole_counts_of_the_imaging_model() -> None:
    """Within half a count of rounding, and as much of the background's."""
    bright = replace(
        PLAIN, noise=(1e-3, 1e-3), snr=(100.0, 1000.0), psf_told_error=0.0, ellipticity=0.2
    )
    scenes = drawn(bright, 200)
    for crop in range(200):
        there = scenes.present[crop]
        x, y, counts = (
            v[crop][there].double().numpy() for v in (scenes.x, scenes.y, scenes.intensity)
        )
        expected = render(x, y, counts, (SIZE, SIZE), *scenes.true_psf[crop].tolist())
        difference = scenes.crops[crop].numpy() - expected
        assert np.abs(difference).max() < 1.05
        assert abs(difference.mean()) < 0.6
    assert scenes.crops.amax() > 300


def test_light_alone_is_that_of_the_same_targets() -> None:
    protocol = replace(FieldProtocol(), empty=0.5)
    light, noise, psf = simulator(protocol, 3, flat=False).draw_clean(60)
    scenes = drawn(protocol, 60, 3, flat=False)
    some = np.flatnonzero(scenes.present.any(1).numpy())
    assert len(light) == len(noise) == len(psf) == len(some) < 60
    for row, crop in enumerate(some):
        expected = render(
            scenes.x[crop].numpy(),
            scenes.y[crop].numpy(),
            scenes.intensity[crop].numpy(),
            (SIZE, SIZE),
            *scenes.true_psf[crop].tolist(),
        )
        np.testing.assert_allclose(light[row], expected, rtol=1e-4, atol=1e-4 * expected.max())
    assert torch.equal(noise, scenes.true_noise[some])
    assert torch.equal(psf, scenes.true_psf[some])


@pytest.mark.parametrize("error", [0.0, 0.04, 0.15])
def test_the_psf_is_told_with_the_stated_error(error: float) -> None:
    scenes = drawn(replace(NOTHING, psf_told_error=error, ellipticity=0.1), 3000)
    wrong = torch.log(scenes.psf / scenes.true_psf).numpy()
    np.testing.assert_allclose(wrong[:, 0], wrong[:, 1], atol=1e-6)
    assert wrong[:, 0].std() == pytest.approx(error, rel=0.05, abs=1e-6)
    assert wrong[:, 0].mean() == pytest.approx(0, abs=4 * error / 3000**0.5 + 1e-6)


def test_widths_of_the_psf_and_its_ellipticity() -> None:
    scenes = drawn(replace(NOTHING, psf_sigma=(0.5, 0.8), ellipticity=0.1), 4000)
    sigma_x, sigma_y = scenes.true_psf.double().numpy().T
    assert uniform(np.sqrt(sigma_x * sigma_y), 0.5, 0.8)
    stretch = np.log(sigma_x / sigma_y)
    stretched = np.abs(stretch) > 1e-5
    assert stretched.mean() == pytest.approx(0.5, abs=0.04)
    assert stats.kstest(stretch[stretched] / 0.1, "norm").pvalue > 1e-3


def test_a_round_psf_is_told_round() -> None:
    scenes = drawn(PLAIN, 200)
    torch.testing.assert_close(scenes.true_psf[:, 0], scenes.true_psf[:, 1])
    torch.testing.assert_close(scenes.psf[:, 0], scenes.psf[:, 1])


def test_wings_keep_the_light_and_widen_it() -> None:
    wide = simulator(replace(PLAIN, wings=1.0, psf_sigma=(0.6, 0.6)))
    psf, share = wide._psf(2000)
    assert uniform(share.numpy(), 0, 0.1)
    here = torch.full((2000, 1), float(CENTER))
    light = wide._render(here, here, torch.ones(2000, 1), psf, share)
    np.testing.assert_allclose(light.sum((1, 2)), 1, atol=0.005)
    core, wing = (central_fraction(sigma) for sigma in (0.6, 1.5))
    expected = (1 - share) * core + share * wing
    torch.testing.assert_close(light[:, CENTER, CENTER], expected, rtol=1e-4, atol=1e-5)
    assert (simulator(PLAIN)._psf(100)[1] == 0).all()


def test_neighbours_lie_outside_the_field_and_shine_in() -> None:
    some = simulator(replace(PLAIN, neighbour=0.4, snr=(10.0, 10.0)))
    psf, wing = some._psf(3000)
    light = some._neighbour(psf, wing, torch.ones(3000)).numpy()
    there = light.max((1, 2)) > 0
    assert there.mean() == pytest.approx(0.4, abs=0.04)
    # Its light falls off inwards: the brightest pixel is one of the outermost.
    brightest = light[there].reshape(-1, SIZE * SIZE).argmax(1)
    row, column = np.divmod(brightest, SIZE)
    assert (np.maximum(abs(row - CENTER), abs(column - CENTER)) == CENTER).all()
    # On all four sides alike.
    sides = [column == SIZE - 1, column == 0, row == SIZE - 1, row == 0]
    assert all(side.mean() > 0.15 for side in sides)
    # Of its 10 counts the field holds a small part, the whole crop enough to be noticed.
    assert light[:, 2:-2, 2:-2].sum((1, 2)).max() < 2.5
    assert (light[there].max((1, 2)) > 1).mean() > 0.4


def test_neighbours_are_nobodys_target() -> None:
    scenes = drawn(replace(NOTHING, neighbour=1.0, snr=(200.0, 200.0)), 200)
    assert not scenes.present.any()
    assert (scenes.crops.amax((1, 2)) / scenes.true_noise > 20).float().mean() > 0.4


def test_hot_and_dead_pixels() -> None:
    scenes = drawn(replace(NOTHING, hot_pixels=0.5, noise=(5.0, 40.0)), 3000)
    read = np.sqrt(scenes.true_noise.numpy() ** 2 - 1 / 12)
    values = scenes.crops.numpy().reshape(3000, -1) / read[:, None]
    strange = np.abs(values) > 8
    assert (strange.sum(1) <= 1).all()
    # Of heights log-uniform from 5 to 200 sigma these are above about 8.
    seen = 0.5 * np.log(200 / 8) / np.log(200 / 5)
    assert strange.any(1).mean() == pytest.approx(seen, abs=0.04)
    assert (values[strange] < 0).mean() == pytest.approx(0.2, abs=0.05)
    assert np.abs(values).max() < 206
    where = np.nonzero(strange)[1]
    counts = np.bincount(where, minlength=SIZE * SIZE)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_shot_noise_grows_with_the_light() -> None:
    noise, light = 10.0, 10_000.0
    bright = torch.full((1500, SIZE, SIZE), light)
    background, read = torch.zeros(1500, SIZE, SIZE), torch.full((1500,), noise)
    quiet = simulator(PLAIN)._expose(bright, background, read)
    np.testing.assert_allclose(quiet.std((1, 2)) / noise, 1, atol=0.35)
    noisy = simulator(replace(PLAIN, shot=0.5))._expose(bright, background, read)
    assert torch.equal(noisy, noisy.round())
    share = (noisy.var((1, 2)).double().numpy() - noise**2) / (noise * light)
    with_shot = share > 0.005
    assert with_shot.mean() == pytest.approx(0.5, abs=0.05)
    shot = np.log(share[with_shot])
    assert shot.mean() == pytest.approx(np.log(0.1), abs=0.2)
    assert np.log(0.006) < shot.min() < np.log(0.015)
    assert np.log(0.8) < shot.max() < np.log(1.5)


def test_structure_is_for_empty_crops() -> None:
    """The others are the same with and without."""
    empty = torch.zeros(300, dtype=torch.bool)
    first, second = (
        Backgrounds(SIZE, torch.Generator().manual_seed(4)).draw(300, empty=empty, structure=share)
        for share in (0.0, 1.0)
    )
    assert torch.equal(first, second)


def test_structure_puts_something_where_a_target_would_be() -> None:
    empty = torch.ones(1000, dtype=torch.bool)
    standing = []
    for share in (0.0, 0.6):
        generator = torch.Generator().manual_seed(5)
        crops = Backgrounds(SIZE, generator).draw(1000, empty=empty, structure=share).numpy()
        around = (crops[:, 2, 5] + crops[:, 8, 5] + crops[:, 5, 2] + crops[:, 5, 8]) / 4
        standing.append(crops[:, 5, 5] - around > 4)
    plain, structured = (share.mean() for share in standing)
    assert plain < 0.1
    assert structured > plain + 0.2


def test_no_structure_looks_like_a_target() -> None:
    """Even one whose PSF is the widest has a greater part of its light in one pixel."""
    wide = Backgrounds(61, torch.Generator().manual_seed(6))
    solids = wide._solids(800).numpy()
    assert solids.min() >= 0
    peak = solids.max((1, 2))
    assert 4 * 0.7 < peak.min() < 6
    assert 200 < peak.max() < 300
    assert (peak / solids.sum((1, 2))).max() < 0.7 * central_fraction(0.9)


def test_clouds_have_the_correlation_of_their_length() -> None:
    clouds = Backgrounds(SIZE, torch.Generator().manual_seed(7)).clouds.double().numpy()
    assert clouds.shape == (FIELDS, FIELD_SIDE, FIELD_SIDE)
    np.testing.assert_allclose(clouds.mean((1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(clouds.std((1, 2)), 1, atol=1e-3)
    lengths = np.geomspace(*CORRELATION, FIELDS)
    for field, length in zip(clouds, lengths, strict=True):
        for step in (1, 3):
            for axis in (0, 1):
                found = (field * np.roll(field, step, axis)).mean()
                # White noise smoothed by a Gaussian of that sigma.
                assert found == pytest.approx(np.exp(-(step**2) / (4 * length**2)), abs=0.06)


def test_slopes_are_planes_and_edges_are_rare() -> None:
    backgrounds = Backgrounds(SIZE, torch.Generator().manual_seed(8))
    slopes = backgrounds._slopes(2000).double().numpy()
    along, down = np.diff(slopes, axis=2), np.diff(slopes, axis=1)
    for step in (along, down):
        np.testing.assert_allclose(step, np.broadcast_to(step[:, :1, :1], step.shape), atol=1e-5)
    assert uniform(np.log(np.hypot(along[:, 0, 0], down[:, 0, 0])), np.log(0.005), np.log(1.5))
    edges = backgrounds._edges(3000).numpy()
    assert (np.abs(edges).max((1, 2)) > 0).mean() == pytest.approx(0.14, abs=0.025)
    assert 10 < np.ptp(edges, axis=(1, 2)).max() <= 40


@pytest.mark.parametrize(
    ("field", "value"),
    [("empty", 1.5), ("crowded", -0.1), ("most", 6), ("crop_size", 3), ("brightness_ratio", 0.5)],
)
def test_a_protocol_out_of_range_is_refused(field: str, value: float) -> None:
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({field: value}, FieldProtocol)


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="clouds"):
        msgspec.convert({"clouds": 1}, FieldProtocol)


@pytest.mark.parametrize("name", ["psf_sigma", "snr", "noise", "cluster_radius"])
def test_ranges_rise_and_only_a_radius_may_be_nothing(name: str) -> None:
    rest = {"most": 1}
    assert getattr(FieldProtocol(**rest, **{name: (0.5, 0.5)}), name) == (0.5, 0.5)  # type: ignore[arg-type]
    for low, high in ((0.6, 0.5), (-0.1, 0.5)):
        with pytest.raises(ValueError, match=f"{name} must be two rising numbers above 0"):
            FieldProtocol(**rest, **{name: (low, high)})  # type: ignore[arg-type]
    if name == "cluster_radius":
        assert FieldProtocol(most=1, cluster_radius=(0.0, 0.5)).cluster_radius == (0.0, 0.5)
    else:
        with pytest.raises(ValueError, match=f"{name} must be two rising numbers above 0"):
            FieldProtocol(**rest, **{name: (0.0, 0.5)})  # type: ignore[arg-type]


def test_targets_need_room_unless_there_is_one_at_most() -> None:
    FieldProtocol(min_separation=0.5, cluster_radius=(0.3, 1.0))
    with pytest.raises(ValueError, match=r"min_separation 0\.51 must not exceed half"):
        FieldProtocol(min_separation=0.51, cluster_radius=(0.3, 1.0))
    FieldProtocol(most=1, min_separation=0.51, cluster_radius=(0.3, 1.0))


def test_empty_and_crowded_crops_are_at_most_all() -> None:
    FieldProtocol(empty=0.75, crowded=0.25)
    with pytest.raises(ValueError, match="together at most 1"):
        FieldProtocol(empty=0.75, crowded=0.26)


#: Of each setting what is just allowed, and what is not.
FIELD_BOUNDS: list[tuple[str, list[object], list[object]]] = [
    ("crop_size", [5], [4]),
    ("most", [1, 5], [0, 6]),
    *((name, [0.0, 1.0], [-0.001, 1.001]) for name in ("wings", "shot", "hot_pixels", "neighbour")),
    *((name, [0.0, 1.0], [-0.001, 1.001]) for name in ("structure", "psf_told_right")),
    ("empty", [0.0, 0.95], [-0.001, 1.001]),
    ("crowded", [0.0, 0.8], [-0.001, 1.001]),
    *((name, [0.0], [-0.001]) for name in ("psf_told_error", "ellipticity", "min_separation")),
    ("cluster_offset", [0.0], [-0.001]),
    ("brightness_ratio", [1.0], [0.999]),
]


@pytest.mark.parametrize(("name", "allowed", "beyond"), FIELD_BOUNDS)
def test_bounds_of_a_field_protocol(name: str, allowed: list[object], beyond: list[object]) -> None:
    for value in allowed:
        assert getattr(msgspec.convert({name: value}, FieldProtocol), name) == value
    for value in beyond:
        with pytest.raises(msgspec.ValidationError, match=rf"\$\.{name}"):
            msgspec.convert({name: value}, FieldProtocol)


def test_defaults_of_the_field_protocol() -> None:
    """Field protocol v1, widened: what every model of the field was trained with."""
    assert list(msgspec.structs.astuple(FieldProtocol())) == [
        *(11, 5, 0.2, 0.05, (0.45, 0.9), 0.04, 0.0, 0.1, 0.25, 0.5),
        *((0.3, 2.0), 1.3, (4.0, 500.0), 8**0.5, (0.25, 40.0), 0.3, 0.1, 0.1, 0.6),
    ]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_the_crops_has_its_width_told_right(share: float) -> None:
    protocol = FieldProtocol(psf_told_error=0.2, psf_told_right=share)
    errors = FieldSimulator(protocol, seed=3)._told_error(4000)
    assert errors.shape == (4000, 1)
    right = errors == 0
    assert right.double().mean().item() == pytest.approx(share, abs=0.03)
    if share < 1:
        assert errors[~right].std().item() == pytest.approx(0.2, rel=0.06)


def test_recipes_from_before_draw_what_they_drew() -> None:
    """Without a share nothing is drawn for it: what follows is the same."""
    old, new = (FieldSimulator(FieldProtocol(psf_told_right=share), seed=3) for share in (0.0, 0.5))
    for simulator in (old, new):
        simulator._told_error(5)
    other = FieldSimulator(FieldProtocol(), seed=3)
    other._normal(5, 1)
    following = other._uniform(4)
    assert torch.equal(old._uniform(4), following)
    assert not torch.equal(new._uniform(4), following)
