"""From the stored frames to answers, through what the node has between its inputs and its output.

Each case is an engine as a configuration names it, and the frames that it is shown.
"""

import math
from typing import Any, NamedTuple

from dscsnet.engines.opening import open_engine
from dscsnet.engines.psf_fit_settings import PsfFitSettings
from dscsnet.engines.sensor import Sensor
from dscsnet.pipeline.join import Ticket
from dscsnet.pipeline.messages import Detections, EngineInfo, Frame, FrameKey, Targets
from dscsnet.pipeline.unmix import Stages
from dscsnet.pipeline.worker import Worker
from tests.golden.frames import GoldenFrame, load_frames

#: Columns of an answer by table: whole numbers, and the rest.
Answer = dict[str, dict[str, list[float]]]


class Case(NamedTuple):
    """What is shown to which engine.

    Attributes:
        model: name, as a configuration gives it.
        frames: names of the stored frames, in one batch.
        psf: sigma along x and y, px; None: the engine's own.
        least_existence, psf_fit: as `open_engine` takes them.
    """

    model: str
    frames: tuple[str, ...]
    psf: tuple[float, float] | None = None
    least_existence: float | None = None
    psf_fit: PsfFitSettings | None = None


CASES = {
    "csist100k-compact": Case("csist100k-compact", ("csist",)),
    "csist100k-mlp": Case("csist100k-mlp", ("csist",)),
    "csist100k-unfolded": Case("csist100k-unfolded", ("csist",)),
    "field-mlp": Case("field-mlp", ("field", "scene"), psf=(0.6, 0.6)),
    "field-mlp-further": Case(
        "field-mlp", ("elliptical", "scene"), psf=(0.55, 0.8), least_existence=0.05
    ),
    "field-unfolded": Case("field-unfolded", ("field", "scene"), psf=(0.6, 0.6)),
    "field-unfolded-further": Case(
        "field-unfolded", ("elliptical", "scene"), psf=(0.55, 0.8), least_existence=0.05
    ),
    "psf-fit": Case("psf-fit", ("field", "scene"), psf_fit=PsfFitSettings(sigma_x=0.6)),
    "psf-fit-free-width": Case(
        "psf-fit",
        ("field", "elliptical"),
        psf_fit=PsfFitSettings(
            sigma_x=0.55, sigma_y=0.7, width_prior=0.1, most=4, starts=6, seed=3, reach=4.0
        ),
    ),
    "psf-fit-table": Case(
        "psf-fit",
        ("elliptical", "scene"),
        psf_fit=PsfFitSettings(crop_size=9, sigma_x=0.8, sigma_y=0.55, angle=70.0, starts=3),
    ),
    "scene-compact": Case("scene-compact", ("scene", "field")),
}


def run_case(case: Case) -> dict[str, Answer]:
    """The answers of a case's frames, by the frames' names."""
    engine = open_engine(
        case.model,
        "onnxruntime",
        threads=1,
        sensor=None if case.psf is None else Sensor.gaussian(*case.psf),
        psf_fit=case.psf_fit,
        least_existence=case.least_existence,
    )
    try:
        return {name: columns_of(t) for name, t in run_frames(engine, case.frames).items()}
    finally:
        engine.close()


def run_frames(engine: Any, names: tuple[str, ...]) -> dict[str, Targets]:
    """The messages of some stored frames, unmixed in one batch as the node does by default."""
    stored = load_frames()
    frames = {name: stored[name] for name in names}
    messages: dict[str, Targets] = {}
    for masked in (False, True):
        # A mask is one camera's, so frames with bad pixels go through a node of their own.
        chosen = {name: frame for name, frame in frames.items() if frame.bad.any() == masked}
        if not chosen:
            continue
        unmixing = Stages(
            engine,
            merge_radius=3.0,
            crops_per_frame=64,
            crops_per_run=256,
            bad_pixels=next(iter(chosen.values())).bad if masked else None,
        )
        tickets = [_ticket(name, frame) for name, frame in chosen.items()]
        worker = Worker(unmixing, EngineInfo(runtime="", model="", sha256="", psf_sigma=0.5))
        worker.process(tickets, lambda t, answer: messages.update({t.key.stream: answer}))
    return messages


def _ticket(name: str, frame: GoldenFrame) -> Ticket:
    key = FrameKey(name, bytes(16), 0)
    columns = {field: getattr(frame, field).tolist() for field in ("x", "y", "score")}
    boxes = {field: getattr(frame, field).tolist() for field in ("width", "height")}
    saturation = None if math.isnan(frame.saturation) else float(frame.saturation)
    return Ticket(
        key,
        0,
        0,
        frame=Frame(*key, 0, pixels=frame.pixels, saturation=saturation),
        detections=Detections(*key, 0, **columns, **boxes),
    )


def columns_of(message: Targets) -> Answer:
    """The tables of an answer; a failed one is no answer.

    Raises:
        AssertionError: the frame was not unmixed.
    """
    assert message.status == "ok", message.reason
    tables = {"spots": message.spots, "targets": message.targets}
    return {
        name: {column: getattr(table, column) for column in table.__struct_fields__}
        for name, table in tables.items()
    }
