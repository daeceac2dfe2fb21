"""What a picture consists of: every text and mark with its place, and the pixels beneath.

Text is told and not drawn, so that no version of a font is compared.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np

#: OpenCV's functions that draw, and the names of their arguments after the picture.
DRAWS = {
    "putText": ("text", "place", "font", "scale", "colour", "thickness", "line"),
    "circle": ("place", "radius", "colour", "thickness", "line", "shift"),
    "line": ("place", "to", "colour", "thickness", "line", "shift"),
    "rectangle": ("place", "to", "colour", "thickness", "line", "shift"),
    "ellipse": ("place", "axes", "angle", "from", "to", "colour", "thickness", "line", "shift"),
    "polylines": ("place", "closed", "colour", "thickness", "line", "shift"),
}
BLOCK = 8  # side of what is averaged for a thumbnail, px


@contextmanager
def recording(drawn: list[list[Any]]) -> Iterator[None]:
    """Collect what OpenCV is told to draw, as lists of JSON; each with the corner of its view."""

    def wrap(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def record(view: np.ndarray, *given: Any) -> Any:
            drawn.append([name, _corner(view), _plain(given)])
            return view if name == "putText" else original(view, *given)

        return record

    with patch.multiple(cv2, **{name: wrap(name, getattr(cv2, name)) for name in DRAWS}):
        yield


def _corner(view: np.ndarray) -> list[int]:
    """Row and column of a view's first pixel in the array that it is a part of."""
    whole = view
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    start = view.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    return [start // whole.strides[0], start % whole.strides[0] // whole.strides[1]]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def thumbnail(picture: np.ndarray) -> np.ndarray:
    """Means of blocks of a picture; what is left at its edges counts with the last ones."""
    rows, columns = -(-picture.shape[0] // BLOCK), -(-picture.shape[1] // BLOCK)
    below, right = rows * BLOCK - picture.shape[0], columns * BLOCK - picture.shape[1]
    padded = np.pad(picture, ((0, below), (0, right), (0, 0)), mode="edge").astype(float)
    means = padded.reshape(rows, BLOCK, columns, BLOCK, 3).mean(axis=(1, 3))
    return np.rint(means).astype(np.uint8)


def told_of(figure: Any) -> dict[str, Any]:
    """What a figure of matplotlib is told, panel by panel."""
    figure.draw_without_rendering()  # labels are made only then
    told = {
        "size": figure.get_size_inches().tolist(),
        "ground": _colour(figure.get_facecolor()),
        "layout": {
            key: value
            for key, value in figure.get_layout_engine().get().items()
            if key in ("w_pad", "h_pad")
        },
        "legends": [_legend(legend) for legend in figure.legends],
        "panels": [_panel(panel) for panel in figure.axes],
    }
    return {name: _plain(value) for name, value in told.items()}


def _legend(legend: Any) -> dict[str, Any]:
    place, figure = legend.get_window_extent(), legend.figure
    highest = max(panel.get_window_extent().y1 for panel in figure.axes)
    return {
        "above": bool(place.y0 > highest),
        "in the middle": round((place.x0 + place.x1) / 2 / figure.bbox.width, 2),
        "texts": [_text(text) for text in legend.get_texts()],
        "columns": legend._ncols,
        "frame": legend.get_frame_on(),
        "lines": [_line(line) for line in legend.get_lines()],
    }


def _panel(panel: Any) -> dict[str, Any]:
    return {
        "grid": panel.get_subplotspec().get_geometry(),
        "ground": _colour(panel.get_facecolor()),
        "texts": [_text(text) for text in (panel.title, panel.xaxis.label, panel.yaxis.label)],
        "scales": [panel.get_xscale(), panel.get_yscale()],
        "limits": [*panel.get_xlim(), *panel.get_ylim()],
        "lines": [_line(line) for line in panel.get_lines()],
        "spines": {
            side: [spine.get_visible(), _colour(spine.get_edgecolor())]
            for side, spine in panel.spines.items()
        },
        "ticks": [_ticks(axis) for axis in (panel.xaxis, panel.yaxis)],
    }


def _ticks(axis: Any) -> dict[str, Any]:
    major = axis.get_major_ticks()
    grid = [
        [line.get_visible(), _colour(line.get_color()), line.get_alpha(), line.get_linewidth()]
        for line in axis.get_gridlines()[:1]
    ]
    return {
        "at": axis.get_majorticklocs().tolist(),
        "names": [text.get_text() for text in axis.get_majorticklabels()],
        "size": [tick.label1.get_size() for tick in major[:1]],
        "colour": [_colour(tick.label1.get_color()) for tick in major[:1]],
        "minor": len(axis.get_minorticklocs()),
        "grid": grid,
    }


def _text(text: Any) -> list[Any]:
    return [text.get_text(), text.get_size(), _colour(text.get_color())]


def _line(line: Any) -> dict[str, Any]:
    return {
        "x": np.asarray(line.get_xdata(), float).tolist(),
        "y": np.asarray(line.get_ydata(), float).tolist(),
        "label": line.get_label(),
        "look": [
            _colour(line.get_color()),
            *(line.get_linestyle(), line.get_linewidth(), line.get_marker()),
            line.get_markersize(),
        ],
    }


def _colour(colour: Any) -> str:
    from matplotlib.colors import to_hex

    return str(to_hex(colour, keep_alpha=True))
