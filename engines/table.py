"""Tables of NumPy columns, as programs in Python get them."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

#: Rows that a table shows of itself.
MOST_SHOWN = 10


class Table:
    """Columns of one length; a table is a frozen dataclass of arrays that derives from this."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.to_dict().values())))

    def __repr__(self) -> str:
        """Return the first rows as text, numbers to five digits."""
        name, rows = type(self).__name__, len(self)
        if not rows:
            return f"{name}: no rows"
        shown = min(rows, MOST_SHOWN)
        texts = [[key, *map(_text, c[:shown].tolist())] for key, c in self.to_dict().items()]
        widths = [max(map(len, column)) for column in texts]
        lines = (
            "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True))
            for line in zip(*texts, strict=True)
        )
        more = [f"... and {rows - shown} more"] if rows > shown else []
        return "\n".join([f"{name}: {rows} row{'s' * (rows > 1)}", *lines, *more])

    def to_dict(self) -> dict[str, Any]:
        """The arrays by name: `pandas.DataFrame` and `polars.DataFrame` take it as it is."""
        assert is_dataclass(self), "every table is a dataclass"
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def take(self, rows: NDArray[Any] | Sequence[int] | slice) -> Self:
        """Some of the rows, as NumPy indexes: by a mask, by row numbers or by a slice."""
        chosen = rows if isinstance(rows, slice) else np.asarray(rows)
        if not isinstance(chosen, slice) and not chosen.size:
            chosen = chosen.astype(np.intp)
        return type(self)(**{name: column[chosen] for name, column in self.to_dict().items()})


def _text(value: float) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
