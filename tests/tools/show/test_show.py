"""What is shown of a frame's crops: which crops, the numbers, and where the picture has them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from dscsnet.detector_stub.spots import Candidates
from dscsnet.engines.engine import CropBatch, Outputs
from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.geometry import Grid
from dscsnet.engines.imaging import render
from dscsnet.engines.sensor import Sensor
from dscsnet.pipeline.errors import SourceError
from dscsnet.pipeline.messages import SpotFlag
from dscsnet.tools.commands.show import numbers
from dscsnet.tools.commands.show import show as show_command
from dscsnet.tools.drawing.canvas import BACKGROUND, BOX, RESOLVED, TRUTH
from dscsnet.tools.show.crop_panel import (
    PANEL,
    TEXT_HEIGHT,
    Mark,
    draw_error,
    marks_of,
    place_in,
    place_number,
    residual_colours,
    squares,
    targets_window,
)
from dscsnet.tools.show.crops import (
    counts,
    doubts,
    find_candidates,
    quality_rows,
    read_frame,
    target_rows,
    view_candidates,
    view_place,
)
from dscsnet.tools.show.crops_picture import ABOVE, HEAD, LEFT, draw_views

SHAPE = (60, 80)
NOISE = 4.0
PSF = (0.6, 0.5)
#: Frame px and counts; the first two are one spot.
TARGETS = ((20.3, 30.8, 900.0), (21.7, 30.2, 700.0), (60.1, 12.0, 2000.0), (50.0, 45.4, 600.0))


@dataclass
class FakeEngine:
    """Tells the same targets of every crop; keeps the batches that it was given."""

    targets: Sequence[tuple[float, float, float]] = ()
    sigma: float = 0.05
    sigma_intensity: float = 20.0
    psf_scale: float = float("nan")
    occupied: float = float("nan")
    doubt: Doubt = field(default_factory=lambda: Doubt(0))
    name: str = "fake"
    runtime_name: str = "none"
    sha256: str = ""
    sensor: Sensor = field(default_factory=lambda: Sensor.gaussian(*PSF))
    weighs_numbers: bool = False
    grid: Grid = field(default_factory=lambda: Grid(11, 3, 7))
    batches: list[CropBatch] = field(default_factory=list)

    @property
    def psf(self) -> tuple[float, float]:
        return self.sensor.psf

    def run(self, batch: CropBatch) -> Outputs:
        self.batches.append(batch)
        return {"light": batch.pixels.sum((1, 2))}

    def read(self, outputs: Outputs, batch: CropBatch) -> Estimates:
        crops, number = len(outputs["light"]), len(self.targets)
        x, y, intensity = np.tile(np.array(self.targets).reshape(number, 3), (crops, 1)).T
        spread = np.full(crops * number, self.sigma)
        return Estimates(
            crop=np.repeat(np.arange(crops), number),
            x=x,
            y=y,
            intensity=intensity,
            likely=np.ones(crops * number, bool),
            score=np.full(crops * number, 0.9),
            sigma_x=2 * spread,
            sigma_y=spread,
            sigma_intensity=np.full(crops * number, self.sigma_intensity),
            chi2=np.full(crops, 1.25),
            doubt=np.full(crops, self.doubt, np.uint8),
            psf_scale=np.full(crops, self.psf_scale),
            occupied=np.full(crops, self.occupied),
            probability=np.empty((crops, 0)),
        )

    def check(self, batch_sizes: tuple[int, ...] = (1,)) -> None:
        """It always works."""

    def close(self) -> None:
        """There is nothing to free."""


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    x, y, intensity = zip(*TARGETS, strict=True)
    image = render(x, y, intensity, SHAPE, *PSF)
    noise = np.random.default_rng(4).normal(0, NOISE, SHAPE)
    return np.rint(1000 + image + noise).astype(np.uint16)


def candidates(*places: tuple[float, float], size: float = 3.0) -> Candidates:
    x, y = np.array(places, float).T
    return Candidates(
        x, y, -np.arange(len(x), dtype=float), np.full(len(x), size), np.full(len(x), size)
    )


def test_the_frame_of_a_recording(tmp_path: Path) -> None:
    frames = np.arange(3 * 20, dtype=np.uint16).reshape(3, 4, 5)
    np.save(tmp_path / "a.npy", frames)
    np.testing.assert_array_equal(read_frame(tmp_path / "a.npy", 1), frames[1])
    with pytest.raises(SourceError, match="start 3 is beyond the last, 2"):
        read_frame(tmp_path / "a.npy", 3)
    with pytest.raises(SourceError, match="no such file"):
        read_frame(tmp_path / "b.npy", 0)


def test_candidates_of_the_frame_strongest_first(pixels: np.ndarray) -> None:
    found = find_candidates(pixels)
    assert len(found) == 3
    assert (found.x[0], found.y[0]) == pytest.approx((60.1, 12.0), abs=0.3)
    with pytest.raises(DscsnetError, match="found no candidate in this frame; give a place"):
        find_candidates(np.full(SHAPE, 1000, np.uint16))


def test_crops_of_the_strongest_candidates_with_their_radiometry(pixels: np.ndarray) -> None:
    engine = FakeEngine([(5.0, 5.0, 100.0)])
    places = [(60, 12), (20.9, 30.4), (50, 45)]
    views = view_candidates(engine, pixels, candidates(*places))
    assert [view.name for view in views] == [
        "spot 0 at (60.0, 12.0)",
        "spot 1 at (20.9, 30.4)",
        "spot 2 at (50.0, 45.0)",
    ]
    for view, (x, y) in zip(views, places, strict=True):
        assert (view.left, view.top) == (round(x) - 5, round(y) - 5)
        cut = pixels[view.top : view.top + 11, view.left : view.left + 11]
        np.testing.assert_allclose(view.observed, cut - 1000.0, atol=8)
        assert view.background == pytest.approx(1000, abs=4)
        assert view.noise == pytest.approx(NOISE, rel=0.35)
        assert view.field == (2, 9)
        assert view.estimates.crops == 1
    (batch,) = engine.batches
    np.testing.assert_allclose(batch.psf, [PSF] * 3, rtol=1e-6)


def test_at_most_six_crops_and_one_of_each_candidate(pixels: np.ndarray) -> None:
    places = [(10.0 * k, 30.0) for k in range(1, 8)]
    views = view_candidates(FakeEngine(), pixels, candidates(*places))
    assert [view.left for view in views] == [5, 15, 25, 35, 45, 55]
    grid = [(x, y) for x in (20, 40, 60) for y in (15, 30, 45)]
    crowd = pixels + render(*np.transpose(grid), [3e4] * 9, SHAPE, *PSF).astype(np.uint16)
    # The tenth is a target of the frame that lies in the box, too.
    (blob,) = view_candidates(FakeEngine(), crowd, candidates((40, 30), size=50.0))
    assert blob.name == "spot 0 at (40.0, 30.0), crop 1 of 10"
    views = view_candidates(FakeEngine(), crowd, candidates((40, 30), size=50.0), spot=0)
    assert [view.name[-7:] for view in views] == [f"{k} of 10" for k in range(1, 7)]
    assert {(view.left + 5, view.top + 5) for view in views} <= set(grid)


def test_one_candidate(pixels: np.ndarray) -> None:
    found = candidates((60, 12), (61, 12.5), (20.9, 30.4))
    (view,) = view_candidates(FakeEngine(), pixels, found, spot=2)
    assert (view.left, view.top) == (16, 25)
    with pytest.raises(DscsnetError, match="spot 1 shares the crop of spot 0: give --spot 0"):
        view_candidates(FakeEngine(), pixels, found, spot=1)
    with pytest.raises(DscsnetError, match="no spot 3: the detector found 3 candidates, 0 to 2"):
        view_candidates(FakeEngine(), pixels, found, spot=3)


def test_a_place(pixels: np.ndarray) -> None:
    (view,) = view_place(FakeEngine(), pixels, 20.6, 30.4)
    assert (view.left, view.top) == (16, 25)
    assert view.name == "crop at (20.6, 30.4)"
    beyond = [(-0.6, 5), (79.5, 5), (5, -0.51), (5, 59.5), (5, 59.6), (float("nan"), 5)]
    for x, y in beyond:
        with pytest.raises(DscsnetError, match="is off the frame: x goes from 0 to 79, y from"):
            view_place(FakeEngine(), pixels, x, y)
    (corner,) = view_place(FakeEngine(), pixels, 79.4, -0.4)
    assert (corner.left, corner.top) == (74, -5)
    for x, y in ((-0.5, 30), (40, -0.5), (-0.5, 59.4)):
        (at_the_edge,) = view_place(FakeEngine(), pixels, x, y)
        assert SpotFlag.EDGE in at_the_edge.flags
    assert SpotFlag.EDGE in corner.flags


def test_the_true_targets_leave_nothing_but_noise(pixels: np.ndarray) -> None:
    local = [(x - 16, y - 25, light) for x, y, light in TARGETS[:2]]
    (view,) = view_place(FakeEngine(local), pixels, 21, 30)
    x, y, intensity = zip(*local, strict=True)
    expected = render(x, y, intensity, (11, 11), *PSF)
    np.testing.assert_allclose(view.reconstruction, expected, atol=1e-3)
    np.testing.assert_allclose(view.residual, (view.observed - expected) / view.noise, atol=1e-3)
    assert view.residual.std() == pytest.approx(1, abs=0.35)
    assert np.abs(view.residual).max() < 5


def test_the_fitted_width_is_used_where_there_is_one(pixels: np.ndarray) -> None:
    (view,) = view_place(FakeEngine([(5, 5, 100.0)], psf_scale=1.5), pixels, 21, 30)
    assert view.psf == pytest.approx((0.9, 0.75))
    expected = render(5, 5, 100.0, (11, 11), 0.9, 0.75)
    np.testing.assert_allclose(view.reconstruction, expected, atol=1e-4)
    assert dict(quality_rows(view))["PSF sigma"] == "0.900 x 0.750 px, 1.50 of that told"


def test_pixels_that_do_not_count_have_no_residual(pixels: np.ndarray) -> None:
    damaged = pixels.astype(np.float32)
    damaged[30, 21] = np.nan
    (view,) = view_place(FakeEngine(), damaged, 21, 30)
    assert np.argwhere(np.isnan(view.residual)).tolist() == [[5, 5]]
    assert doubts(view) == ["bad pixels"]


def test_a_crop_without_a_pixel_that_counts_is_not_run() -> None:
    engine = FakeEngine([(5, 5, 100.0)])
    (view,) = view_place(engine, np.full(SHAPE, np.nan, np.float32), 40, 30)
    assert not engine.batches
    assert target_rows(view) == []
    assert dict(quality_rows(view))["background"] == "unknown"
    assert doubts(view) == ["no result", "bad pixels"]
    assert draw_views([view], "all bad").any()


def test_the_table_is_in_frame_pixels(pixels: np.ndarray) -> None:
    engine = FakeEngine([(4.25, 5.5, 1234.4), (6.0, 3.0, 61.26)])
    (view,) = view_place(engine, pixels, 21, 30)
    assert target_rows(view) == [
        ("20.250", "30.500", "1234", "0.90", "0.100", "0.050", "20"),
        ("22.000", "28.000", "61.3", "0.90", "0.100", "0.050", "20"),
    ]
    unknown = replace(engine, sigma=float("nan"), sigma_intensity=float("nan"))
    (view,) = view_place(unknown, pixels, 21, 30)
    assert target_rows(view)[0][4:] == ("-", "-", "-")
    draw_views([view], "sigmas unknown")


def test_the_quality_of_a_crop(pixels: np.ndarray) -> None:
    engine = FakeEngine(occupied=0.9876, doubt=Doubt.MISFIT | Doubt.CROWDED)
    (view,) = view_place(engine, pixels, 21, 0)
    rows = dict(quality_rows(view))
    assert rows["chi2"] == "1.25"
    assert rows["PSF sigma"] == "0.600 x 0.500 px"
    assert rows["occupied"] == "with probability 0.988"
    assert rows["doubts"] == "chi2 too high, more targets than it can tell apart, edge"
    assert "occupied" not in dict(quality_rows(view_place(FakeEngine(), pixels, 21, 30)[0]))
    assert dict(quality_rows(view_place(FakeEngine(), pixels, 21, 30)[0]))["doubts"] == "none"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "-"),
        (0.0, "0"),
        (0.01234, "0.0123"),
        (999.6, "1000"),
        (61.26, "61.3"),
        (123456.7, "123457"),
        (999.4999, "999"),
        (999.5, "1000"),
        (1000.4, "1000"),
        (-1234.4, "-1234"),
        (-61.26, "-61.3"),
        (9_999_999.0, "9999999"),
        (1e7, "1e+07"),
        (float("-inf"), "-"),
    ],
)
def test_counts(value: float, text: str) -> None:
    assert counts(value) == text


def panel_of(picture: np.ndarray, column: int, top: int = HEAD) -> np.ndarray:
    left = LEFT[column]
    return picture[top + ABOVE : top + ABOVE + PANEL, left : left + PANEL]


def test_enlarged_pixels_are_squares_in_their_places(pixels: np.ndarray) -> None:
    (view,) = view_place(FakeEngine(), pixels, 60, 12)
    picture = draw_views([view], "title")
    reconstruction = panel_of(picture, 1).reshape(11, 24, 11, 24, 3)
    assert (reconstruction == reconstruction[:1, :1, :1, :1]).all()
    residual = panel_of(picture, 2).reshape(11, 24, 11, 24, 3)
    assert (residual == residual[:, :1, :, :1]).all()
    np.testing.assert_array_equal(residual[:, 0, :, 0], residual_colours(view.residual))
    shown = panel_of(picture, 0).reshape(11, 24, 11, 24, 3)[:, 12, :, 12, 0]
    assert np.unravel_index(shown.argmax(), shown.shape) == (5, 5)
    field_box = np.argwhere((panel_of(picture, 0) == BOX).all(axis=2))
    assert field_box.min() == pytest.approx(2 * 24, abs=1)
    assert field_box.max() == pytest.approx(9 * 24 - 1, abs=1)


def test_part_of_a_crop_enlarged() -> None:
    colours = np.arange(5 * 5 * 3, dtype=np.uint8).reshape(5, 5, 3)
    part = squares(colours, (0.5, 1.25, 2.0))
    assert (part[:, : PANEL // 2] == part[:, :1]).all()
    assert part[0, 0].tolist() == colours[1, 1].tolist()
    assert part[-1, -1].tolist() == colours[3, 2].tolist()
    assert part[round(0.2 * PANEL / 2), 0].tolist() == colours[1, 1].tolist()
    assert part[round(0.3 * PANEL / 2), 0].tolist() == colours[2, 1].tolist()
    # The edge between two pixels is where `place_in` puts it.
    assert place_in((0.5, 1.25, 2.0), 1.5, 1.5) == pytest.approx((131.5, 32.5))


def test_residuals_are_blue_below_and_orange_above() -> None:
    colours = residual_colours(np.array([[-9.0, -5.0, 0.0, 5.0, np.nan]]))[0].tolist()
    assert colours[0] == colours[1] == list(TRUTH)
    assert colours[3] == list(RESOLVED)
    assert colours[2] == colours[4]


def test_the_window_holds_the_targets_and_keeps_to_the_crop(pixels: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    for number in (1, 2, 5):
        for sigma in (0.01, 0.2, 3.0, float("nan")):
            places = [(*rng.uniform(-0.4, 10.4, 2), 100.0) for _ in range(number)]
            (view,) = view_place(FakeEngine(places, sigma), pixels, 21, 30)
            left, top, side = targets_window(view)
            assert min(left, top) >= -0.5
            assert max(left, top) + side <= 10.5 + 1e-9
            for mark in marks_of(view, (left, top, side)):
                assert 0 <= mark.x + 0.5 <= PANEL
                assert 0 <= mark.y + 0.5 <= PANEL
    (view,) = view_place(FakeEngine(), pixels, 21, 30)
    assert targets_window(view) == (-0.5, -0.5, 11.0)
    (view,) = view_place(FakeEngine([(5.0, 6.0, 9.0)], 0.01), pixels, 21, 30)
    assert targets_window(view) == pytest.approx((4.0, 5.0, 2.0))


def test_ellipses_have_their_place_and_their_size() -> None:
    picture = np.full((PANEL, PANEL, 3), BACKGROUND, np.uint8)
    mark = Mark(131.5, 100.25, 30.0, 12.0)
    draw_error(picture, mark)
    changed = (picture != BACKGROUND).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert (columns.mean(), rows.mean()) == pytest.approx((mark.x, mark.y), abs=0.3)
    assert np.ptp(columns) == pytest.approx(4 * 30, abs=3)
    assert np.ptp(rows) == pytest.approx(4 * 12, abs=3)
    # Filled up to 1 sigma, empty between that and the line at 2 sigma.
    along = changed[100]
    assert along[131 - 29 : 131 + 29].all()
    assert not along[131 + 34 : 131 + 56].any()
    unknown = np.full((PANEL, PANEL, 3), BACKGROUND, np.uint8)
    draw_error(unknown, Mark(131.5, 100.0, 0.0, 0.0))
    assert (unknown == BACKGROUND).all()


def test_numbers_keep_clear_of_ellipses_and_of_one_another() -> None:
    marks = [Mark(60, 60, 9, 5), Mark(90, 66, 6, 6), Mark(255, 10, 5, 5), Mark(5, 258, 0, 0)]
    labels: list[tuple[float, float, float, float]] = []
    for number, mark in enumerate(marks, 1):
        label = place_number(mark, str(number), marks, labels)
        assert min(label[:2]) >= 0
        assert max(label[2:]) < PANEL
        assert label[3] - label[1] == TEXT_HEIGHT
        for x in np.linspace(label[0], label[2], 9):
            for y in np.linspace(label[1], label[3], 9):
                for other in marks:
                    wide, high = max(2 * other.wide, 1e-6), max(2 * other.high, 1e-6)
                    assert np.hypot((x - other.x) / wide, (y - other.y) / high) >= 1
        for other_label in labels:
            apart = max(label[0], other_label[0]) >= min(label[2], other_label[2])
            apart |= max(label[1], other_label[1]) >= min(label[3], other_label[3])
            assert apart
        labels.append(label)


def test_targets_are_marked_where_they_are(pixels: np.ndarray) -> None:
    (view,) = view_place(FakeEngine([(4.3, 5.8, 900.0)], 0.1), pixels, 20.3, 30.8)
    picture = draw_views([view], "title")
    (mark,) = marks_of(view, targets_window(view))
    lines = np.abs(panel_of(picture, 3).astype(int) - RESOLVED).sum(axis=2) < 60
    rows, columns = np.nonzero(lines)
    assert ((columns.min() + columns.max()) / 2, (rows.min() + rows.max()) / 2) == pytest.approx(
        (mark.x, mark.y), abs=1.5
    )


def test_one_row_a_crop_and_a_long_table_is_cut(pixels: np.ndarray) -> None:
    (view,) = view_place(FakeEngine([(5, 5, 100.0)]), pixels, 21, 30)
    many = [(0.5 * k, 0.4 * k, 100.0) for k in range(20)]
    (crowded,) = view_place(FakeEngine(many), pixels, 21, 30)
    one, two = draw_views([view], "t"), draw_views([view, view], "t")
    np.testing.assert_array_equal(one[HEAD : HEAD + 300], two[HEAD : HEAD + 300])
    assert one.shape[1] == two.shape[1]
    long = draw_views([crowded], "t")
    assert one.shape[0] < long.shape[0] < one.shape[0] + 200


def drawn(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path))
    assert picture is not None
    return picture


@pytest.fixture
def command(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """Run `show` with arguments after the recording; the engine is a fake."""
    np.save(tmp_path / "a.npy", np.stack([pixels, np.full(SHAPE, 1000, np.uint16)]))
    asked: dict[str, Any] = {}

    def open_fake(model: str, runtime: str = "auto", **options: Any) -> FakeEngine:
        asked.update(options, model=model)
        return FakeEngine([(5.0, 5.0, 500.0)], sensor=options["sensor"] or Sensor.gaussian(*PSF))

    monkeypatch.setattr("dscsnet.engines.opening.open_engine", open_fake)
    app = typer.Typer()
    app.command()(show_command)

    def run(*arguments: str) -> Any:
        out = str(tmp_path / "out.png")
        result = CliRunner().invoke(app, [str(tmp_path / "a.npy"), "-o", out, *arguments])
        result.asked = asked  # type: ignore[attr-defined]
        return result

    return run


def test_the_command_prints_and_draws(command: Callable[..., Any], tmp_path: Path) -> None:
    result = command("--model", "some-model", "--psf", "0.6,0.5")
    assert result.exit_code == 0, result.output
    assert result.asked.keys() == {"model", "threads", "sensor"}
    assert (result.asked["model"], result.asked["threads"]) == ("some-model", 1)
    assert result.asked["sensor"].psf == (0.6, 0.5)
    for text in ("fake on none", "spot 0 at (60.", "60.000", "12.000", "chi2 1.25", "doubts none"):
        assert text in result.output
    assert drawn(tmp_path / "out.png").shape[0] > 3 * PANEL
    result = command("--at", "20.3,30.8", "--psf", "0.6")
    assert result.asked["sensor"].psf == (0.6, 0.6)
    assert "crop at (20.3, 30.8)" in result.output
    assert drawn(tmp_path / "out.png").shape[0] < 2.5 * PANEL
    assert "crop at (3, 4)" in command("--frame", "1", "--at", "3,4").output


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--frame", "2"], "start 2 is beyond the last, 1"),
        (["--frame", "1"], "found no candidate"),
        (["--at", "80,1"], r"\(80, 1\) is off the frame"),
        (["--spot", "9"], "no spot 9"),
    ],
)
def test_errors_of_one_line(command: Callable[..., Any], arguments: list[str], error: str) -> None:
    result = command(*arguments)
    assert isinstance(result.exception, DscsnetError)
    with pytest.raises(DscsnetError, match=error):
        raise result.exception
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--at", "1,2", "--spot", "0"],
        ["--at", "1"],
        ["--at", "1,x"],
        ["--psf", "0"],
        ["--psf", "1,2,3"],
        ["--output", "a.jpg"],
    ],
)
def test_wrong_use(command: Callable[..., Any], arguments: list[str]) -> None:
    assert command(*arguments).exit_code == 2


def test_numbers_with_commas() -> None:
    assert numbers("--psf", "0.5, 0.6", "SX[,SY]", 1) == (0.5, 0.6)
    for text in ("", "nan", "inf,1", "1;2"):
        with pytest.raises(typer.BadParameter, match=r"--psf: expected SX\[,SY\] in px"):
            numbers("--psf", text, "SX[,SY]", 1)
