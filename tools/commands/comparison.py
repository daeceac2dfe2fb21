"""`dscsnet evaluate --table`: trained runs and classical methods beside the paper's figures."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

#: Crops for the PSF fit, which takes milliseconds for each.
CROPS_FITTED = 2000


def print_comparison(
    runs: Sequence[Path], protocol: Path, *, crops: int, seed: int, markdown: Path | None
) -> None:
    """Measure, print two tables, and write them as Markdown where asked to."""
    from dscsnet.tools.evaluation.comparison import compare, find_runs
    from dscsnet.tools.evaluation.comparison_table import markdown as as_markdown
    from dscsnet.tools.evaluation.comparison_table import print_sheet, sheets
    from dscsnet.tools.training.config import load_crop_protocol

    progress = Console(stderr=True, highlight=False)
    entries = compare(
        find_runs(runs),
        protocol=load_crop_protocol(protocol),
        crops=crops,
        crops_fitted=CROPS_FITTED,
        seed=seed,
        tell=lambda line: progress.print(line, soft_wrap=True),
    )
    tables, notes = sheets(entries), _notes(protocol, crops, seed)
    console = Console(highlight=False)
    for table in tables:
        print_sheet(console, table)
    console.print(notes, soft_wrap=True)
    if markdown:
        listed = "\n".join(f"- {line}" for line in notes.splitlines())
        text = "\n".join(["# Comparison of methods\n", *map(as_markdown, tables), listed, ""])
        markdown.parent.mkdir(parents=True, exist_ok=True)
        markdown.write_text(text, encoding="utf-8")


def _notes(protocol: Path, crops: int, seed: int) -> str:
    """What a reader of the tables must know, line by line."""
    import torch

    from dscsnet.tools.evaluation.comparison import THRESHOLD
    from dscsnet.tools.host.machine import describe

    return (
        f"{crops:,} simulated crops never trained on, protocol of {protocol}, seed {seed}, drawn "
        f"exactly; cells above {THRESHOLD:g} counts are targets, their counts the score.\n"
        "The simulator stands in for CSIST-100K. The paper's figures are of that data set, after "
        "250 epochs of 80,000 crops; ours were trained as the budget says.\n"
        f"crops/s: of processor time; PyTorch {torch.__version__}, eager, batch 64, one thread, "
        "this run.\n"
        f"{describe()}"
    )
