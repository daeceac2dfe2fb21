"""The field benchmark's picture page: examples, recall by signal-to-noise, and a wrong PSF.

The examples are the first crops of each number of targets, however well they were resolved.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.engines.imaging import render
from dscsnet.tools.drawing.canvas import (
    BACKGROUND,
    QUIET,
    RESOLVED,
    TEXT,
    TRUTH,
    Picture,
    cross,
    ellipse,
    magnified,
    ring,
    stretch,
    write,
)
from dscsnet.tools.drawing.line_plot import Line, draw_plot
from dscsnet.tools.field.benchmark import PSF_ERRORS, FieldResult, psf_variant
from dscsnet.tools.field.chain import Answers
from dscsnet.tools.field.implant import CENTER, MOST_TARGETS, SNR_RANGE, Samples
from dscsnet.tools.field.report import CLOSE, NEAR, pair, share

ZOOM, GAP, MARGIN, CAPTION, HEAD = 20, 6, 28, 40, 96
COLUMNS = 2
PLOT_WIDTH, PLOT_HEIGHT = 520, 380
RESIDUAL_SIGMAS = 5.0  # shown in full colour
SNR_POINTS = 9  # edges of the bins of the curves
MARK, LABEL = 7.0, 18


def draw_field(result: FieldResult, samples: Samples, answers: Answers) -> Picture:
    """Draw the page.

    Args:
        samples, answers: of the field protocol, from which `result` comes.
    """
    examples = choose_examples(samples)
    size = answers.pixels.shape[-1] * ZOOM
    cell_width, cell_height = 3 * size + 2 * GAP + MARGIN, size + CAPTION
    rows = -(-len(examples) // COLUMNS)
    left = MARGIN + COLUMNS * cell_width
    height = HEAD + max(rows * cell_height, 2 * (PLOT_HEIGHT + MARGIN)) + MARGIN
    picture = np.full((height, left + PLOT_WIDTH + MARGIN, 3), BACKGROUND, np.uint8)
    _write_head(picture, result)
    for place, crop in enumerate(examples):
        row, column = divmod(place, COLUMNS)
        x, y = MARGIN + column * cell_width, HEAD + row * cell_height
        _draw_example(picture[y : y + cell_height, x : x + cell_width], crop, samples, answers)
    plots = _recall_lines(samples, answers), _psf_lines(result)
    for number, (title, lines) in enumerate(plots):
        y = HEAD + number * (PLOT_HEIGHT + MARGIN)
        draw_plot(picture[y : y + PLOT_HEIGHT, left : left + PLOT_WIDTH], title, lines)
    return picture


def choose_examples(samples: Samples) -> list[int]:
    """The first crop with each number of targets, then the first on a bright empty peak."""
    chosen = [np.flatnonzero(samples.number == k) for k in range(1, MOST_TARGETS + 1)]
    chosen.append(np.flatnonzero((samples.number == 0) & samples.on_peak))
    return [int(rows[0]) for rows in chosen if len(rows)]


def _write_head(picture: Picture, result: FieldResult) -> None:
    report, wide = result.report, picture.shape[1] - 2 * MARGIN
    title = (
        f"{result.engine}: {result.crops} crops implanted in {result.frames} real frames: "
        f"CSO-mAP {report.cso_map:.1f}, AP at 0.5 px {report.ap_near:.1f}, "
        f"count right {report.count_accuracy:.1f} %"
    )
    write(picture, title, MARGIN, 40, height=26, bold=True, width=wide)
    legend = (
        "observed, reconstruction with the told PSF, residual (red above, blue below, full at "
        f"{RESIDUAL_SIGMAS:g} sigma). Circles: true targets. Crosses: published, "
        "with 1-sigma ellipses."
    )
    write(picture, legend, MARGIN, 74, height=19, colour=QUIET, width=wide)


def _draw_example(view: Picture, crop: int, samples: Samples, answers: Answers) -> None:
    found = answers.estimates.slice(crop, crop + 1)
    pixels = answers.pixels[crop].astype(float)
    side, shift = len(pixels), len(pixels) // 2 - CENTER
    x, y = found.x + shift, found.y + shift
    model = render(x, y, found.intensity, (side, side), answers.told[crop])
    residual = (pixels - model) / samples.noise[crop]
    low, high = -3 * samples.noise[crop], max(pixels.max(), 8 * samples.noise[crop])
    panels = [stretch(image, low, high, 0.7) for image in (pixels, model)] + [_signed(residual)]
    there = samples.present[crop]
    true = samples.x[crop, there] + shift, samples.y[crop, there] + shift
    for number, panel in enumerate(panels):
        grown = cv2.resize(panel, None, fx=ZOOM, fy=ZOOM, interpolation=cv2.INTER_NEAREST)
        if number < 2:  # marks would hide what the residual shows
            _mark(grown, true, (x, y, found.sigma_x, found.sigma_y))
        left = number * (side * ZOOM + GAP)
        view[: len(grown), left : left + len(grown)] = grown
    snr = ", ".join(f"{value:.0f}" for value in sorted(samples.snr[crop, there])[::-1])
    caption = f"true {there.sum()}" + (f" (SNR {snr})" if snr else " (brightest peak)")
    caption += f"; published {len(x)}" + ("" if found.converged[0] else ", doubted")
    write(view, caption, 0, side * ZOOM + 22, height=LABEL, width=view.shape[1] - MARGIN)


def _mark(view: Picture, true: tuple[Float, Float], found: tuple[Float, ...]) -> None:
    for x, y in zip(*(_enlarged(position) for position in true), strict=True):
        ring(view, x, y, MARK, TRUTH)
    positions = (_enlarged(position) for position in found[:2])
    for x, y, sigma_x, sigma_y in zip(*positions, *found[2:], strict=True):
        cross(view, x, y, MARK / 2, RESOLVED)
        if np.isfinite(sigma_x) and np.isfinite(sigma_y):
            ellipse(view, x, y, ZOOM * sigma_x, ZOOM * sigma_y, RESOLVED, 1)


def _enlarged(position: Float) -> list[float]:
    """Crop px to px of the enlarged crop."""
    return magnified(position, ZOOM).tolist()


def _signed(residual: Float) -> Picture:
    """Red above zero, blue below, (height, width, 3)."""
    part = np.clip(residual / RESIDUAL_SIGMAS, -1, 1)
    above, below = np.maximum(part, 0), np.maximum(-part, 0)
    channels = 235 * np.stack([1 - above, 1 - np.abs(part), 1 - below], axis=-1)
    return np.rint(channels).astype(np.uint8)


def _recall_lines(samples: Samples, answers: Answers) -> tuple[str, Sequence[Line]]:
    paired = pair(answers.estimates, samples)
    edges = np.geomspace(*SNR_RANGE, SNR_POINTS)
    middle = np.sqrt(edges[1:] * edges[:-1])
    place = np.digitize(paired.true_snr, edges[1:-1])
    return "found (%) by signal-to-noise ratio", [
        Line(
            f"within {distance:g} px",
            colour,
            np.log10(middle),
            np.array([share(paired.hit[distance][place == k]) for k in range(len(middle))]),
            tuple(f"{value:.0f}" for value in middle),
        )
        for distance, colour in ((CLOSE, RESOLVED), (NEAR, TRUTH))
    ]


def _psf_lines(result: FieldResult) -> tuple[str, Sequence[Line]]:
    errors = sorted([*PSF_ERRORS, 0.0])
    reports = [
        result.report if error == 0 else result.variants[psf_variant(error)] for error in errors
    ]
    figures = {
        "AP at 0.5 px": (TRUTH, [report.ap_near for report in reports]),
        "count right, %": (TEXT, [report.count_accuracy for report in reports]),
        "CSO-mAP": (RESOLVED, [report.cso_map for report in reports]),
    }
    labels = tuple(f"{100 * error:+.0f}" if error else "0" for error in errors)
    return "by the error of the told PSF width (%)", [
        Line(name, colour, np.array(errors), np.array(values), labels)
        for name, (colour, values) in figures.items()
    ]
