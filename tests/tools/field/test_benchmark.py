"""The field benchmark on small frames made here, with engines whose errors are known."""

import json
import math
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm

import dscsnet.engines.opening
from dscsnet.engines.engine import CropBatch
from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.geometry import Grid
from dscsnet.engines.sensor import Sensor
from dscsnet.tools.commands.field import run_field
from dscsnet.tools.field.benchmark import best_scores, draw_samples, odd_set
from dscsnet.tools.field.chain import PER_FRAME, Answers, lay_out, run_chain
from dscsnet.tools.field.frames import (
    ANNOTATED_DISTANCE,
    BORDER,
    REGION,
    FieldFrame,
    Places,
    choose_places,
    local_noise,
    read_frames,
)
from dscsnet.tools.field.implant import (
    CENTER,
    Samples,
    draw_clusters,
    draw_numbers,
    implant_clusters,
    regions_of,
)
from dscsnet.tools.field.out_of_distribution import extended_light, hot_pixel_light, odd_sets
from dscsnet.tools.field.report import coverage, measure

NOISE = 3.0


def scene(seed: int, shape: tuple[int, int] = (110, 140)) -> np.ndarray:
    generator = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    level = 90 + 25 * np.sin(columns / 23) + 15 * np.cos(rows / 17)
    return np.rint(level + generator.normal(0, NOISE, shape)).clip(0, 255).astype(np.uint8)


