"""`dscsnet train` and `dscsnet model export`: from a configuration to a model folder."""

import logging
from pathlib import Path
from typing import Annotated

import typer

Configuration = Annotated[Path, typer.Argument(help="Training configuration, YAML.")]
Folder = Annotated[
    Path | None, typer.Option("-f", "--folder", help="Folder of the run. Default: runs/NAME.")
]


def train(
    configuration: Configuration,
    *,
    folder: Folder = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1 ...")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="Compile first: minutes, then twice as fast.")
    ] = False,
) -> None:
    """Train a network, or go on with a run that was interrupted."""
    import torch

    from tools.train_config import load_train_config
    from tools.training import Trainer

    logging.basicConfig(level="INFO", format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    torch.set_num_threads(threads)
    config = load_train_config(configuration)
    Trainer(config, folder or Path("runs") / config.name, device, compiled=compiled).run()


def export(
    configuration: Configuration,
    model: Annotated[Path, typer.Argument(help="Model folder to write.")],
    *,
    folder: Folder = None,
) -> None:
    """Write the averaged weights of a run as a model folder: ONNX, weights, golden crops, card."""
    from tools.export import export_model
    from tools.train_config import load_train_config
    from tools.training import Trainer

    config = load_train_config(configuration)
    trainer = Trainer(config, folder or Path("runs") / config.name)
    card = export_model(trainer, model)
    print(f"{model}: {card.name}, {card.training.crops:,} crops seen")
