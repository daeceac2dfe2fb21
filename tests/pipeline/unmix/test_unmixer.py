"""The unmixer in a program: what it takes, what it gives, and that the node gives the same."""

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import dscsnet
from dscsnet.engines.imaging import render
from dscsnet.engines.opening import open_engine
from dscsnet.engines.sensor import Sensor
from dscsnet.pipeline.config import Batching, Crop, EngineSettings
from dscsnet.pipeline.join import Ticket
from dscsnet.pipeline.messages import Detections, Frame, FrameKey, Targets
from dscsnet.pipeline.unmix import Stages
from dscsnet.pipeline.worker import Worker, engine_info

SpotFlag, Unmixer = dscsnet.SpotFlag, dscsnet.Unmixer
SIGMA, SHAPE = 0.6, (60, 80)
SENSOR = Sensor.gaussian(SIGMA)
#: Pairs of targets, the last of them at the frame's edge; candidates are between the two.
X, Y = np.array([20.0, 50.3, 78.6]), np.array([15.0, 40.6, 30.0])


def scene(seed: int = 0) -> np.ndarray:
    """(H, W) whole counts in float64, with the pairs 1.2 px apart."""
    x, y = np.concatenate([X - 0.6, X + 0.6]), np.concatenate([Y, Y])
    noise = np.random.default_rng(seed).normal(1000, 5, SHAPE)
    return np.round(noise + render(x, y, np.full(6, 4000.0), SHAPE, SIGMA))


@pytest.fixture(scope="module")
def unmixer() -> Iterator[dscsnet.Unmixer]:
    with Unmixer(SIGMA, "field-mlp", "onnxruntime", threads=1) as opened:
        yield opened


def same(one: dscsnet.Result, other: dscsnet.Result) -> None:
    for table in ("spots", "targets"):
        columns = getattr(other, table).to_dict()
        for name, column in getattr(one, table).to_dict().items():
            np.testing.assert_array_equal(column, columns[name], f"{table}.{name}")


def test_pairs_are_found_where_they_are(unmixer: dscsnet.Unmixer) -> None:
    result = unmixer.frame(scene().astype(np.uint16), X, Y)
    np.testing.assert_array_equal(result.spots.count[:2], 2)
    np.testing.assert_array_equal(result.spots.id, [0, 1, 2])
    assert result.spots.flags.tolist() == [0, 0, SpotFlag.EDGE]
    np.testing.assert_allclose(result.spots.background, 1000, atol=3)
    for spot in range(2):
        found = result.targets.take(result.targets.spot == spot)
        order = np.argsort(found.x)
        np.testing.assert_allclose(found.x[order], [X[spot] - 0.6, X[spot] + 0.6], atol=0.1)
        np.testing.assert_allclose(found.y, Y[spot], atol=0.1)
        np.testing.assert_allclose(found.intensity, 4000, rtol=0.1)


def test_the_node_answers_the_same_to_the_last_bit() -> None:
    """With boxes, numbers, bad pixels, saturation and less likely targets."""
    generator = np.random.default_rng(5)
    pixels, mask = scene(5).astype(np.uint16), generator.random(SHAPE) < 0.02
    x, y = generator.uniform(0, 79, 12), generator.uniform(0, 59, 12)
    columns: dict[str, Any] = {
        "score": generator.uniform(5, 50, 12),
        "width": generator.uniform(1, 30, 12),
        "height": generator.uniform(1, 30, 12),
        "id": generator.integers(-(2**40), 2**40, 12),
    }
    x[:3], y[:3], columns["score"][:3] = X, Y, 100  # these come first, and are bright
    with Unmixer(
        *(SIGMA, "field-mlp", "onnxruntime"),
        threads=1, bad_pixels=mask, saturation=1200, least_existence=0.05, max_crops=9,
    ) as unmixer:  # fmt: skip
        result = unmixer.frame(pixels, x, y, **columns)
    engine = open_engine("field-mlp", "onnxruntime", threads=1, sensor=SENSOR, least_existence=0.05)
    limits = {"merge_radius": 3.0, "crops_per_frame": 9, "crops_per_run": 256}
    worker = Worker(Stages(engine, **limits, bad_pixels=mask), engine_info(engine))
    key, answers = FrameKey("cam", bytes(16), 0), []
    lists = {name: column.tolist() for name, column in columns.items()}
    ticket = Ticket(
        *(key, 0, 0),
        frame=Frame(*key, 0, pixels, saturation=1200.0),
        detections=Detections(*key, 0, x.tolist(), y.tolist(), **lists),
    )
    worker.process([ticket], lambda _, answer: answers.append(answer))
    worker.close()
    answer: Targets = answers[0]
    assert (answer.status, answer.reason) == ("ok", "")
    seen = SpotFlag(int(np.bitwise_or.reduce(result.spots.flags)))
    assert SpotFlag.SATURATED | SpotFlag.BAD_PIXELS | SpotFlag.MERGED | SpotFlag.TRUNCATED in seen
    for table, wire in ((result.spots, answer.spots), (result.targets, answer.targets)):
        assert len(table) > 0
        for name, column in table.to_dict().items():
            # repr tells floats apart to the last bit, and a NaN is one.
            assert repr(column.tolist()) == repr(getattr(wire, name)), name


