"""Makes the reference of the Python interface from its docstrings: python docs/reference.py FOLDER

Warnings are errors. pdoc spells NumPy's names for arrays out as all that they stand for, which
fills pages; here they keep their names.
"""

import inspect
import sys
import warnings
from pathlib import Path
from typing import Any

import pdoc
from numpy.typing import ArrayLike, NDArray
from pdoc.render import configure, env

import dscsnet

spell = inspect.formatannotation
#: What is spelt out, and the name for it, longest first.
NAMES = (
    (spell(ArrayLike), "ArrayLike"),
    (spell(ArrayLike).removeprefix("Union[").removesuffix("]"), "ArrayLike"),
    (spell(NDArray[Any]), "NDArray"),
)


class Named:
    """An annotation that is shown as a text."""

    def __init__(self, annotation: Any) -> None:
        self.text = spell(annotation)
        for long, name in NAMES:
            self.text = self.text.replace(long, name)
        if self.text.startswith("Union["):
            kinds = self.text.removeprefix("Union[").removesuffix("]")
            self.text = kinds.replace(", ", " | ").replace("NoneType", "None")

    def __repr__(self) -> str:
        return self.text


def with_names(signature: inspect.Signature, colon: bool) -> Any:
    """The signature as HTML."""
    parameters = [
        each if each.annotation is each.empty else each.replace(annotation=Named(each.annotation))
        for each in signature.parameters.values()
    ]
    return format_signature(signature.replace(parameters=parameters), colon)


warnings.simplefilter("error")
for public in dscsnet.__all__:  # each is loaded when it is asked for
    getattr(dscsnet, public)
format_signature = env.filters["format_signature"]
env.filters["format_signature"] = with_names
configure(docformat="google", footer_text=f"dscsnet {dscsnet.__version__}")
pdoc.pdoc("dscsnet", output_directory=Path(sys.argv[1]))
