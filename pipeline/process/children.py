"""Child processes that run this very code, whatever the user's PYTHONPATH holds."""

import os
from pathlib import Path

import dscsnet

SOURCES = Path(dscsnet.__file__).parents[1]


def environment() -> dict[str, str]:
    """This process's environment, with the code that it runs first on PYTHONPATH."""
    paths = [str(SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
