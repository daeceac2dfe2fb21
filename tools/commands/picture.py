"""`dscsnet picture`: what a node found in recorded frames."""

from pathlib import Path
from typing import Annotated

import typer


def picture(
    source: Annotated[str, typer.Argument(help="What was replayed: folder, glob, array or video.")],
    targets: Annotated[
        Path, typer.Argument(help="What `dscsnet listen --format jsonl` wrote of that replay.")
    ],
    output: Annotated[Path, typer.Argument(help="PNG file to write.")],
    *,
    frame: Annotated[
        list[int] | None, typer.Option(help="Frame to show, from 0; repeatable. Default: 4 of all.")
    ] = None,
) -> None:
    """Draw recorded frames with their candidates, and some of these enlarged with their targets."""
    from dscsnet.pipeline.errors import SourceError
    from dscsnet.pipeline.sources import open_source
    from dscsnet.tools.drawing.canvas import save_picture
    from dscsnet.tools.show.answers_picture import draw_answers, read_answers

    answers = read_answers(targets)
    if not answers:
        raise SourceError(f"{targets}: no targets messages in this file")
    known = sorted(answers)
    chosen = frame or [known[round(k * (len(known) - 1) / 3)] for k in range(4)]
    rows = []
    with open_source(source, allow_mixed_sizes=True) as frames:
        for item in frames:
            if item.index in chosen and item.index in answers:
                rows.append((item.index, item.pixels, answers[item.index]))
    if not rows:
        raise SourceError(f"{source}: none of the frames {chosen} is there and has an answer")
    save_picture(output, draw_answers(rows))
    print(f"{output}: frames {', '.join(str(row[0]) for row in rows)}")
