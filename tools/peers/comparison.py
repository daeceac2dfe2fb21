"""Rows of others beside rows of ours, and by how much ours are ahead."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec

from dscsnet.tools.bench.in_turn import Speed


@dataclass(frozen=True)
class Row:
    """One way to do it.

    Attributes:
        figures: what it found, as text; empty where only the speed is compared.
    """

    name: str
    speed: Speed
    figures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """One table.

    Attributes:
        unit: what is done, in the plural.
        rows: ours first.
        references: names of the rows of ours that the others are set against.
        columns: names of the rows' figures.
        missing: a line for each peer that is not installed: how to get it.
        note: what a reader must know.
    """

    title: str
    unit: str
    rows: Sequence[Row]
    references: Sequence[str]
    note: str
    columns: Sequence[str] = ()
    missing: Sequence[str] = field(default_factory=list)

    def ahead(self, row: Row) -> list[float]:
        """How many times its items each reference does in the same processor time."""
        speeds = {each.name: each.speed.cpu for each in self.rows}
        return [speeds[name] / row.speed.cpu for name in self.references]


def rows(
    speeds: Mapping[str, Speed], figures: Mapping[str, tuple[str, ...]] | None = None
) -> list[Row]:
    """In their order."""
    return [Row(name, speed, (figures or {}).get(name, ())) for name, speed in speeds.items()]


def absent(peer: str, modules: Iterable[str], command: str) -> list[str]:
    """Empty where all modules can be imported; else the line that says how to get them."""
    lacking = [name for name in modules if find_spec(name) is None]
    if not lacking:
        return []
    return [f"{peer}: left out, {' and '.join(lacking)} not installed: {command}"]
