"""A result of the benchmark, each of its figures another one."""

import math
from dataclasses import replace

from dscsnet.tools.field.benchmark import FieldResult, OddSet, Reference
from dscsnet.tools.field.chain import Speed
from dscsnet.tools.field.report import Coverage, Empties, FieldReport, Found

FOUND = Found(100, 90, 50.25, 51.0, 60.5, 61.75)
SPEED = Speed(12345.6, 2000.4, 30_000.0, 1500.0)


def field_report(**changes: object) -> FieldReport:
    given = {
        "crops": 400,
        "cso_map": 41.0,
        "ap_near": 42.0,
        "overall": FOUND,
        "by_snr": {"5-10": FOUND, "10-30": replace(FOUND, true=7)},
        "by_number": {1: FOUND, 2: replace(FOUND, true=8)},
        "count_accuracy": 43.0,
        "count_by_number": {0: 44.0, 1: 45.0, 2: math.nan},
        "kept": 46.0,
        "doubted": 47.0,
        "random_places": Empties(10, 0.125, 48.0, 49.0),
        "bright_peaks": Empties(10, 0.25, 50.0, 51.0),
        "position_rms": 0.1234,
        "intensity_median": 5.5,
        "intensity_rms": 6.5,
        "x": Coverage(60.0, 90.0, 1.0, 0.8),
        "y": Coverage(70.0, 96.0, 1.5, 0.9),
        "intensity": Coverage(math.nan, math.nan, math.nan, math.nan),
        "chi2": (0.5, 1.0, 1.5, 2.25),
    }
    return FieldReport(**(given | changes))  # type: ignore[arg-type]


ODD = OddSet(
    name="hot pixels",
    crops=25,
    doubted=80.0,
    reasons={"misfit": 70.0, "PSF": 20.0, "crowded": 10.0},
    silent=5.0,
    detected=85.0,
    low_score=60.0,
    published=1.25,
    unflagged=0.75,
)
RESULT = FieldResult(
    engine="mine",
    runtime="onnx",
    frames=3,
    crops=400,
    seed=5,
    report=field_report(),
    speed=SPEED,
    variants={"PSF told +5 %": field_report(cso_map=31.0)},
    odd=[ODD],
    references=[
        Reference("other", field_report(cso_map=21.0), SPEED, field_report(cso_map=22.0, crops=30))
    ],
)
