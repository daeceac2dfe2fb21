"""`dscsnet faults`: what the node does when its surroundings fail, as a table."""

from pathlib import Path
from typing import Annotated

import typer


def faults(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FAULT]...", help="Only these; --list shows their names."),
    ] = None,
    *,
    seconds: Annotated[
        float, typer.Option(min=0.5, help="How long each fault lasts, seconds.")
    ] = 10.0,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Markdown file to write the table to.")
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="Print the names, and exit.")] = False,
) -> None:
    """Commit faults against a running node and check that its books balance; takes minutes.

    Ends with 1 if a frame was lost silently or frames were not back within 2 s.
    """
    from dscsnet.engines.errors import DscsnetError
    from dscsnet.tools.trials.fault_list import FAULTS
    from dscsnet.tools.trials.fault_report import is_sound, report
    from dscsnet.tools.trials.faults import commit

    if only_list:
        for fault in FAULTS:
            print(f"{fault.name:<20}{fault.title}")
        return
    known = {fault.name: fault for fault in FAULTS}
    if unknown := [name for name in names or () if name not in known]:
        raise typer.BadParameter(f'no fault "{unknown[0]}"; there are {", ".join(known)}')
    command = " ".join(["dscsnet faults", *(names or ()), f"--seconds {seconds:g}"])
    outcomes = []
    for outcome in commit([known[name] for name in names or known], seconds):
        outcomes.append(outcome)
        print(
            f"{outcome.fault.title}: {outcome.deed.did}; {outcome.received} received, "
            f"{outcome.published} published, {outcome.silent} lost silently, back after "
            f"{outcome.deed.recovery_s:.2f} s",
            flush=True,
        )
        if out is not None:
            out.write_text(report(outcomes, seconds, command))
    if bad := [outcome.fault.name for outcome in outcomes if not is_sound(outcome)]:
        raise DscsnetError(f"these faults are not borne: {', '.join(bad)}")
