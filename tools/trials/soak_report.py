"""What a soak shows: slopes, a table, a picture (matplotlib, of the `plot` extra), and a month."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.engines.errors import DscsnetError
from dscsnet.tools.drawing.canvas import BACKGROUND, QUIET
from dscsnet.tools.drawing.figure_style import COLOURS, as_hex, style_panel, time_unit
from dscsnet.tools.trials.soak import Soak

#: The start is left out of the slopes: caches fill and the allocator finds its size.
WARM_SHARE, LONGEST_WARM_S = 1 / 3, 600.0
#: A shorter soak tells nothing of the memory: it is still warming up.
LEAST_S = 1800.0
#: Growth that is not taken for noise: above this, and above three of its standard errors.
MOST_MIB_AN_HOUR = 1.0
MONTH_S = 30 * 86_400
YEAR_S = 365.25 * 86_400

PANELS = (
    ("memory_mib", "memory, MiB", 1),
    ("descriptors", "descriptors", 0),
    ("threads", "threads", 2),
    ("oldest_ms", "oldest frame, ms", 3),
    ("latency_p50_ms", "latency p50, ms", 4),
    ("unsent", "unsent", 5),
)


class Slope(NamedTuple):
    """A straight line through the samples after the warm-up.

    Attributes:
        level: of the line at its start.
        an_hour, error: its slope and its standard error.
    """

    level: float
    an_hour: float
    error: float


def column(result: Soak, name: str) -> Float:
    """(samples,) one figure over time."""
    return np.array([getattr(sample, name) for sample in result.samples], float)


def slope(result: Soak, name: str) -> Slope:
    """Least squares; NaN where there are fewer than three samples."""
    seconds, values = column(result, "seconds"), column(result, name)
    fitted = seconds >= min(WARM_SHARE * seconds[-1], LONGEST_WARM_S)
    hours, values = seconds[fitted] / 3600, values[fitted]
    if len(hours) < 3:
        return Slope(float(values[0]), np.nan, np.nan)
    middle = hours - hours.mean()
    spread = float(middle @ middle)
    rise = float(middle @ values) / spread
    rest = values - values.mean() - rise * middle
    error = float(np.sqrt(rest @ rest / (len(hours) - 2) / spread))
    return Slope(float(values.mean() + rise * middle[0]), rise, error)


def grows(result: Soak) -> bool:
    """Whether the memory grows beyond doubt; never in a short soak."""
    if result.samples[-1].seconds < LEAST_S:
        return False
    found = slope(result, "memory_mib")
    return found.an_hour > MOST_MIB_AN_HOUR and found.an_hour > 3 * found.error


def describe_soak(result: Soak) -> str:
    """Lines for people."""
    last, first = result.samples[-1], result.samples[0]
    lines = [
        f"{last.seconds / 60:.1f} minutes, {result.rate_hz:.1f} frames/s of {result.candidates} "
        f"candidates, {len(result.samples)} samples",
        f"received {last.received}, published {last.published}, not unmixed {last.dropped}, "
        f"lost upstream {last.lost_upstream}, unsent {last.unsent}, lost silently {result.silent}",
        f"processor: {100 * (last.cpu_s - first.cpu_s) / max(last.seconds, 1e-9):.0f} % of a core",
    ]
    for name, text, _ in PANELS:
        values, found = column(result, name), slope(result, name)
        lines.append(
            f"{text}: {values.min():g} to {values.max():g}, median {np.median(values):g}, "
            f"slope {found.an_hour:+.3g} +- {found.error:.2g} an hour"
        )
    return "\n".join([*lines, *_a_month(result), *result.faults])


def _a_month(result: Soak) -> list[str]:
    """What the counters would hold, by counting."""
    memory, rate = slope(result, "memory_mib"), result.rate_hz
    return [
        f"in 30 days: {rate * MONTH_S:,.0f} frames; memory {memory.an_hour * 720:+.0f} +- "
        f"{memory.error * 720:.0f} MiB, were the slope to last",
        f"a frame_id (64 bits) lasts {2**64 / rate / YEAR_S:.1g} years at this rate, the node's "
        "own counters have no bound, those of /metrics (floats) are exact for "
        f"{2**53 / rate / YEAR_S:.1g} years, clocks (64-bit ns) for 292 years",
    ]


def draw_soak(result: Soak, out: Path) -> None:
    """Draw each figure over time; the fitted line over the memory.

    Raises:
        DscsnetError: the picture cannot be written.
        ModuleNotFoundError: matplotlib is not installed.
    """
    figure = _figure(result)
    try:
        figure.savefig(out, dpi=120)
    except OSError as error:
        raise DscsnetError(f"{out}: cannot be written: {error.strerror}") from None


def _figure(result: Soak) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06)
    figure = Figure(figsize=(10.5, 7.5), facecolor=as_hex(BACKGROUND), layout=layout)
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(PANELS) // 2, 2, sharex=True).ravel()
    seconds = column(result, "seconds")
    unit, unit_name = time_unit(float(seconds[-1]))
    for panel, (name, text, colour) in zip(panels, PANELS, strict=True):
        values = column(result, name)
        panel.plot(seconds / unit, values, color=COLOURS[colour], linewidth=1.2)
        panel.set_ylabel(text)
        # A curve that does not move is no zigzag.
        if np.ptp(values) < 1:
            panel.set_ylim(values.min() - 1, values.max() + 1)
        style_panel(panel)
    found = slope(result, "memory_mib")
    start = min(WARM_SHARE * seconds[-1], LONGEST_WARM_S)
    ends = np.array([start, seconds[-1]])
    line = found.level + found.an_hour * (ends - start) / 3600
    panels[0].plot(ends / unit, line, color=as_hex(QUIET), linestyle="--")
    panels[0].set_title(
        f"{found.an_hour:+.2f} +- {found.error:.2f} MiB an hour",
        color=as_hex(QUIET),
        fontsize=9,
    )
    for panel in panels[-2:]:
        panel.set_xlabel(f"time, {unit_name}")
    return figure
