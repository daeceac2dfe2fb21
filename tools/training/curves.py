"""Training curves of one or several runs as a picture; needs matplotlib, of the `plot` extra.

A `curve.csv` has one row a validation: `step`, `crops`, `seconds` (of CPU time for a run on a CPU,
see `tools.training.trainer`), and any number of measures, each of which gets a row of panels.
"""

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from dscsnet.engines.array_types import Float
from dscsnet.engines.errors import DscsnetError
from dscsnet.pipeline.errors import ConfigError
from dscsnet.tools.drawing.canvas import BACKGROUND, TEXT
from dscsnet.tools.drawing.figure_style import COLOURS, as_hex, style_panel, time_unit

CURVE, PICTURE = "curve.csv", "curve.png"
AXES = ("step", "crops", "seconds")
FORMATS = (".png", ".svg", ".pdf")

STYLES = ("-", "--", ":", "-.")
NAMES_A_LINE = 3  # of the legend
PANEL_HEIGHT = 2.3  # inches

#: Measures that fall over more than this factor are drawn on a logarithmic axis.
WIDE = 10.0

LABELS = {"loss": "training loss", "nll": "negative log-likelihood"}


@dataclass(frozen=True)
class Curve:
    """What one run measured as it was trained.

    Attributes:
        name: tells it from the other runs of a picture.
        crops, seconds: (rows,) crops seen and time trained.
        measures: (rows,) of each measure by name; NaN where it was not measured.
    """

    name: str
    crops: Float
    seconds: Float
    measures: dict[str, Float]


def find_curves(runs: Iterable[Path]) -> list[Path]:
    """The files of curves: those given, in the folders given, and in folders directly in these.

    Raises:
        ConfigError: one of the runs neither is nor holds any.
    """
    found: list[Path] = []
    for run in runs:
        inside = [run] if run.is_file() else [run / CURVE, *sorted(run.glob(f"*/{CURVE}"))]
        here = [path for path in inside if path.is_file()]
        if not here:
            raise ConfigError(f"{run}: no run here: expected {CURVE}, or folders with one")
        found += here
    return list(dict.fromkeys(found))


def read_curves(paths: Sequence[Path]) -> list[Curve]:
    """Read curves; each gets as much of its folder's path for a name as tells it from the others.

    Raises:
        ConfigError: a file cannot be read or is no curve.
    """
    names = short_names([path.absolute().parent for path in paths])
    return [_read(path, name) for path, name in zip(paths, names, strict=True)]


def short_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths, of one number of parts, that differ where the paths do."""
    longest = max((len(folder.parts) for folder in folders), default=1)
    for parts in range(1, longest + 1):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(set(folders)):
            break
    return names if folders else []


def _read(path: Path, name: str) -> Curve:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows, columns = list(reader), list(reader.fieldnames or [])
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError):
        raise ConfigError(f"{path}: not a table of comma-separated values") from None
    missing = [column for column in AXES if column not in columns]
    if missing:
        raise ConfigError(f"{path}: expected a column {missing[0]}, got {', '.join(columns)}")
    measures = [column for column in columns if column not in AXES]
    if not rows or not measures:
        what = "measure beside them" if rows else "row"
        raise ConfigError(f"{path}: expected at least one {what}; validate the run first")
    table = {column: _numbers(path, rows, column) for column in columns}
    return Curve(name, table["crops"], table["seconds"], {key: table[key] for key in measures})


def _numbers(path: Path, rows: list[dict[str, Any]], column: str) -> Float:
    """A column; NaN where a cell is empty, as in rows older than the column."""
    values = np.empty(len(rows))
    for index, row in enumerate(rows):
        text = row[column]
        try:
            values[index] = float(text) if text else math.nan
        except (TypeError, ValueError):
            place = f"{path}: row {index + 1}, {column}"
            raise ConfigError(f"{place}: expected a number, got {text!r}") from None
    return values


def draw_run(folder: Path) -> Path | None:
    """Draw the curve of one run into its folder; None where matplotlib is not installed.

    Raises:
        ConfigError: there is no curve, or it cannot be read.
        DscsnetError: the picture cannot be written.
    """
    if find_spec("matplotlib") is None:
        return None
    out = folder / PICTURE
    draw_curves(read_curves([folder / CURVE]), out)
    return out


def draw_curves(curves: Sequence[Curve], out: Path) -> None:
    """Draw curves: a row of panels a measure, by crops seen on the left, by time on the right.

    Args:
        curves: at least one; a measure that only some have shows only these.
        out: PNG, SVG or PDF file.

    Raises:
        DscsnetError: the file is of another kind or cannot be written.
        ModuleNotFoundError: matplotlib is not installed.
    """
    if out.suffix.lower() not in FORMATS:
        raise DscsnetError(f"{out}: expected a name that ends in {', '.join(FORMATS)}")
    figure = _figure(curves)
    try:
        figure.savefig(out, dpi=120)
    except OSError as error:
        raise DscsnetError(f"{out}: cannot be written: {error.strerror}") from None


def measures_of(curves: Iterable[Curve]) -> list[str]:
    """Every measure of any curve: CSO-mAP first, the loss last, the others in the order met."""
    names = dict.fromkeys(name for curve in curves for name in curve.measures)
    return sorted(names, key=lambda name: (not name.startswith("cso_map"), name == "loss"))


def label_of(measure: str) -> str:
    """A measure's name for people."""
    noise = re.fullmatch(r"cso_map(?:_noise(\d+(?:\.\d+)?))?", measure)
    if noise:
        return "CSO-mAP" + (f", noise {noise[1]}" if noise[1] else "")
    return LABELS.get(measure, measure.replace("_", " "))


