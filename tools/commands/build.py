"""`dscsnet model build` and `dscsnet model precision`: engines for GPUs, and what fp16 costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from dscsnet.engines.runtime_names import Precision
    from dscsnet.engines.runtimes.tensorrt import Target
    from dscsnet.tools.evaluation.precision import PrecisionCost

Names = Annotated[
    list[str] | None, typer.Argument(help="Shipped models or model folders.", show_default=False)
]
All = Annotated[bool, typer.Option("--all", help="Every shipped model.")]


def build(
    names: Names = None,
    *,
    every: All = False,
    precision: Annotated[
        Literal["fp16", "fp32", "both"], typer.Option(help="Of the layers; see docs/gpu.md.")
    ] = "fp16",
    capability: Annotated[
        list[str] | None,
        typer.Option(
            help="Compute capability to compile for without such a GPU, like 8.6; repeatable; "
            "TensorRT-RTX only. Default: the GPU of this machine.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[int, typer.Option(min=0, help="Number of this machine's GPU.")] = 0,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of compiled engines. Default: $DSCSNET_CACHE, else ~/.cache."),
    ] = None,
) -> None:
    """Compile models with TensorRT and keep them, so that no node has to when it starts."""
    from dscsnet.engines.model import load_model
    from dscsnet.engines.runtimes.tensorrt import (
        BuildSettings,
        EngineCache,
        compiled_engine,
        load_library,
    )

    models = [load_model(name) for name in _chosen(names, every=every)]
    trt, kept = load_library(), EngineCache(cache)
    targets = _targets(trt, capability, device)
    precisions: tuple[Precision, ...] = ("fp16", "fp32") if precision == "both" else (precision,)
    for model in models:
        for kind in precisions:
            for target in targets:
                settings = BuildSettings(kind, capability=target.capability)
                plan = compiled_engine(trt, model, settings, target, kept, print)
                size = len(plan) / 2**20
                print(f"{model.card.name} {kind} for {target.device}: {size:.1f} MiB, ready")
    print(f"in {kept.folder}")


def precision(
    names: Names = None,
    *,
    every: All = False,
    crops: Annotated[int, typer.Option(min=100, help="Crops of each model's protocol.")] = 2000,
    markdown: Annotated[
        Path | None, typer.Option(help="Write the table to this file, too.", show_default=False)
    ] = None,
) -> None:
    """Measure without a GPU what fp16 engines lose: minutes a model."""
    from dscsnet.tools.commands.dataset import progress
    from dscsnet.tools.evaluation.precision import precision_cost

    chosen = _chosen(names, every=every)
    costs = []
    for name in chosen:
        with progress(name) as tell:
            costs.append(precision_cost(name, crops, tell))
    table = Table(*COLUMNS, box=None)
    for cost in costs:
        table.add_row(*_cells(cost))
    Console().print(table)
    if markdown:
        rows = [COLUMNS, ("---",) * len(COLUMNS), *(_cells(cost) for cost in costs)]
        markdown.write_text("".join(f"| {' | '.join(row)} |\n" for row in rows))


COLUMNS = ("model", "crops", "error fp32", "error fp16", "CSO-mAP fp32", "fp16", "99 % move, px")


def _cells(cost: "PrecisionCost") -> tuple[str, ...]:
    return (
        cost.model,
        f"{cost.crops:,}",
        *(f"{cost.errors[kind]:.1e}" for kind in ("fp32", "fp16")),
        *(f"{cost.cso_map[kind]:.2f}" for kind in ("fp32", "fp16")),
        f"{cost.moved:.4f}",
    )


def _chosen(names: list[str] | None, *, every: bool) -> list[str]:
    from dscsnet.engines.model import shipped_models

    if every and names:
        raise typer.BadParameter("give names or --all, not both")
    if not every and not names:
        raise typer.BadParameter("name a model, or give --all")
    return names or shipped_models()


def _targets(trt: object, capability: list[str] | None, device: int) -> "list[Target]":
    from dscsnet.engines.errors import ModelError
    from dscsnet.engines.runtimes.driver import require_driver
    from dscsnet.engines.runtimes.tensorrt import Target, capabilities, find_device, load_pycuda

    if capability:
        return [Target.of_capability(each) for each in capability]
    known = ", ".join(capabilities(trt))  # type: ignore[arg-type]
    try:
        require_driver()
        return [Target.of_device(trt, find_device(load_pycuda(), device))]  # type: ignore[arg-type]
    except ModelError as error:
        hint = (
            f"name what to compile for: --capability, one of {known}"
            if known
            else ("TensorRT compiles on the GPU's own machine; tensorrt_rtx does without")
        )
        raise ModelError(f"{error}; {hint}") from None