def test_candidates_within_a_box_are_merged_and_their_targets_kept(
    unmixer: dscsnet.Unmixer,
) -> None:
    """Each pair is given once, though a box and a point of its own hold it."""
    x, y = [35.0, 50.0, 20.0, 40.0], [28.0, 40.6, 15.0, 30.0]
    result = unmixer.frame(
        scene().astype(np.uint16), x, y, score=[9, 8, 7, 6],
        width=[50, 0, 5, np.nan], height=[40, 0, 5, np.nan],
    )  # fmt: skip
    merged = (result.spots.flags & SpotFlag.MERGED) > 0
    assert merged.tolist() == [False, True, True, True]
    assert result.spots.count.tolist() == [4, 0, 0, 0]
    found = sorted(zip(result.targets.x, result.targets.y, strict=True))
    expected = sorted((X[k] + side, Y[k]) for k in (0, 1) for side in (-0.6, 0.6))
    np.testing.assert_allclose(found, expected, atol=0.15)


def test_what_a_box_has_beyond_its_64_peaks_is_told_to_be_missing() -> None:
    """So is what a box has beyond 512 px."""
    grid = [(float(x), float(y)) for x in range(8, 112, 12) for y in range(8, 112, 12)]
    light = render(*np.transpose(grid), np.full(len(grid), 4000.0), (120, 120), SIGMA)
    frame = np.random.default_rng(2).normal(1000, 5, (120, 120)) + light
    quick = dscsnet.PsfFitSettings(most=1, starts=0)
    with Unmixer(SIGMA, "psf-fit", psf_fit=quick) as unmixer:
        counts = {}
        for side in (80.0, 118.0):
            result = unmixer.frame(
                frame.astype(np.float32), [59.0], [59.0], width=[side], height=[side]
            )
            cut = bool(result.spots.flags[0] & SpotFlag.TRUNCATED)
            counts[side] = (cut, int((result.targets.intensity > 2000).sum()))
        assert counts == {80.0: (False, 49), 118.0: (True, 64)}
        wide = np.random.default_rng(3).normal(1000, 5, (40, 600)).astype(np.float32)
        result = unmixer.frame(wide, [300], [20], width=[590], height=[20])
        assert result.spots.flags[0] & SpotFlag.TRUNCATED


def test_frames_may_share_a_run(unmixer: dscsnet.Unmixer) -> None:
    engine = open_engine("field-mlp", "onnxruntime", threads=1, sensor=SENSOR)
    stages = Stages(engine, merge_radius=3.0, crops_per_frame=512, crops_per_run=4)
    frames = [scene(seed).astype(np.uint16) for seed in range(3)]
    together = stages.unmix([stages.prepare(frame, X, Y) for frame in frames])
    for frame, result in zip(frames, together, strict=True):
        alone = unmixer.frame(frame, X, Y)
        assert result.spots.count.tolist() == alone.spots.count.tolist()
        np.testing.assert_allclose(result.targets.x, alone.targets.x, atol=1e-3)
    engine.close()