def count_label(crops: float) -> str:
    """A number of crops as on an axis: 500, 20 k, 5 M."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if crops >= size:
            return f"{crops / size:g}{unit}"
    return f"{crops:g}"


def _figure(curves: Sequence[Curve]) -> Any:
    """A matplotlib figure of its own: no window, no state shared with other figures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    measures = measures_of(curves)
    legend = 0.3 * math.ceil(len(curves) / NAMES_A_LINE) + 0.1
    height = PANEL_HEIGHT * len(measures) + legend + 0.45
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06)
    figure = Figure(figsize=(10.5, height), facecolor=as_hex(BACKGROUND), layout=layout)
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(measures), 2, sharex="col", sharey="row", squeeze=False)
    unit, unit_name = time_unit(max(float(np.nanmax(curve.seconds)) for curve in curves))
    for row, measure in zip(panels, measures, strict=True):
        _draw_measure(row, measure, curves, unit)
    _label_crops(panels[-1, 0].xaxis)
    panels[-1, 0].set_xlabel("crops seen")
    panels[-1, 1].set_xlabel(f"time trained, {unit_name}")
    figure.align_ylabels(panels[:, 0])
    lines, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(
        *(lines, names),
        loc="outside upper center",
        ncols=math.ceil(len(names) / math.ceil(len(names) / NAMES_A_LINE)),
        frameon=False,
        labelcolor=as_hex(TEXT),
    )
    return figure


def _draw_measure(row: Sequence[Any], measure: str, curves: Sequence[Curve], unit: float) -> None:
    left, right = row
    for index, curve in enumerate(curves):
        # A curve that lacks the measure is drawn as nothing, so that every legend has all.
        values = curve.measures.get(measure, np.full(len(curve.crops), np.nan))
        look = {
            "color": COLOURS[index % len(COLOURS)],
            "linestyle": STYLES[index // len(COLOURS) % len(STYLES)],
            "marker": "o" if len(values) < 40 else "",
            "markersize": 3.5,
            "label": curve.name,
        }
        left.plot(curve.crops, values, **look)
        right.plot(curve.seconds / unit, values, **look)
    left.set_xscale("log")
    right.set_xlim(left=0)
    left.set_ylabel(label_of(measure))
    if _is_wide([c.measures[measure] for c in curves if measure in c.measures]):
        left.set_yscale("log")
    for panel in row:
        style_panel(panel)


def _label_crops(axis: Any) -> None:
    """Round numbers of crops on a logarithmic axis, between the powers of ten, too, where few."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_view_interval()
    steps = (1.0, 2.0, 5.0) if high < 1000 * low else (1.0,)
    axis.set_major_locator(LogLocator(subs=steps, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda crops, _place: count_label(crops)))
    axis.set_minor_locator(NullLocator())


def _is_wide(columns: Sequence[Float]) -> bool:
    values = np.concatenate(columns)
    values = values[np.isfinite(values)]
    return bool(len(values) and values.min() > 0 and values.max() > WIDE * values.min())
