"""Targets and spots as `foxglove.ImageAnnotations` in JSON, which common viewers draw over frames.

The viewers count pixels from the top left corner of the first pixel, this project from its centre:
half a pixel is added.
"""

import json
from typing import Any

from dscsnet.pipeline.messages import Targets

SPOT_DIAMETER, TARGET_DIAMETER = 11.0, 1.0  # px
THICKNESS = 0.25
FONT_SIZE = 3.0
HALF = 0.5

_YELLOW = {"r": 1.0, "g": 0.85, "b": 0.2, "a": 0.6}
_GREY = {"r": 0.6, "g": 0.6, "b": 0.6, "a": 0.6}
_GREEN = {"r": 0.2, "g": 1.0, "b": 0.4, "a": 1.0}
_CLEAR = {"r": 0.0, "g": 0.0, "b": 0.0, "a": 0.0}


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


# Texts with places to fill in: several times as fast as an encoder, and all values are numbers.
_CIRCLE = (
    '{"timestamp":TIME,"position":{"x":%.4f,"y":%.4f},"diameter":DIAMETER,'
    f'"thickness":{THICKNESS},"fill_color":{_json(_CLEAR)},"outline_color":COLOR}}'
)
_TEXT = (
    '{"timestamp":TIME,"position":{"x":%.4f,"y":%.4f},"text":"%s",'
    f'"font_size":{FONT_SIZE},"text_color":COLOR,"background_color":{_json(_CLEAR)}}}'
)
# A pair of them, for a spot, a doubtful spot and a target; the time is filled in once a frame.
_PAIRS = tuple(
    f"{_CIRCLE}\0{_TEXT}".replace("COLOR", _json(color)).replace("DIAMETER", f"{diameter}")
    for color, diameter in (
        (_YELLOW, SPOT_DIAMETER),
        (_GREY, SPOT_DIAMETER),
        (_GREEN, TARGET_DIAMETER),
    )
)


def annotate(message: Targets) -> bytes:
    """Return the annotations of one frame: no targets give an empty one, which clears the last.

    A circle and a text (number of targets, `?` where flagged) for each spot, grey where flagged;
    a small circle and a text (intensity) for each target.
    """
    seconds, nanoseconds = divmod(message.timestamp_ns, 10**9)
    time = f'{{"sec":{seconds},"nsec":{nanoseconds}}}'
    plain, doubtful, found = (pair.replace("TIME", time).split("\0") for pair in _PAIRS)
    circles, texts = [], []
    spots, targets = message.spots, message.targets
    corner = SPOT_DIAMETER / 2 - HALF
    for x, y, count, flags in zip(spots.x, spots.y, spots.count, spots.flags, strict=True):
        circle, text = doubtful if flags else plain
        circles.append(circle % (x + HALF, y + HALF))
        texts.append(text % (x - corner, y - corner, f"{count}?" if flags else count))
    circle, text = found
    for x, y, counts in zip(targets.x, targets.y, targets.intensity, strict=True):
        circles.append(circle % (x + HALF, y + HALF))
        texts.append(text % (x + HALF + 1, y + HALF, f"{counts:.0f}"))
    listed = f'"circles":[{",".join(circles)}],"points":[],"texts":[{",".join(texts)}]'
    return f"{{{listed}}}".encode()


def annotations_schema() -> tuple[str, str, bytes]:
    """Return name, encoding and text of the schema by which viewers know these messages."""
    number: dict[str, Any] = {"type": "number"}
    time = _object(sec={"type": "integer", "minimum": 0}, nsec={"type": "integer", "minimum": 0})
    time["title"] = "time"
    color = _object(r=number, g=number, b=number, a=number)
    place = _object(x=number, y=number)
    circle = _object(
        timestamp=time,
        position=place,
        diameter=number,
        thickness=number,
        fill_color=color,
        outline_color=color,
    )
    points = _object(
        timestamp=time,
        type={"type": "integer"},
        points=_list(place),
        outline_color=color,
        outline_colors=_list(color),
        fill_color=color,
        thickness=number,
    )
    text = _object(
        timestamp=time,
        position=place,
        text={"type": "string"},
        font_size=number,
        text_color=color,
        background_color=color,
    )
    whole = _object(circles=_list(circle), points=_list(points), texts=_list(text))
    whole["title"] = "foxglove.ImageAnnotations"
    return "foxglove.ImageAnnotations", "jsonschema", _json(whole).encode()


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}
