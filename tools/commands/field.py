"""`dscsnet evaluate --field`: measure a model on targets implanted in real frames."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

if TYPE_CHECKING:
    from dscsnet.engines.engine import Engine
    from dscsnet.engines.model_engine import ModelEngine
    from dscsnet.tools.field.benchmark import FieldResult
    from dscsnet.tools.field.chain import Answers
    from dscsnet.tools.field.implant import Samples

WIDEST_TABLE = 150  # characters
#: A reference that is no engine of the node: the blind fit with SciPy.
SCIPY_FIT = "scipy-fit"


def run_field(
    model: str,
    folder: Path,
    *,
    crops: int,
    seed: int,
    out: Path | None,
    threads: int,
    references: Sequence[str] = (),
    reference_crops: int = 1000,
    write: bool = False,
) -> None:
    """Print the field benchmark's report; write it as `field.json` and `field.png`, too.

    Args:
        folder: real frames in `images/`, their annotated targets in `centroids/` (SIRST's layout).
        out: folder to write to, made where it is not there; None: nothing is written.
        threads: of the engine's runtime.
        references: other models, measured on the first `reference_crops` crops; `scipy-fit`, too.
        write: the main figures into the model's card.

    Raises:
        DscsnetError: the folder holds no usable frame, or a model does not work.
    """
    from dscsnet.engines.model_engine import ModelEngine
    from dscsnet.engines.opening import open_engine
    from dscsnet.tools.field.benchmark import draw_samples, run_benchmark
    from dscsnet.tools.field.frames import read_frames
    from dscsnet.tools.field.text import print_result
    from dscsnet.tools.host.machine import describe

    engine = open_engine(model, threads=threads)
    further = _open_further(engine, model, threads)
    others = [_open_reference(name, threads) for name in references]
    notes = Console(stderr=True)
    drawn = draw_samples(read_frames(folder), crops, seed)
    result, answers = run_benchmark(
        engine,
        drawn,
        further=further,
        references=others,
        reference_crops=reference_crops,
        tell=lambda what: notes.print(f"running: {what}", style="dim"),
    )
    # A narrow terminal wraps the widest table; narrower columns would hide its figures.
    console = Console(width=max(WIDEST_TABLE, Console().width))
    console.print(describe(), highlight=False, soft_wrap=True)
    print_result(result, console)
    if out is not None:
        _write_report(out, result, drawn.samples, answers)
        console.print(f"written: {out / 'field.json'}, {out / 'field.png'}", highlight=False)
    if write and isinstance(engine, ModelEngine):
        _write_figures(engine, result, crops, seed)
    for each in (engine, further, *others):
        if each is not None:
            each.close()


def _write_report(
    folder: Path, result: "FieldResult", samples: "Samples", answers: "Answers"
) -> None:
    from dscsnet.tools.drawing.canvas import save_picture
    from dscsnet.tools.field.picture import draw_field

    folder.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(result), indent=2)
    (folder / "field.json").write_bytes(text + b"\n")
    save_picture(folder / "field.png", draw_field(result, samples, answers))


def _write_figures(engine: "ModelEngine", result: "FieldResult", crops: int, seed: int) -> None:
    """The main figures into the model's card."""
    from dscsnet.engines.model import write_card
    from dscsnet.tools.field.report import card_figures

    figures = {**card_figures(result.report), "crops": float(crops), "seed": float(seed)}
    card = msgspec.structs.replace(engine.model.card, measured=figures)
    write_card(card, engine.model.folder)


def _open_further(engine: "Engine", model: str, threads: int) -> "Engine | None":
    """The same model as it publishes further targets, where it can."""
    from dscsnet.engines.model_engine import ModelEngine, gives_further
    from dscsnet.engines.opening import open_engine
    from dscsnet.engines.readouts.score import FURTHER_FROM

    if isinstance(engine, ModelEngine) and gives_further(engine.model.card.readout):
        return open_engine(model, threads=threads, least_existence=FURTHER_FROM)
    return None


def _open_reference(name: str, threads: int) -> "Engine":
    from dscsnet.engines.opening import open_engine

    if name != SCIPY_FIT:
        return open_engine(name, threads=threads)
    from dscsnet.tools.references.scipy_fit import ScipyFitEngine

    return ScipyFitEngine()