def annotate(path: Path, targets: list[tuple[float, float]]) -> None:
    objects = "".join(
        f"<object><centroid><yc>{y}</yc><xc>{x}</xc></centroid></object>" for x, y in targets
    )
    path.write_text(f"<annotation>{objects}</annotation>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("field")
    for name in ("images", "centroids"):
        (root / name).mkdir()
    for seed in range(3):
        cv2.imwrite(str(root / f"images/frame{seed}.png"), scene(seed))
    annotate(root / "centroids/frame0.xml", [(31.5, 41.25), (71, 51)])
    annotate(root / "centroids/frame1.xml", [])
    return root


@pytest.fixture(scope="module")
def frames(folder: Path) -> list[FieldFrame]:
    return read_frames(folder)


@pytest.fixture(scope="module")
def samples(frames: list[FieldFrame]) -> Samples:
    return draw_samples(frames, 400, seed=3).samples


def estimates(crops: int, **columns: object) -> Estimates:
    """Estimates with the given columns; what is left out is of no interest."""
    given = {name: np.asarray(column) for name, column in columns.items()}
    rows = len(given["crop"])
    per_target = ("x", "y", "intensity", "score", "sigma_x", "sigma_y", "sigma_intensity")
    values = {
        field.name: np.full(rows if field.name in per_target else crops, np.nan)
        for field in fields(Estimates)
    }
    values["doubt"], values["likely"] = np.zeros(crops, np.uint8), np.ones(rows, bool)
    values["probability"] = np.empty((crops, 0))
    return Estimates(**{**values, **given})


def truth(samples: Samples) -> dict[str, np.ndarray]:
    """The columns of an answer without error."""
    there = samples.present
    return {
        "crop": np.nonzero(there)[0],
        "x": samples.x[there],
        "y": samples.y[there],
        "intensity": samples.intensity[there],
        "score": np.random.default_rng(0).random(there.sum()),
    }


def ratio_of_squares(batch: CropBatch) -> np.ndarray:
    """Reduced chi-square of nothing at all."""
    return np.square(batch.pixels / batch.noise[:, None, None]).mean((1, 2))


class PeakEngine:
    """Publishes the brightest pixel of each crop that stands 6 sigma above the background."""

    name, runtime_name, sha256, grid = "peak", "none", "", Grid()
    sensor, weighs_numbers = Sensor.gaussian(0.5), False

    def __init__(self) -> None:
        self.batches: list[CropBatch] = []
        self.closed = False

    def run(self, batch: CropBatch) -> dict[str, np.ndarray]:
        self.batches.append(batch)
        return {"place": batch.pixels.reshape(len(batch.pixels), -1).argmax(1)}

    def read(self, outputs: dict[str, np.ndarray], batch: CropBatch) -> Estimates:
        y, x = np.divmod(outputs["place"], 11)
        height = batch.pixels[np.arange(len(x)), y, x]
        crop = np.flatnonzero(height > 6 * batch.noise)
        ratio = height[crop] / batch.noise[crop]
        columns = {"x": x[crop], "y": y[crop], "intensity": 3.0 * height[crop]}
        sigma = np.full(len(crop), 0.3)
        columns |= {"score": ratio / (ratio + 6), "sigma_x": sigma, "sigma_y": sigma}
        return estimates(len(x), crop=crop, chi2=ratio_of_squares(batch), **columns)

    def close(self) -> None:
        self.closed = True


def test_frames_are_read_with_centroids_that_count_from_one(frames: list[FieldFrame]) -> None:
    assert [frame.name for frame in frames] == ["frame0", "frame1"]  # frame2 has no annotation
    np.testing.assert_array_equal(frames[0].pixels, scene(0))
    np.testing.assert_allclose(frames[0].target_x, [30.5, 70])
    np.testing.assert_allclose(frames[0].target_y, [40.25, 50])
    assert frames[1].target_x.size == 0


def test_without_a_centroids_folder_every_frame_counts(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images/a.bmp"), scene(1))
    cv2.imwrite(str(tmp_path / "images/b.tif"), scene(2).astype(np.uint16) * 64)
    cv2.imwrite(str(tmp_path / "images/small.png"), scene(2)[: 2 * BORDER])
    assert [frame.pixels.dtype for frame in read_frames(tmp_path)] == [np.uint8, np.uint16]


def test_a_folder_without_frames_and_a_damaged_annotation_are_named(
    tmp_path: Path, folder: Path
) -> None:
    with pytest.raises(DscsnetError, match="no usable frame"):
        read_frames(tmp_path)
    for name in ("images", "centroids"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "images/a.png"), scene(1))
    (tmp_path / "centroids/a.xml").write_text("<annotation><centroid><xc>1</xc></centroid>")
    with pytest.raises(DscsnetError, match=r"a\.xml: broken XML"):
        read_frames(tmp_path)
    (tmp_path / "centroids/a.xml").write_text("<centroid><xc>1</xc></centroid>")
    with pytest.raises(DscsnetError, match=r"a\.xml: expected XML with object/centroid"):
        read_frames(tmp_path)


def test_places_keep_away_from_what_disturbs() -> None:
    pixels = scene(5)
    pixels[:, 80:] = 128  # flat
    pixels[70:72, 20:60] = 255  # saturated
    frame = FieldFrame("a", pixels, np.array([45.0]), np.array([40.0]))
    places = choose_places([frame], np.zeros(300, bool), np.random.default_rng(0))
    height, width = pixels.shape
    assert places.x.min() >= BORDER
    assert places.x.max() < width - BORDER
    assert places.y.min() >= BORDER
    assert places.y.max() < height - BORDER
    assert np.hypot(places.x - 45, places.y - 40).min() >= ANNOTATED_DISTANCE
    assert ((places.y < 60) | (places.y > 81) | (places.x >= 70)).all()
    assert places.x.max() <= 80
    assert len({*zip(places.x.tolist(), places.y.tolist(), strict=True)}) > 100


def test_peaks_are_found_and_a_flat_frame_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = scene(5)
    pixels[60, 70] += 40
    frame = FieldFrame("a", pixels, np.empty(0), np.empty(0))
    places = choose_places([frame], np.ones(60, bool), np.random.default_rng(1))
    # 400 of 6,336 places are tried, and only those within the climb's reach lead to the peak.
    assert np.mean((places.x == 70) & (places.y == 60)) > 0.15
    flat = replace(frame, pixels=np.full((100, 100), 7, np.uint8))
    monkeypatch.setattr("dscsnet.tools.field.frames.MOST_TRIES", 50)
    with pytest.raises(DscsnetError, match="50 places in 1 frames were all flat"):
        choose_places([flat], np.zeros(1, bool), np.random.default_rng(1))


def test_local_noise_of_white_noise_is_its_sigma() -> None:
    generator = np.random.default_rng(2)
    slope = 0.5 * np.arange(400)
    found = local_noise(slope + generator.normal(0, 2.5, (400, 400)))
    assert found == pytest.approx(2.5, rel=0.02)


def test_clusters_follow_the_protocol() -> None:
    generator = np.random.default_rng(4)
    numbers = draw_numbers(4000, generator)
    shares = np.bincount(numbers) / 4000
    assert shares == pytest.approx([0.15, *[0.17] * 5], abs=0.03)
    clusters = draw_clusters(numbers, generator)
    np.testing.assert_array_equal(clusters.present.sum(1), numbers)
    there = clusters.present
    assert np.hypot(clusters.x, clusters.y)[there].max() <= 2
    for a, b in zip(*np.triu_indices(5, 1), strict=True):
        both = there[:, a] & there[:, b]
        gap = np.hypot(clusters.x[:, a] - clusters.x[:, b], clusters.y[:, a] - clusters.y[:, b])
        assert gap[both].min() >= 0.5
    assert np.abs([clusters.center_x, clusters.center_y]).max() <= 1
    assert clusters.snr[there].min() >= 5
    assert clusters.snr[there].max() <= 200
    assert (clusters.snr / clusters.snr[:, :1])[there].max() <= math.sqrt(8) + 1e-9
    assert np.median(clusters.snr[:, 0]) == pytest.approx(math.sqrt(5 * 200), rel=0.1)
    assert 0.45 <= clusters.psf.min() < clusters.psf.max() <= 0.9


def test_the_light_is_implanted_where_and_as_bright_as_told(frames: list[FieldFrame]) -> None:
    generator = np.random.default_rng(5)
    none = np.zeros(50, bool)
    places = choose_places(frames, none, generator)
    clusters = draw_clusters(np.ones(50, np.int64), generator)
    made = implant_clusters(frames, places, none, clusters)
    deep = implant_clusters(frames, places, none, clusters, dither=generator)
    np.testing.assert_array_equal(made.regions, np.rint(made.regions))
    rows, columns = np.indices((REGION, REGION))
    for index in range(50):
        x, y = places.x[index], places.y[index]
        before = frames[places.frame[index]].pixels[y - 20 : y + 21, x - 20 : x + 21].astype(float)
        light = made.regions[index] - before
        sigma, total = made.psf[index], made.intensity[index, 0]
        # By definition: the counts that a target centred on a pixel puts there, over the noise.
        centred = total * (norm.cdf(0.5, 0, sigma) - norm.cdf(-0.5, 0, sigma)) ** 2
        assert centred == pytest.approx(made.snr[index, 0] * max(places.noise[index], 1))
        assert light.sum() == pytest.approx(total, abs=15)  # rounding
        near = np.where(light > 0.02 * light.max(), light, 0)
        assert (near * columns).sum() / near.sum() == pytest.approx(made.x[index, 0], abs=0.15)
        assert (near * rows).sum() / near.sum() == pytest.approx(made.y[index, 0], abs=0.15)
        assert deep.intensity[index, 0] == pytest.approx(64 * total)
        np.testing.assert_array_equal(deep.regions[index, 0] // 64, before[0])


def test_where_rounding_decides_the_noise_is_that_of_rounding(frames: list[FieldFrame]) -> None:
    places = Places(
        np.array([0, 1, 0]), np.array([40, 50, 60]), np.array([40, 45, 50]), np.array([0.2, 1, 3])
    )
    regions, noise = regions_of(frames, places, None)
    assert noise.tolist() == [1, 1, 3]
    np.testing.assert_array_equal(regions[1], scene(1)[25:66, 30:71])
    deepened, told = regions_of(frames, places, np.random.default_rng(0))
    assert told.tolist() == [64, 64, 192]
    assert ((deepened >= 64 * regions) & (deepened < 64 * regions + 64)).all()


def test_farther_candidates_move_the_cluster_as_a_whole(frames: list[FieldFrame]) -> None:
    drawn = draw_samples(frames, 40, seed=1)
    moved = drawn.farther.x - drawn.samples.x
    np.testing.assert_allclose(moved, np.broadcast_to(moved[:, :1], moved.shape))
    assert 0.4 < np.abs(moved).max() <= 0.5


def test_frames_of_sixteen_bits_are_not_deepened(frames: list[FieldFrame]) -> None:
    wide = [replace(frames[1], pixels=frames[1].pixels.astype(np.uint16))]
    assert draw_samples(wide, 3, seed=1).deeper is None


def test_regions_are_laid_out_in_rows_and_bright_ones_are_not_clipped() -> None:
    regions = np.arange(20.0)[:, None, None] * np.ones((REGION, REGION))
    frame = lay_out(regions)
    assert frame.dtype == np.uint16
    assert frame.shape == (2 * REGION, 16 * REGION)
    assert frame[CENTER, 5 * REGION + CENTER] == 5
    assert frame[REGION + CENTER, 2 * REGION + CENTER] == 18
    regions[3, 0, 0] = 100_000
    assert lay_out(regions).dtype == np.float32
    assert lay_out(regions)[0, 3 * REGION] == 100_000


def test_the_chain_cuts_the_nodes_crops_and_tells_the_psf(samples: Samples) -> None:
    engine = PeakEngine()
    answers = run_chain(engine, samples, 1.05)
    assert [len(batch.pixels) for batch in engine.batches] == [PER_FRAME, 400 - PER_FRAME]
    psf = np.concatenate([batch.psf for batch in engine.batches])
    np.testing.assert_allclose(psf, 1.05 * np.stack([samples.psf, samples.psf], 1), rtol=1e-6)
    cut = samples.regions[:, CENTER - 5 : CENTER + 6, CENTER - 5 : CENTER + 6]
    above = answers.pixels - cut
    rows, columns = np.indices((11, 11)).reshape(2, -1)
    plane = np.stack([np.ones(121), columns, rows], 1)
    fitted = plane @ np.linalg.lstsq(plane, above.reshape(400, -1).T, rcond=None)[0]
    np.testing.assert_allclose(fitted.T, above.reshape(400, -1), atol=1e-2)
    found = answers.estimates
    brightest = cut.reshape(400, -1)[found.crop].argmax(1)
    # Where no slope was taken off, the brightest pixel is that of the counts.
    on_flat = np.ptp(above.reshape(400, -1), axis=1)[found.crop] < 1e-4
    np.testing.assert_array_equal(found.x[on_flat], (brightest % 11 + CENTER - 5)[on_flat])
    np.testing.assert_array_equal(found.y[on_flat], (brightest // 11 + CENTER - 5)[on_flat])
    assert on_flat.any()


def test_the_truth_itself_gets_full_marks(samples: Samples) -> None:
    columns = truth(samples)
    report = measure(estimates(400, **columns), samples)
    assert report.cso_map == report.ap_near == report.count_accuracy == report.kept == 100
    overall = report.overall
    assert overall.recall_close == overall.precision_near == 100
    assert overall.true == overall.published == samples.present.sum()
    assert sum(found.true for found in report.by_snr.values()) == overall.true
    assert [found.true for found in report.by_number.values()] == [
        k * np.sum(samples.number == k) for k in range(1, 6)
    ]
    assert report.position_rms == report.intensity_median == 0
    assert report.random_places.false_targets == report.bright_peaks.false_targets == 0


@pytest.mark.parametrize(("stated", "one", "two"), [(1.0, 68.27, 95.45), (0.5, 38.29, 68.27)])
def test_coverage_of_known_errors(samples: Samples, stated: float, one: float, two: float) -> None:
    generator = np.random.default_rng(6)
    columns = truth(samples)
    count = len(columns["x"])
    sigma = {"x": np.full(count, 0.03), "y": generator.uniform(0.01, 0.05, count)}
    sigma["intensity"] = 0.05 * columns["intensity"]
    for name, width in sigma.items():
        columns[name] = columns[name] + generator.normal(0, 1, count) * width
        columns[f"sigma_{name}"] = stated * width
    report = measure(estimates(400, **columns), samples)
    for figures in (report.x, report.y, report.intensity):
        assert figures.one_sigma == pytest.approx(one, abs=4.5)
        assert figures.two_sigma == pytest.approx(two, abs=4.5)
        assert figures.squared == pytest.approx(stated**-2, rel=0.15)
        assert figures.trimmed < figures.squared
    expected = math.sqrt(np.mean(sigma["x"] ** 2 + sigma["y"] ** 2))
    assert report.position_rms == pytest.approx(expected, rel=0.1)
    assert report.intensity_median == pytest.approx(100 * 0.05 * 0.6745, rel=0.15)
    assert report.intensity_rms == pytest.approx(5, rel=0.1)


def test_coverage_says_nothing_of_sigmas_that_are_not_given() -> None:
    figures = coverage(np.ones(3), np.array([np.nan, 2.0, 0.7]))
    assert (figures.one_sigma, figures.two_sigma) == (50, 100)
    assert math.isnan(coverage(np.ones(3), np.full(3, np.nan)).one_sigma)


def test_only_crops_with_the_right_count_enter_the_errors(samples: Samples) -> None:
    columns = truth(samples)
    wrong = np.flatnonzero(samples.number == 2)[0]
    off = columns["crop"] == wrong
    columns["x"] = columns["x"] + 5.0 * off
    assert measure(estimates(400, **columns), samples).position_rms > 0
    first = np.flatnonzero(off)[0]
    kept = {name: np.delete(column, first) for name, column in columns.items()}
    report = measure(estimates(400, **kept), samples)
    assert report.position_rms == 0
    twos = np.sum(samples.number == 2)
    assert report.count_by_number[2] == pytest.approx(100 * (twos - 1) / twos)
    assert report.count_accuracy == pytest.approx(100 * 399 / 400)


def disturbed(samples: Samples) -> Estimates:
    """The truth with errors of all kinds: moved, missing, invented."""
    generator = np.random.default_rng(7)
    columns = truth(samples)
    kept = generator.random(len(columns["x"])) < 0.8
    columns = {name: column[kept] for name, column in columns.items()}
    for name in ("x", "y"):
        columns[name] = columns[name] + generator.normal(0, 0.15, kept.sum())
    extra = {
        "crop": generator.integers(0, 400, 150),
        "x": CENTER + generator.uniform(-3, 3, 150),
        "y": CENTER + generator.uniform(-3, 3, 150),
        "intensity": generator.uniform(5, 1000, 150),
        "score": generator.random(150),
    }
    order = np.argsort(np.concatenate([columns["crop"], extra["crop"]]), kind="stable")
    return estimates(
        400, **{name: np.concatenate([columns[name], extra[name]])[order] for name in extra}
    )


def brute_average_precision(found: Estimates, samples: Samples, limit: float) -> float:
    """Greedy by score, nearest true target, and the area summed rank by rank."""
    taken: set[tuple[int, int]] = set()
    positive = []
    for row in np.argsort(-found.score):
        crop = int(found.crop[row])
        gaps = np.hypot(samples.x[crop] - found.x[row], samples.y[crop] - found.y[row])
        gaps = np.where(samples.present[crop], gaps, np.inf)
        key = (crop, int(gaps.argmin()))
        positive.append(gaps.min() <= limit and key not in taken)
        if positive[-1]:
            taken.add(key)
    hits = np.cumsum(positive)
    precision = hits / np.arange(1, len(hits) + 1)
    steps = [precision[rank:].max() for rank in range(len(hits)) if positive[rank]]
    return 100 * sum(steps) / int(samples.present.sum())


def test_average_precision_agrees_with_brute_force(samples: Samples) -> None:
    found = disturbed(samples)
    report = measure(found, samples)
    assert report.ap_near == pytest.approx(brute_average_precision(found, samples, 0.5))
    closer = [brute_average_precision(found, samples, d) for d in (0.05, 0.1, 0.15, 0.2, 0.25)]
    assert report.cso_map == pytest.approx(np.mean(closer))
    assert 5 < report.cso_map < report.ap_near < 95


def test_recall_and_precision_agree_with_scipys_assignment(samples: Samples) -> None:
    found = disturbed(samples)
    report = measure(found, samples)
    for limit, recall, precision in (
        (0.25, report.overall.recall_close, report.overall.precision_close),
        (0.5, report.overall.recall_near, report.overall.precision_near),
    ):
        pairs = 0
        for crop in range(400):
            there, mine = samples.present[crop], found.crop == crop
            gap = np.hypot(
                np.subtract.outer(samples.x[crop, there], found.x[mine]),
                np.subtract.outer(samples.y[crop, there], found.y[mine]),
            )
            close = (gap <= limit).astype(float)
            pairs += close[linear_sum_assignment(close, maximize=True)].sum()
        assert recall == pytest.approx(100 * pairs / samples.present.sum())
        assert precision == pytest.approx(100 * pairs / len(found.x))
    found_all = sum(f.recall_near * f.true for f in report.by_snr.values())
    assert found_all / report.overall.true == pytest.approx(report.overall.recall_near)
    assert sum(f.published for f in report.by_snr.values()) == len(found.x)


def test_recall_by_signal_to_noise_is_that_of_the_bin(samples: Samples) -> None:
    columns = truth(samples)
    snr = samples.snr[samples.present]
    bright = (snr >= 30) & (snr < 100)
    kept = {name: column[bright] for name, column in columns.items()}
    report = measure(estimates(400, **kept), samples)
    assert [found.recall_close for found in report.by_snr.values()] == [0, 0, 100, 0]
    assert [found.published for found in report.by_snr.values()] == [0, 0, bright.sum(), 0]


def test_false_targets_of_empty_candidates(samples: Samples) -> None:
    anywhere = np.flatnonzero((samples.number == 0) & ~samples.on_peak)
    peaks = np.flatnonzero((samples.number == 0) & samples.on_peak)
    assert abs(len(anywhere) - len(peaks)) <= 1
    crop = np.sort(np.array([anywhere[0], *peaks[[0, 0, 0, 1, 1]]]))
    middle = np.full(len(crop), float(CENTER))
    doubt = np.zeros(400, np.uint8)
    doubt[peaks[:2]] = Doubt.MISFIT
    found = estimates(
        400, crop=crop, x=middle, y=middle, score=middle, intensity=middle, doubt=doubt
    )
    report = measure(found, samples)
    assert report.random_places.crops == len(anywhere)
    assert report.random_places.false_targets == pytest.approx(1 / len(anywhere))
    assert report.random_places.doubted == 0
    assert report.bright_peaks.false_targets == pytest.approx(5 / len(peaks))
    assert report.bright_peaks.answered == pytest.approx(100 * 2 / len(peaks))
    assert report.bright_peaks.doubted == pytest.approx(100 * 2 / len(peaks))
    assert (report.kept, report.cso_map, report.overall.recall_near) == (0, 0, 0)
    assert math.isnan(report.position_rms)


def test_doubt_and_silence_are_counted() -> None:
    found = estimates(
        4,
        crop=np.array([0, 1, 1, 3]),
        score=np.array([0.9, 0.2, 0.5, 0.3]),
        doubt=np.array([0, Doubt.PSF | Doubt.CROWDED, 0, 0]),
    )
    answers = Answers(found, np.zeros((4, 11, 11), np.float32), np.ones(4), (1.0, 1.0, 2.0))
    np.testing.assert_array_equal(best_scores(answers), [0.9, 0.5, 0, 0.3])
    row = odd_set("all", answers, 0.5, np.ones(4, bool))
    assert (row.crops, row.doubted, row.silent, row.detected) == (4, 25, 25, 50)
    assert row.reasons == {"misfit": 0, "PSF": 25, "crowded": 25}
    assert (row.low_score, row.published, row.unflagged) == (75, 1, 0.5)
    assert odd_set("some", answers, 0.5, np.array([1, 0, 0, 1], bool)).silent == 0
    speed = answers.speed
    assert (speed.crop, speed.readout, speed.together) == (4, 2, 1)


def test_odd_light_is_what_it_is_called(frames: list[FieldFrame]) -> None:
    light = extended_light(np.full(60, 0.6), np.random.default_rng(8))
    rows, columns = np.indices((REGION, REGION))
    weight = light / light.sum((1, 2), keepdims=True)
    for axis in (rows, columns):
        center = (weight * axis).sum((1, 2))
        spread = (weight * (axis - center[:, None, None]) ** 2).sum((1, 2))
        assert np.abs(center - CENTER).max() < 1.05
        # The PSF and the pixel widen the object's own 1.5 to 3 px.
        assert math.sqrt(1.5**2) < np.sqrt(spread.min())
        assert np.sqrt(spread.max()) < math.sqrt(3**2 + 0.6**2 + 1 / 12) + 0.05
    hot = hot_pixel_light(30, np.random.default_rng(9))
    np.testing.assert_array_equal(hot.sum((1, 2)), 1)
    assert (hot[:, CENTER - 1 : CENTER + 2, CENTER - 1 : CENTER + 2].sum((1, 2)) == 1).all()
    made = {name: (odd, told) for name, odd, told in odd_sets(frames, 12, 0)}
    assert len(made) == 4
    crowd, _ = made["6 to 9 targets"]
    assert 6 <= crowd.number.min() <= crowd.number.max() <= 9
    wide, told = made["PSF 1.4 times as wide as told"]
    assert (told * wide.psf).max() <= 0.9
    assert (told * wide.psf).min() >= 0.45
    assert wide.psf.max() > 0.9


class Drawn:
    """Draws that are told: an object of 2.5 by 1.5 px, of one kind after the other."""

    def __init__(self) -> None:
        self.kinds = iter(range(3))

    def uniform(self, low: float, high: float, size: int | None = None) -> object:
        if size is None:
            return 0.0  # the angle: along x
        return np.array([0.3, -0.2] if low < 0 else [2.5, 1.5])

    def integers(self, kinds: int) -> int:
        assert kinds == 3
        return next(self.kinds)


def test_extended_objects_are_a_gaussian_a_disc_and_an_ellipse() -> None:
    light = extended_light(np.full(3, 0.6), Drawn())  # type: ignore[arg-type]
    rows, columns = np.indices((REGION, REGION)) - CENTER
    weight = light / light.sum((1, 2), keepdims=True)

    def moment(axis: np.ndarray, middle: float, power: int) -> np.ndarray:
        return (weight * (axis - middle) ** power).sum((1, 2))

    seen = 0.6**2 + 1 / 12  # through the PSF, on pixels
    for axis, middle, sigmas in ((columns, 0.3, (2.5, 2.5, 2.5)), (rows, -0.2, (2.5, 2.5, 1.5))):
        np.testing.assert_allclose(moment(axis, middle, 1), 0, atol=0.02)
        variance = moment(axis, middle, 2)
        np.testing.assert_allclose(variance, np.square(sigmas) + seen, rtol=0.02)
        peaked = moment(axis, middle, 4) / variance**2
        # 3 of a Gaussian; 2 of an ellipse across which light is even, a little more through a PSF.
        assert peaked[0] == pytest.approx(3, abs=0.03)
        assert (peaked[1:] < 2.4).all()


def test_the_command_prints_and_writes_everything(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened: list[PeakEngine] = []

    def open_engine(model: str, **_options: object) -> PeakEngine:
        opened.append(PeakEngine())
        opened[-1].name = model
        return opened[-1]

    monkeypatch.setattr(dscsnet.engines.opening, "open_engine", open_engine)
    out = tmp_path / "report"
    run_field(
        "one",
        folder,
        crops=80,
        seed=2,
        out=out,
        threads=1,
        references=["two", "three"],
        reference_crops=30,
    )
    assert all(engine.closed for engine in opened)
    text = capsys.readouterr().out
    for part in (
        "PSF told -10 %",
        "14 bit",
        "hot pixels",
        "Beside two, three",
        "Crops/s on one core",
    ):
        assert part in text
    result = json.loads((out / "field.json").read_text())
    assert (result["engine"], result["crops"], result["frames"]) == ("one", 80, 2)
    assert [reference["name"] for reference in result["references"]] == ["two", "three"]
    for reference in result["references"]:
        assert reference["report"]["crops"] == 30
        assert reference["report"] == reference["measured"]
    speeds = text[text.index("Crops/s on one core") :].splitlines()[2:5]
    assert [line.split()[0] for line in speeds] == ["one", "two", "three"]
    assert len(result["variants"]) == 6
    assert result["report"]["chi2"] == sorted(result["report"]["chi2"])
    assert result["report"]["x"]["one_sigma"] is not None
    assert result["report"]["intensity"]["one_sigma"] is None  # this engine gives no such sigma
    picture = cv2.imread(str(out / "field.png"))
    assert picture.shape[0] > 700
    assert picture.std() > 10


def test_a_run_repeats_and_follows_its_seed(frames: list[FieldFrame]) -> None:
    first, again, other = (draw_samples(frames, 20, seed).samples.regions for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
