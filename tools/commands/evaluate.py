"""`dscsnet evaluate`: measure a model on simulated crops that it has not seen."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dscsnet.tools.commands.comparison import print_comparison


def evaluate(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL",
            help="Name of a shipped model, or a model folder; with --table folders of runs.",
        ),
    ],
    *,
    protocol: Annotated[
        Path, typer.Option("-p", "--protocol", help="Training configuration with the protocol.")
    ] = Path("configs/train/csist100k-compact.yaml"),
    crops: Annotated[
        int | None, typer.Option(min=1, help="Crops to draw. Default: 2000, with --table 10000.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the crops.")] = 1234,
    data: Annotated[
        Path | None,
        typer.Option(help="Split of a data set laid out as CSIST-100K, in place of fresh crops."),
    ] = None,
    noise: Annotated[
        list[float] | None,
        typer.Option(min=0, help="Noise sigma in counts in place of the protocol's; repeatable."),
    ] = None,
    field: Annotated[
        Path | None,
        typer.Option(help="Folder of real frames: implant clusters and run the whole chain."),
    ] = None,
    robustness: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Draw what sensors may give (brightness, widths, shapes, edges, boxes, ...): "
            "'*', or the situations whose name matches, such as 'ellipse*'.",
        ),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            help="With --field or --robustness: another model beside it; repeatable. "
            "With --field also scipy-fit."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="With --field or --robustness: folder for the report and its pictures."),
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0: one a core.")] = 0,
    write: Annotated[
        bool, typer.Option("--write", help="Write the figures into the model's card.")
    ] = False,
    table: Annotated[
        bool, typer.Option("--table", help="Compare trained runs and classical methods.")
    ] = False,
    markdown: Annotated[
        Path | None, typer.Option(help="With --table: write the tables as Markdown, too.")
    ] = None,
) -> None:
    """Measure CSO-mAP, count accuracy and errors by number of targets."""
    if table:
        if data or write:
            raise typer.BadParameter("--table measures runs, so it excludes --data and --write")
        runs = [Path(folder) for folder in models]
        print_comparison(runs, protocol, crops=crops or 10_000, seed=seed, markdown=markdown)
        return
    if len(models) > 1 or markdown:
        raise typer.BadParameter("several models, or --markdown, need --table")
    if robustness is not None:
        from dscsnet.tools.commands.robustness import run_robustness

        if field or data or write:
            raise typer.BadParameter("--robustness excludes --field, --data and --write")
        run_robustness([models[0], *(reference or ())], robustness, seed, out, threads or 1)
    elif field:
        from dscsnet.tools.commands.field import run_field

        run_field(
            models[0],
            field,
            crops=crops or 2000,
            seed=seed,
            out=out,
            threads=threads or 1,
            references=reference or (),
            write=write,
        )
    elif data:
        if write:
            raise typer.BadParameter("--write takes fresh crops, so it excludes --data")
        _evaluate_data(models[0], data, threads)
    else:
        _evaluate_model(models[0], protocol, crops or 2000, seed, noise, threads, write)


def _evaluate_model(
    model: str,
    protocol: Path,
    crops: int,
    seed: int,
    noise: list[float] | None,
    threads: int,
    write: bool,
) -> None:
    import msgspec

    from dscsnet.engines.model import write_card
    from dscsnet.engines.model_engine import ModelEngine
    from dscsnet.engines.opening import open_engine
    from dscsnet.tools.evaluation.simulated_crops import evaluate as run
    from dscsnet.tools.training.config import load_crop_protocol

    engine = open_engine(model, threads=threads)
    settings = load_crop_protocol(protocol)
    figures = {"crops": float(crops), "seed": float(seed)}
    levels: list[float | None] = [*noise] if noise else [None]
    for level in levels:
        report = run(engine, settings, crops=crops, seed=seed, noise=level)
        what = f"{crops} crops, seed {seed}" + ("" if level is None else f", noise {level:g}")
        _print(report, engine.name, what)
        mark = "" if level is None else f"_noise{level:g}"
        figures |= {f"{name}{mark}": value for name, value in report.figures().items()}
    if write:
        if not isinstance(engine, ModelEngine):
            raise typer.BadParameter(f"{model} has no card to write to")
        card = msgspec.structs.replace(engine.model.card, measured=figures)
        write_card(card, engine.model.folder)


def _evaluate_data(model: str, data: Path, threads: int) -> None:
    from dscsnet.engines.opening import open_engine
    from dscsnet.tools.commands.dataset import progress
    from dscsnet.tools.dataset.reader import load_dataset
    from dscsnet.tools.evaluation.simulated_crops import evaluate_scenes

    engine = open_engine(model, threads=threads)
    with progress("reading") as tell:
        scenes = load_dataset(data, progress=tell)
    report = evaluate_scenes(engine, scenes)
    _print(report, engine.name, f"{len(scenes.x)} crops of {data}")


def _print(report: "Report", name: str, what: str) -> None:  # type: ignore[name-defined]  # noqa: F821
    console = Console()
    values = "  ".join(f"{value:.2f}" for value in report.precision.by_distance)
    console.print(f"{name}: CSO-mAP {report.precision.cso_map:.2f}  AP05..AP25 {values}  ({what})")
    table = Table(
        *("targets", "crops", "found %", "count right %", "position RMS px", "intensity error %"),
        box=None,
    )
    for label, row in [*report.by_count.items(), ("all", report.overall)]:
        table.add_row(
            str(label),
            str(row.crops),
            f"{100 * row.recall:.1f}",
            f"{100 * row.count_accuracy:.1f}",
            f"{row.position_rms:.3f}",
            f"{100 * row.intensity_error:.1f}",
        )
    console.print(table)
    one, two = (100 * share for share in report.coverage)
    console.print(
        f"positions within 1 and 2 sigma: {one:.1f} and {two:.1f} %; "
        f"ranked by intensity: {report.by_intensity.cso_map:.2f}; "
        f"in doubt: {100 * report.doubted:.1f} %; "
        f"{report.crops_per_s:,.0f} crops/s of processor time"
    )