def test_crops_are_unmixed_like_the_frame_they_were_cut_from(unmixer: dscsnet.Unmixer) -> None:
    pixels, side = scene(3).astype(np.uint16), unmixer.crop_size
    half = side // 2
    centers = [(20, 15), (50, 41), (60, 10)]
    crops = np.stack([pixels[y - half : y + half + 1, x - half : x + half + 1] for x, y in centers])
    alone = unmixer.crops(crops)
    framed = unmixer.frame(pixels, *np.transpose(centers))
    assert alone.spots.count.tolist() == framed.spots.count.tolist() == [2, 2, 0]
    for name in ("background", "noise", "chi2", "flags", "id"):
        np.testing.assert_array_equal(getattr(alone.spots, name), getattr(framed.spots, name))
    assert alone.spots.x.tolist() == alone.spots.y.tolist() == [half] * 3
    np.testing.assert_array_equal(alone.targets.spot, framed.targets.spot)
    np.testing.assert_array_equal(alone.targets.intensity, framed.targets.intensity)
    for name, column in zip(("x", "y"), np.transpose(centers), strict=True):
        moved = getattr(alone.targets, name) + column[alone.targets.spot] - half
        np.testing.assert_allclose(moved, getattr(framed.targets, name), atol=1e-12)


def test_the_same_target_in_two_crops_is_given_in_both(unmixer: dscsnet.Unmixer) -> None:
    side = unmixer.crop_size
    crop = render([side // 2], [side // 2], [4000.0], (side, side), SIGMA) + 100
    noise = np.random.default_rng(1).normal(0, 3, crop.shape)
    found = unmixer.crops(np.stack([crop + noise] * 2).astype(np.float32))
    assert found.targets.spot.tolist() == [0, 1]
    # A network's rows differ in the last bits by their place in the batch.
    assert found.targets.x[0] == pytest.approx(found.targets.x[1], abs=1e-6)


def test_crops_without_a_usable_pixel_are_flagged(unmixer: dscsnet.Unmixer) -> None:
    side = unmixer.crop_size
    crops = np.full((2, side, side), np.nan, np.float32)
    found = unmixer.crops(crops)
    assert found.spots.flags.tolist() == [SpotFlag.BAD_PIXELS | SpotFlag.NOT_CONVERGED] * 2
    assert np.isnan(found.spots.noise).all()
    assert len(found.targets) == 0
    assert len(unmixer.crops(crops[:0]).spots) == 0


@pytest.mark.parametrize("kind", [">u2", "int16", "int32", "uint64", "float64", ">f4", "float32"])
def test_other_types_of_pixels_change_no_value(unmixer: dscsnet.Unmixer, kind: str) -> None:
    counts = scene(7)
    expected = unmixer.frame(counts.astype(np.uint16), X, Y)
    found = unmixer.frame(counts.astype(kind), X, Y)
    same(expected, found)


def test_a_list_of_rows_is_an_image(unmixer: dscsnet.Unmixer) -> None:
    image = scene(7).astype(np.uint16)
    same(unmixer.frame(image, X, Y), unmixer.frame(image.tolist(), X.tolist(), Y.tolist()))


def test_saturation_and_bad_pixels_are_told_once_or_for_a_frame() -> None:
    image, mask = scene().astype(np.uint16), np.zeros(SHAPE, np.uint8)
    mask[15, 18] = 255
    with Unmixer(SIGMA, "field-mlp", threads=1, saturation=1500, bad_pixels=mask) as unmixer:
        told = unmixer.frame(image, X, Y).spots.flags
        other = unmixer.frame(image, X, Y, saturation=60_000).spots.flags
    saturated, bad = (flag.value for flag in (SpotFlag.SATURATED, SpotFlag.BAD_PIXELS))
    assert (told & saturated != 0).all()
    assert not (other & saturated).any()
    assert (told & bad).tolist() == (other & bad).tolist() == [bad, 0, 0]


def test_defaults_are_the_nodes() -> None:
    given = inspect.signature(Unmixer).parameters
    engine, crop = EngineSettings(), Crop()
    for name, value in {
        "model": engine.model,
        "runtime": engine.runtime,
        "threads": engine.threads,
        "device": engine.device,
        "precision": engine.precision,
        "least_existence": engine.least_existence,
        "merge_radius": crop.merge_radius,
        "max_crops": crop.max_crops,
        "crops_per_run": Batching().max_crops,
    }.items():
        assert given[name].default == value, name


def test_the_least_numbers_are_taken() -> None:
    least: dict[str, Any] = {"merge_radius": 0, "max_crops": 1, "crops_per_run": 1}
    least |= {"oversampling": 1, "threads": 0, "device": 0}
    for name, value in least.items():
        with pytest.raises(
            ValueError, match=f"^{name}: expected .*at least {value}, got {value - 1}"
        ):
            Unmixer(SIGMA, "field-mlp", **{name: value - 1})
    image = scene().astype(np.uint16)
    with Unmixer(SIGMA, "field-mlp", least_existence=1, **least) as unmixer:
        flags = unmixer.frame(image, X, Y).spots.flags
    truncated = SpotFlag.TRUNCATED.value
    assert sorted((flags & truncated).tolist()) == [0, truncated, truncated]


GOOD = np.zeros((20, 20), np.uint16)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((GOOD[0], [1], [1]), "image"),
        ((np.zeros((0, 5)), [1], [1]), "image"),
        ((GOOD + 0.1, [1], [1]), "image"),
        ((GOOD + 1j, [1], [1]), "image"),
        (([[1, 2], [3]], [1], [1]), "image"),
        ((np.ma.masked_array(GOOD), [1], [1]), "image"),
        ((np.array([["a"]]), [1], [1]), "image"),
        ((GOOD, 1, [1]), "x"),
        ((GOOD, ["a"], [1]), "x"),
        ((GOOD, [1], [1, 2]), "y"),
    ],
)
def test_what_is_no_frame_is_refused_in_one_line(
    unmixer: dscsnet.Unmixer, given: Any, named: str
) -> None:
    with pytest.raises(ValueError, match=f"^{named}: ") as caught:
        unmixer.frame(*given)
    assert isinstance(caught.value, dscsnet.DscsnetError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"score": [1, 2]}, "score"),
        ({"width": [[1]]}, "width"),
        ({"height": ["1"]}, "height"),
        ({"id": [0.5]}, "id"),
        ({"id": np.array([2**63], np.uint64)}, "id"),
        ({"saturation": float("nan")}, "saturation"),
    ],
)
def test_what_is_no_column_is_refused(unmixer: dscsnet.Unmixer, columns: Any, named: str) -> None:
    with pytest.raises(dscsnet.InputError, match=f"^{named}: "):
        unmixer.frame(GOOD, [1], [1], **columns)


