"""The calibration's picture: mean spot, model and residual; widths; variance against level."""

import math

import cv2
import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.tools.calibration.mean_spot import mean_of_sampled, mean_spot
from dscsnet.tools.calibration.noise import Noise, Patches
from dscsnet.tools.calibration.result import Calibration, Psf, SpotTable
from dscsnet.tools.drawing.axes import Axes, bars, curve, frame_axes, points
from dscsnet.tools.drawing.canvas import (
    BACKGROUND,
    BOX,
    QUIET,
    RESOLVED,
    TRUTH,
    Colour,
    Picture,
    stretch,
    write,
)

SIDE, MARGIN, HEAD, CAPTION = 300, 30, 96, 72  # px; of a panel, and around it
PLOT_HEIGHT, PLOT_LEFT = 300, 70
COLUMNS = 3
WIDTH = MARGIN + COLUMNS * (SIDE + MARGIN)
HEIGHT = HEAD + SIDE + CAPTION + PLOT_HEIGHT + CAPTION + MARGIN
REACH = 4.0  # half side of the shown spot in PSF deviations
BINS = 40
MOST_POINTS = 4000
LEVEL_BINS = 24


def draw_calibration(result: Calibration) -> Picture:
    """Draw what a recording told; panels without data say so."""
    picture = np.full((HEIGHT, WIDTH, 3), BACKGROUND, np.uint8)
    wide = WIDTH - 2 * MARGIN
    write(picture, "PSF, gain and noise", MARGIN, 38, height=26, bold=True, width=wide)
    write(picture, _plain(_subtitle(result)), MARGIN, 70, height=16, colour=QUIET, width=wide)
    _draw_spots(picture, result)
    top = HEAD + SIDE + CAPTION
    half = (WIDTH - 2 * MARGIN - 2 * PLOT_LEFT) // 2
    _draw_widths(picture, (PLOT_LEFT, top, half, PLOT_HEIGHT), result.psf, result.spots)
    right = PLOT_LEFT + half + MARGIN + PLOT_LEFT
    _draw_noise(picture, (right, top, half, PLOT_HEIGHT), result.noise)
    return picture


def _subtitle(result: Calibration) -> str:
    if result.psf is None:
        why = result.problem.partition(";")[0].partition(" (")[0]
        return f"{result.recording}: the PSF cannot be told: {why}"
    (x, y), (x_error, y_error) = result.psf.sigma, result.psf.sigma_error
    used = 0 if result.spots is None else int(result.spots.used.sum())
    return (
        f"{result.recording}: sigma x {x:.4f} +- {x_error:.4f}, y {y:.4f} +- {y_error:.4f} px, "
        f"from {used} spots of {result.objects} objects"
    )


def _plain(text: str) -> str:
    """OpenCV's fonts know ASCII only."""
    return text.encode("ascii", "replace").decode()


def _draw_spots(picture: Picture, result: Calibration) -> None:
    psf, spots, sampled = result.psf, result.spots, result.sampled
    if psf is None or spots is None:
        write(picture, "no mean spot: no PSF", MARGIN, HEAD + 30, height=18, colour=QUIET)
        return
    reach = REACH * max(psf.sigma)
    mean = mean_spot(spots, reach) if sampled is None else mean_of_sampled(sampled, reach)
    form = "Gaussian" if sampled is None else "sampled PSF"
    peak = float(np.nanmax(mean.model))
    residual = mean.observed - mean.model
    largest = max(0.01, float(np.nanmax(np.abs(residual))) / peak)
    panels = (
        (_grey(mean.observed / peak), "mean spot, as observed"),
        (_grey(mean.model / peak), f"model: {form} in pixels"),
        (_two_sided(residual / (largest * peak)), f"residual: +-{100 * largest:.1f} % of the peak"),
    )
    for place, (panel, caption) in enumerate(panels):
        left = MARGIN + place * (SIDE + MARGIN)
        shown = cv2.resize(panel, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        picture[HEAD : HEAD + SIDE, left : left + SIDE] = shown
        write(picture, caption, left, HEAD + SIDE + 24, height=17, width=SIDE)


def _grey(values: Float) -> Picture:
    return stretch(np.nan_to_num(values), 0.0, 1.0, 0.6)


def _two_sided(values: Float) -> Picture:
    """Orange above zero, blue below; zero and unknown are the background."""
    share = np.clip(np.nan_to_num(values), -1, 1)[:, :, None]
    ground = np.array(BACKGROUND, float)
    above, below = np.array(RESOLVED, float), np.array(TRUTH, float)
    colour = np.where(share > 0, above, below)
    return np.rint(ground + np.abs(share) * (colour - ground)).astype(np.uint8)


def _draw_widths(
    picture: Picture, place: tuple[int, int, int, int], psf: Psf | None, spots: SpotTable | None
) -> None:
    title = "width of each spot, px (orange: in use)"
    if spots is None or not len(spots.sigma):
        frame_axes(picture, Axes(place, (0, 1), (0, 1)), title, "spots")
        return
    low, high = np.percentile(spots.sigma, [1, 98])
    margin = 0.05 * max(high - low, 0.02)
    edges = np.linspace(low - margin, high + margin, BINS + 1)
    every, _ = np.histogram(spots.sigma, edges)
    used, _ = np.histogram(spots.sigma[spots.used], edges)
    axes = Axes(place, (edges[0], edges[-1]), (0, 1.1 * float(max(every.max(), 1))))
    bars(picture, axes, edges, every.astype(float), QUIET)
    bars(picture, axes, edges, used.astype(float), RESOLVED)
    if psf is not None:
        middle = math.sqrt(0.5 * (psf.covariance[0] + psf.covariance[1]))
        curve(picture, axes, np.array([middle, middle]), np.array(axes.y), TRUTH)
    frame_axes(picture, axes, title, "spots")


def _draw_noise(picture: Picture, place: tuple[int, int, int, int], noise: Noise | None) -> None:
    title = "level of patches, counts"
    if noise is None:
        frame_axes(picture, Axes(place, (0, 1), (0, 1)), title, "variance, counts^2: none seen")
        return
    patches = noise.patches
    step = max(1, len(patches.level) // MOST_POINTS)
    level, variance = patches.level[::step], patches.variance[::step]
    low, high = np.percentile(level, [0, 100])
    margin = 0.03 * max(high - low, 1e-6)
    top = 1.2 * float(np.percentile(variance, 95)) + 1e-9
    axes = Axes(place, (low - margin, high + margin), (0, top))
    points(picture, axes, level, variance, QUIET, 1)
    middles, medians = _binned(patches)
    points(picture, axes, middles, medians, BOX, 4)
    _draw_line(picture, axes, noise, low, high)
    frame_axes(picture, axes, title, "variance, counts^2 (green: median)")


def _draw_line(picture: Picture, axes: Axes, noise: Noise, low: float, high: float) -> None:
    ends = np.array([low, high])
    colour: Colour = TRUTH
    if noise.line is not None and not noise.reason:
        curve(picture, axes, ends, noise.line.offset + noise.line.slope * ends, colour)
    else:
        curve(picture, axes, ends, np.full(2, noise.sigma**2), colour)


def _binned(patches: Patches) -> tuple[Float, Float]:
    """Median level and variance of patches of like level."""
    order = np.argsort(patches.level)
    parts = np.array_split(order, min(LEVEL_BINS, len(order)))
    middle = np.array([np.median(patches.level[part]) for part in parts])
    return middle, np.array([np.median(patches.variance[part]) for part in parts])
