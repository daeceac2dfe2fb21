"""The style of figures made with matplotlib."""

from typing import Any

from dscsnet.tools.drawing.canvas import BACKGROUND, QUIET, TEXT, Colour

#: Told apart with any kind of colour vision on a dark ground.
COLOURS = ("#ff9628", "#5cc4ff", "#8cde8c", "#f2e05c", "#f08ac0", "#b9a4ff", "#e6eaee")


def time_unit(seconds: float) -> tuple[float, str]:
    """Seconds a unit, and the unit in which a time of this length reads well."""
    if seconds < 300:
        return 1.0, "s"
    return (60.0, "min") if seconds < 3 * 3600 else (3600.0, "h")


def style_panel(panel: Any) -> None:
    """Dark ground, quiet axes on two sides."""
    quiet, text = as_hex(QUIET), as_hex(TEXT)
    panel.set_facecolor(as_hex(BACKGROUND))
    panel.grid(color=quiet, alpha=0.18, linewidth=0.8)
    panel.tick_params(which="both", colors=quiet, labelsize=9)
    for axis in (panel.xaxis, panel.yaxis):
        axis.label.set_color(text)
    for side, spine in panel.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(quiet)


def as_hex(colour: Colour) -> str:
    """`#rrggbb`, as matplotlib takes it."""
    blue, green, red = colour
    return f"#{red:02x}{green:02x}{blue:02x}"
