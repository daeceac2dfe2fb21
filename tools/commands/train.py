"""`dscsnet train`, `dscsnet model export` and `renew`: from a configuration to a model folder."""

import logging
from pathlib import Path
from typing import Annotated

import typer

Runs = Annotated[Path, typer.Option(help="Folder that holds the runs, each under its name.")]


def train(
    configurations: Annotated[
        list[Path],
        typer.Argument(help="Training configurations, YAML, or folders of them; one by one."),
    ],
    *,
    runs: Runs = Path("runs"),
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Compile first: minutes, then twice as fast.")
    ] = False,
    data_processes: Annotated[
        int, typer.Option(min=0, help="Processes that draw field crops; for GPUs.")
    ] = 0,
    mixed_precision: Annotated[
        bool, typer.Option("--mixed-precision", help="bfloat16 where it does no harm; for GPUs.")
    ] = False,
) -> None:
    """Train networks; a run that was interrupted goes on, a finished one is left as it is."""
    import torch

    from dscsnet.tools.commands.dataset import progress
    from dscsnet.tools.training.config import find_train_configs, load_train_config
    from dscsnet.tools.training.trainer import Trainer

    logging.basicConfig(level="INFO", format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(threads)
    # All are read before the first is trained: a mistake in the last must not come to light late.
    configs = [load_train_config(path) for path in find_train_configs(configurations)]
    for config in configs:
        trainer = Trainer(
            config,
            runs / config.name,
            device,
            compiled=compiled,
            mixed_precision=mixed_precision,
            data_processes=data_processes,
        )
        with progress(config.name) as tell:
            trainer.run(tell=tell)


def export(
    configuration: Annotated[Path, typer.Argument(help="Training configuration, YAML.")],
    model: Annotated[Path, typer.Argument(help="Model folder to write.")],
    *,
    runs: Runs = Path("runs"),
) -> None:
    """Write the averaged weights of a run as a model folder: ONNX, weights, golden crops, card."""
    from dscsnet.tools.commands.dataset import progress
    from dscsnet.tools.export.model_folder import export_model
    from dscsnet.tools.training.checkpoint import read_run
    from dscsnet.tools.training.config import load_train_config

    config = load_train_config(configuration)
    with progress(f"{config.name}: selection") as tell:
        card = export_model(read_run(runs / config.name, config), model, tell)
    print(f"{model}: {card.name}, {card.training.crops:,} crops seen")


def renew(
    models: Annotated[list[str], typer.Argument(help="Shipped models or model folders.")],
) -> None:
    """Export the networks of models again from their weights; nothing else of them changes."""
    from dscsnet.tools.export.renewal import renew_network

    for name in models:
        error = renew_network(name)
        print(f"{name}: renewed; relative error {error:.1e} against the float64 reference")