def test_what_are_no_crops_is_refused(unmixer: dscsnet.Unmixer) -> None:
    side = unmixer.crop_size
    for shape in ((side, side), (2, side, side - 2), (1, 1, side, side)):
        with pytest.raises(dscsnet.InputError, match=r"^crops: expected .*size|^crops: expected"):
            unmixer.crops(np.zeros(shape, np.uint8))


@pytest.mark.parametrize(
    "told",
    [
        {"merge_radius": -1},
        {"max_crops": 0},
        {"crops_per_run": 0},
        {"threads": -1},
        {"oversampling": 0},
        {"least_existence": 2},
        {"saturation": 0},
        {"merge_radius": "3"},
        {"max_crops": 2.5},
        {"crops_per_run": 1.5},
        {"threads": True},
        {"oversampling": 1.5},
        {"device": -1},
        {"precision": "fp8"},
        {"runtime": "abacus"},
        {"saturation": "high"},
        {"saturation": float("nan")},
        {"bad_pixels": [1, 2]},
        {"bad_pixels": "no-such-file.png"},
    ],
)
def test_impossible_settings_are_refused(told: Any) -> None:
    (name,) = told
    with pytest.raises(dscsnet.InputError, match=f"^{name}: "):
        Unmixer(SIGMA, "field-mlp", **told)


def test_a_mask_for_another_frame_is_refused() -> None:
    with (
        Unmixer(SIGMA, "field-mlp", threads=1, bad_pixels=np.zeros((3, 4), bool)) as unmixer,
        pytest.raises(dscsnet.InputError, match="4x3"),
    ):
        unmixer.frame(GOOD, [1], [1])


def test_a_closed_unmixer_says_so() -> None:
    unmixer = Unmixer(SIGMA, "field-mlp", threads=1)
    unmixer.close()
    unmixer.close()
    with pytest.raises(dscsnet.DscsnetError, match="closed"):
        unmixer.frame(GOOD, [1], [1])
