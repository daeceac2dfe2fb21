"""`python -m dscsnet.tools.gpu prove FOLDER` and `... train FOLDER CONFIG...`; see docs/gpu.md."""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from dscsnet.engines.errors import DscsnetError
from dscsnet.tools.gpu.visit import measure_node, measure_runtimes, measure_training, prove, train


def main(arguments: list[str] | None = None) -> None:
    """Run one part of a visit."""
    parser = argparse.ArgumentParser(prog="python -m dscsnet.tools.gpu", description=__doc__)
    parser.add_argument("part", choices=("prove", "training", "runtimes", "node", "train"))
    parser.add_argument("folder", type=Path, help="for reports, or for runs and their checkpoints")
    parser.add_argument("configs", type=Path, nargs="*", help="training configurations, in order")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=400.0, help="of training")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--mixed-precision", action="store_true")
    given = parser.parse_args(arguments)
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("this needs a GPU that PyTorch can use")
    logging.basicConfig(level="INFO", format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    parts: dict[str, Callable[[Path, str], None]] = {
        "prove": prove,
        "training": measure_training,
        "runtimes": measure_runtimes,
        "node": measure_node,
    }
    if given.part in parts:
        parts[given.part](given.folder, given.device)
        return
    if not given.configs:
        parser.error("train: give training configurations")
    options = {"compiled": given.compiled, "mixed_precision": given.mixed_precision}
    try:
        train(given.folder, given.configs, given.device, given.seconds, **options)
    except DscsnetError as error:
        sys.exit(f"dscsnet: {error}")


if __name__ == "__main__":
    main()
