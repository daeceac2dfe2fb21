"""What viewers draw over a frame: each mark at its place, of its size and colour."""

import json
from math import nan

import msgspec

from dscsnet.pipeline.messages import EngineInfo, Spots, Targets, TargetTable, Timing
from dscsnet.pipeline.recording.annotations import annotate, annotations_schema

YELLOW = {"r": 1.0, "g": 0.85, "b": 0.2, "a": 0.6}
GREY = {"r": 0.6, "g": 0.6, "b": 0.6, "a": 0.6}
GREEN = {"r": 0.2, "g": 1.0, "b": 0.4, "a": 1.0}
CLEAR = {"r": 0.0, "g": 0.0, "b": 0.0, "a": 0.0}
TIME = {"sec": 1_700_000_000, "nsec": 5}

MESSAGE = Targets(
    stream="cam",
    epoch=bytes(16),
    frame_id=1,
    timestamp_ns=1_700_000_000_000_000_005,
    status="ok",
    spots=Spots(
        id=[0, 1],
        x=[10.0, 30.25],
        y=[20.0, 40.5],
        count=[1, 3],
        background=[1.0, 1.0],
        noise=[1.0, 1.0],
        chi2=[1.0, 1.0],
        flags=[0, 4],
    ),
    targets=TargetTable(
        spot=[0],
        x=[10.125],
        y=[19.875],
        intensity=[1234.6],
        score=[1.0],
        sigma_x=[nan],
        sigma_y=[nan],
        sigma_intensity=[nan],
    ),
    engine=EngineInfo("none", "none", "", 0.5),
    timing=Timing(1, 2, 3, 4, 10),
)


def circle(x: float, y: float, diameter: float, colour: dict[str, float]) -> dict[str, object]:
    """Viewers count from the corner of the first pixel: half a pixel further."""
    return {
        "timestamp": TIME,
        "position": {"x": x + 0.5, "y": y + 0.5},
        "diameter": diameter,
        "thickness": 0.25,
        "fill_color": CLEAR,
        "outline_color": colour,
    }


def text(x: float, y: float, words: str, colour: dict[str, float]) -> dict[str, object]:
    return {
        "timestamp": TIME,
        "position": {"x": x + 0.5, "y": y + 0.5},
        "text": words,
        "font_size": 3.0,
        "text_color": colour,
        "background_color": CLEAR,
    }


def test_spots_are_as_wide_as_their_crops_and_targets_as_a_pixel() -> None:
    found = json.loads(annotate(MESSAGE))
    assert found["circles"] == [
        circle(10, 20, 11.0, YELLOW),
        circle(30.25, 40.5, 11.0, GREY),
        circle(10.125, 19.875, 1.0, GREEN),
    ]
    assert found["points"] == []
    # A number stands at the corner of its spot's square, an intensity a pixel to the right.
    assert found["texts"] == [
        text(10 - 5.5, 20 - 5.5, "1", YELLOW),
        text(30.25 - 5.5, 40.5 - 5.5, "3?", GREY),
        text(11.125, 19.875, "1235", GREEN),
    ]


def test_without_targets_the_last_marks_are_cleared() -> None:
    nothing = msgspec.structs.replace(
        MESSAGE,
        spots=Spots(*([] for _ in Spots.__struct_fields__)),
        targets=TargetTable(*([] for _ in TargetTable.__struct_fields__)),
    )
    assert json.loads(annotate(nothing)) == {"circles": [], "points": [], "texts": []}


def test_the_schema_knows_every_field() -> None:
    name, kind, content = annotations_schema()
    assert (name, kind) == ("foxglove.ImageAnnotations", "jsonschema")
    schema = json.loads(content)
    found = json.loads(annotate(MESSAGE))

    def covered(value: object, known: dict[str, object]) -> bool:
        if isinstance(value, dict):
            properties = known["properties"]
            assert isinstance(properties, dict)
            return known["type"] == "object" and all(
                key in properties and covered(each, properties[key]) for key, each in value.items()
            )
        if isinstance(value, list):
            items = known["items"]
            assert isinstance(items, dict)
            return known["type"] == "array" and all(covered(each, items) for each in value)
        kinds = {str: {"string"}, int: {"integer", "number"}, float: {"number"}}
        return known["type"] in kinds[type(value)]

    assert covered(found, schema)
    times = schema["properties"]["circles"]["items"]["properties"]["timestamp"]
    assert times["title"] == "time"
    assert {each["minimum"] for each in times["properties"].values()} == {0}
