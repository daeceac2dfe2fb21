"""Truth and answers built by hand, for the tests of scoring and picture."""

from collections.abc import Callable, Sequence
from math import nan
from typing import Literal

import pytest

from dscsnet.pipeline.messages import EngineInfo, Spots, Targets, TargetTable, Timing
from dscsnet.tools.demo.scene_truth import TrueFrame, TrueTargets

EPOCH = bytes(range(16))

Row = tuple[float, float, float]


def _true_frame(clusters: Sequence[Sequence[Row]], frame_id: int = 0) -> TrueFrame:
    rows = [(number, *row) for number, rows in enumerate(clusters) for row in rows]
    cluster, x, y, intensity = map(list, zip(*rows, strict=True)) if rows else ([], [], [], [])
    return TrueFrame("cam0", EPOCH.hex(), frame_id, TrueTargets(cluster, x, y, intensity))


def _published(
    spots: Sequence[tuple[float, float]],
    targets: Sequence[Row] = (),
    frame_id: int = 0,
    status: Literal["ok", "empty", "no_detections", "no_frame", "dropped", "error"] = "ok",
) -> Targets:
    count, number = len(spots), len(targets)
    return Targets(
        stream="cam0",
        epoch=EPOCH,
        frame_id=frame_id,
        timestamp_ns=0,
        status=status,
        spots=Spots(
            id=list(range(count)),
            x=[float(x) for x, _ in spots],
            y=[float(y) for _, y in spots],
            count=[0] * count,
            background=[1000.0] * count,
            noise=[5.0] * count,
            chi2=[1.0] * count,
            flags=[0] * count,
        ),
        targets=TargetTable(
            spot=[0] * number,
            x=[float(x) for x, _, _ in targets],
            y=[float(y) for _, y, _ in targets],
            intensity=[float(intensity) for _, _, intensity in targets],
            score=[1.0] * number,
            sigma_x=[nan] * number,
            sigma_y=[nan] * number,
            sigma_intensity=[nan] * number,
        ),
        engine=EngineInfo("fake runtime", "fake model", "0" * 64, 0.5),
        timing=Timing(1_000_000, 2_000_000, 3_000_000, 4_000_000, 10_000_000),
    )


@pytest.fixture(scope="session")
def true_frame() -> Callable[..., TrueFrame]:
    """Makes a frame of clusters of targets, each (x, y, intensity); takes its `frame_id`, too."""
    return _true_frame


@pytest.fixture(scope="session")
def published() -> Callable[..., Targets]:
    """Makes an answer of candidates (x, y) and targets (x, y, intensity); by default status ok."""
    return _published
