"""The benchmark's page: what is chosen, what curves show, and where all of it lies."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dscsnet.engines.estimates import Estimates
from dscsnet.tools.drawing.canvas import BACKGROUND, RESOLVED, TRUTH
from dscsnet.tools.field import picture
from dscsnet.tools.field.chain import Answers
from dscsnet.tools.field.frames import REGION
from dscsnet.tools.field.implant import CENTER, Samples
from dscsnet.tools.field.picture import GAP, ZOOM, choose_examples
from dscsnet.tools.field.report import FieldReport
from tests.tools.field.made_up import RESULT, field_report

NUMBERS = (0, 2, 1, 0, 5, 2, 0)
ON_PEAK = (False, False, False, True, False, False, True)


def samples_of(numbers: tuple[int, ...] = NUMBERS, most: int = 5) -> Samples:
    """Targets in a row at the centre of their regions, 1 px apart, snr 8, 16, ..."""
    count = len(numbers)
    column = CENTER + np.arange(most, dtype=float) - 2
    wide = np.broadcast_to(column, (count, most)).copy()
    return Samples(
        regions=np.zeros((count, REGION, REGION)),
        x=wide,
        y=np.full((count, most), CENTER + 1.0),
        intensity=np.full((count, most), 900.0),
        snr=np.broadcast_to(8.0 * 2.0 ** np.arange(most), (count, most)).copy(),
        present=np.arange(most) < np.array(numbers)[:, None],
        psf=np.full(count, 0.5),
        noise=np.full(count, 3.0),
        on_peak=np.array(ON_PEAK[:count]),
    )


def answers_of(samples: Samples, crop: list[int], x: list[float], y: list[float]) -> Answers:
    rows, count = len(crop), len(samples)
    nan = np.full(rows, np.nan)
    estimates = Estimates(
        crop=np.array(crop, np.int64),
        x=np.array(x),
        y=np.array(y),
        intensity=np.full(rows, 900.0),
        likely=np.ones(rows, bool),
        score=np.full(rows, 0.5),
        sigma_x=nan.copy(),
        sigma_y=nan.copy(),
        sigma_intensity=nan,
        chi2=np.ones(count),
        doubt=np.zeros(count, np.uint8),
        psf_scale=np.full(count, np.nan),
        occupied=np.ones(count),
        probability=np.empty((count, 0)),
    )
    return Answers(estimates, np.zeros((count, 11, 11), np.float32), samples.psf, (1, 1, 1))


def test_the_first_of_each_number_then_the_first_bright_empty_peak() -> None:
    assert choose_examples(samples_of()) == [2, 1, 4, 3]
    assert choose_examples(samples_of((1, 1, 0))) == [0]


@pytest.mark.parametrize(
    ("residual", "channels"),
    [
        (0.0, (235, 235, 235)),
        (5.0, (0, 0, 235)),  # red: the last channel is left
        (-5.0, (235, 0, 0)),
        (50.0, (0, 0, 235)),
        (-50.0, (235, 0, 0)),
        (2.5, (118, 118, 235)),
        (-1.0, (235, 188, 188)),
    ],
)
def test_red_above_and_blue_below(residual: float, channels: tuple[int, ...]) -> None:
    shown = picture._signed(np.full((2, 3), residual))
    assert shown.shape == (2, 3, 3)
    assert shown[1, 2].tolist() == pytest.approx(list(channels), abs=1)


def test_recall_by_signal_to_noise() -> None:
    """Eight bins from 5 to 200: the first targets lie in the second, the fourth, and so on."""
    samples = samples_of((3, 3))
    found = answers_of(
        samples, [0, 0, 1], [CENTER - 2.0, CENTER - 0.6, CENTER - 1.7], [CENTER + 1.0] * 3
    )
    title, (close, near) = picture._recall_lines(samples, found)
    edges = 5 * 40 ** (np.arange(9) / 8)
    for line, colour, expected in (
        (close, RESOLVED, {8.0: 50, 16.0: 0, 32.0: 0}),
        (near, TRUTH, {8.0: 100, 16.0: 50, 32.0: 0}),
    ):
        assert line.colour == colour
        np.testing.assert_allclose(line.x, np.log10(np.sqrt(edges[1:] * edges[:-1])))
        values = np.full(8, np.nan)
        for ratio, percent in expected.items():
            values[np.searchsorted(edges, ratio) - 1] = percent
        np.testing.assert_array_equal(line.values, values)
        assert line.labels[0] == "6"
        assert len(line.labels) == 8
    assert (close.name, near.name) == ("within 0.25 px", "within 0.5 px")
    assert "signal-to-noise" in title


def figures(k: float) -> FieldReport:
    return field_report(cso_map=k, ap_near=10 * k, count_accuracy=20 * k)


def test_curves_over_the_error_of_the_width() -> None:
    shares = {-0.10: 1.0, -0.05: 2.0, 0.05: 4.0, 0.10: 5.0}
    variants = {
        f"PSF told {100 * error:+.0f} %": field_report(
            cso_map=k, ap_near=10 * k, count_accuracy=20 * k
        )
        for error, k in shares.items()
    }
    whole = replace(
        RESULT,
        variants=variants,
        report=field_report(cso_map=3.0, ap_near=30.0, count_accuracy=60.0),
    )
    _, lines = picture._psf_lines(whole)
    for line, factor in zip(lines, (10, 20, 1), strict=True):
        np.testing.assert_allclose(line.x, [-0.10, -0.05, 0, 0.05, 0.10])
        np.testing.assert_allclose(line.values, factor * np.arange(1.0, 6.0))
        assert line.labels == ("-10", "-5", "0", "+5", "+10")


def drawn(samples: Samples, answers: Answers, crop: int) -> np.ndarray:
    size = 11 * ZOOM
    view = np.full((size + 40, 3 * size + 2 * GAP + 28, 3), BACKGROUND, np.uint8)
    picture._draw_example(view, crop, samples, answers)
    return view


def centre_of(view: np.ndarray, colour: tuple[int, int, int]) -> tuple[float, float]:
    """Mean place of what has a colour in the first panel, crop px."""
    panel = view[: 11 * ZOOM, : 11 * ZOOM]
    rows, columns = np.nonzero((panel == colour).all(axis=2))
    return float(columns.mean() + 0.5) / ZOOM - 0.5, float(rows.mean() + 0.5) / ZOOM - 0.5


def test_marks_lie_on_the_targets_of_a_crop() -> None:
    samples = samples_of((1, 0))
    # Targets are told in px of their region, whose centre is the crop's: 5 of 11.
    samples.x[0, 0], samples.y[0, 0] = CENTER - 2.0, CENTER + 1.0
    found = answers_of(samples, [0], [CENTER + 1.5], [CENTER - 2.5])
    view = drawn(samples, found, 0)
    assert centre_of(view, TRUTH) == pytest.approx((3, 6), abs=0.06)
    assert centre_of(view, RESOLVED) == pytest.approx((6.5, 2.5), abs=0.06)
    size = 11 * ZOOM
    for left in (size, 2 * size + GAP):  # what lies between the panels stays free
        assert (view[:size, left : left + GAP] == BACKGROUND).all()
    residual = view[:size, 2 * (size + GAP) :]
    assert not (residual == TRUTH).all(axis=2).any()


@pytest.mark.parametrize(("sigma_x", "sigma_y", "shown"), [(0.9, 0.4, True), (0.9, np.nan, False)])
def test_ellipses_are_as_wide_as_the_sigmas(sigma_x: float, sigma_y: float, shown: bool) -> None:
    samples = samples_of((0,))
    found = answers_of(samples, [0], [float(CENTER)], [float(CENTER)])
    found.estimates.sigma_x[:], found.estimates.sigma_y[:] = sigma_x, sigma_y
    panel = drawn(samples, found, 0)[: 11 * ZOOM, : 11 * ZOOM]
    rows, columns = np.nonzero(panel[..., 2] > panel[..., 0] + 60.0)  # orange on grey
    wide, high = np.ptp(columns) / ZOOM / 2, np.ptp(rows) / ZOOM / 2
    if shown:
        assert (wide, high) == pytest.approx((0.9, 0.4), abs=0.06)
    else:
        assert (wide, high) == pytest.approx((3.5 / ZOOM,) * 2, abs=0.06)  # the cross alone


def captions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    told: list[str] = []
    write: Callable[..., None] = lambda view, text, *_, **__: told.append(text)  # noqa: E731
    monkeypatch.setattr(picture, "write", write)
    return told


def test_captions_name_the_brightest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    told = captions(monkeypatch)
    samples = samples_of((3, 0))
    samples.snr[0, :3] = 20.0, 90.0, 40.0
    found = answers_of(samples, [0], [20.0], [20.0])
    drawn(samples, found, 0)
    found.estimates.doubt[1] = 1
    drawn(samples, found, 1)
    assert told == [
        "true 3 (SNR 90, 40, 20); published 1",
        "true 0 (brightest peak); published 0, doubted",
    ]


@pytest.mark.parametrize(
    ("brightest", "white_at"), [(3.0, 24.0), (48.0, 48.0)], ids=["8 sigma", "brightest"]
)
def test_black_at_minus_three_sigma(brightest: float, white_at: float) -> None:
    samples = samples_of((0,))
    answers = answers_of(samples, [], [], [])
    answers.pixels[0, 0, :3] = -9.0, -20.0, brightest
    view = drawn(samples, answers, 0)
    middle = ZOOM // 2
    greys = [int(view[middle, middle + ZOOM * k, 0]) for k in range(4)]
    share = (brightest + 9) / (white_at + 9)
    assert greys == [0, 0, round(255 * share**0.7), round(255 * (9 / (white_at + 9)) ** 0.7)]


def test_the_page_has_room_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    told = captions(monkeypatch)
    variants = {f"PSF told {100 * e:+.0f} %": field_report() for e in (-0.1, -0.05, 0.05, 0.1)}
    result = replace(RESULT, variants=variants)
    samples = samples_of((1, 2, 3, 4, 5, 0, 0))
    samples.on_peak[5] = True
    page = picture.draw_field(result, samples, answers_of(samples, [], [], []))
    size = 11 * ZOOM
    cell_width, cell_height = 3 * size + 2 * GAP + picture.MARGIN, size + picture.CAPTION
    width = 2 * cell_width + 2 * picture.MARGIN + picture.PLOT_WIDTH
    assert page.shape == (picture.HEAD + max(3 * cell_height, 2 * (380 + 28)) + 28, width, 3)
    assert [text[:6] for text in told[2:]] == [f"true {k}" for k in (1, 2, 3, 4, 5, 0)]
    assert told[0].startswith("mine: 400 crops implanted in 3 real frames: CSO-mAP 41.0")
    corners = [
        (picture.HEAD + row * cell_height, picture.MARGIN + column * cell_width)
        for row in range(3)
        for column in range(2)
    ]
    for y, x in corners:
        assert (page[y - 1, x] == BACKGROUND).all()
        assert (page[y, x - 1] == BACKGROUND).all()
        assert (page[y, x] != BACKGROUND).any()
    few = samples_of((1, 0))
    small = picture.draw_field(result, few, answers_of(few, [], [], []))
    assert small.shape == (picture.HEAD + 2 * (380 + 28) + 28, width, 3)
