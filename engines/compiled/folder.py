"""The folder of compiled loops: where it lies, what it is named by, and which old ones go.

A folder belongs to one state of all kernel sources, one set of libraries and one kind of processor.
Compiled code is executed as it is found: folders that others can write to are not used.
"""

import contextlib
import functools
import hashlib
import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import llvmlite
import numba
import numpy as np

from dscsnet.engines.files.private import make_private, open_to_others, user_cache

log = logging.getLogger(__name__)

PACKAGES = ("engines", "pipeline", "detector_stub", "tools")
ENDING = ".loop"
ROOT = Path(__file__).parents[2]
#: Folders kept beside the newest: other check-outs, versions and virtual environments have theirs.
KEPT = 10
_NAME = re.compile(r"[0-9a-f]{32}")
#: Settings of numba that change what is compiled.
_SETTINGS = ("OPT", "BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE")


class LoopFolder:
    """Where this process finds and keeps compiled loops; used under numba's compiler lock.

    Args:
        bases: folders that hold the one called `name`, best first.
        name: of 32 hexadecimal digits.
    """

    def __init__(self, bases: Sequence[Path], name: str) -> None:
        self.bases, self.name = bases, name
        self._seen: dict[Path, Path | None] = {}
        self._told: set[str] = set()

    def places(self) -> Iterator[Path]:
        """The folders that are there and that nobody else can write to."""
        for base in self.bases:
            place = base / self.name
            if os.path.isdir(place) and self._open_to_others(place) is None:
                yield place

    @functools.cached_property
    def writable(self) -> Path | None:
        """The first folder that can be written to, made if need be; None: there is none."""
        failures = []
        for base in self.bases:
            place = base / self.name
            try:
                make_private(place)
            except OSError as error:
                failures.append(f"{base}: {error.strerror}")
                continue
            if (foreign := self._open_to_others(place)) is not None:
                failures.append(f"{foreign}: others can write there")
            elif os.access(place, os.W_OK | os.X_OK):
                if failures:
                    self._say_where(place, failures)
                sweep(base, self.name)
                return place
            else:
                failures.append(f"{base}: this user cannot write there")
        self._say_where(None, failures)
        return None

    @property
    def is_empty(self) -> bool:
        """Whether no loop was ever compiled."""
        return not any(any(place.glob(f"*{ENDING}")) for place in self.places())

    def warn(self, kind: str, message: str, *values: object) -> None:
        """Log a warning, once a process for each kind: what befell one file befell many."""
        if kind not in self._told:
            self._told.add(kind)
            log.warning(message, *values)

    def _open_to_others(self, place: Path) -> Path | None:
        """The folder at or above this one that lets others in; looked at once a process."""
        if place not in self._seen:
            try:
                self._seen[place] = open_to_others(place)
            except OSError:  # gone, or hidden
                return place
            with contextlib.suppress(OSError):
                os.utime(place)  # the newest folders are kept: this one is in use
        return self._seen[place]

    def _say_where(self, place: Path | None, failures: list[str]) -> None:
        where = f"in {place.parent}" if place else "by this process alone"
        reasons = "; ".join(failures) or "no folder"
        self.warn("where", "compiled loops are kept %s (%s)", where, reasons)


@functools.cache
def loop_folder(processor: tuple[str, ...]) -> LoopFolder:
    """The folder of this process.

    Args:
        processor: what numba compiles for: triple, processor and its features.
    """
    return LoopFolder(_bases(), folder_name(processor, ROOT))


def folder_name(processor: tuple[str, ...], root: Path) -> str:
    """Name of the folder: 32 digits of a hash over all that compiled loops depend on.

    Args:
        root: folder of the project's packages.
    """
    versions = (sys.implementation.cache_tag, numba.__version__, llvmlite.__version__)
    settings = [f"{name}={getattr(numba.config, name, None)!r}" for name in _SETTINGS]
    digest = hashlib.sha256(repr((*versions, np.__version__, processor, settings)).encode())
    for path in kernel_sources(root):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:32]


def kernel_sources(root: Path) -> list[Path]:
    """All source files that use these decorators, and those that make them."""
    found: list[Path] = []
    own, marker = root / "engines" / "compiled", b"dscsnet.engines.compiled import"
    for package in PACKAGES:
        for folder, _, names in os.walk(root / package):
            paths = (Path(folder, name) for name in names if name.endswith(".py"))
            found += [path for path in paths if path.parent == own or marker in path.read_bytes()]
    return sorted(found)


def sweep(base: Path, current: str) -> None:
    """Remove all but the newest folders of compiled loops; a process that uses one compiles anew.

    Several processes may do so at once.
    """
    with contextlib.suppress(OSError), os.scandir(base) as entries:
        others = [
            (entry.stat(follow_symlinks=False).st_mtime, entry.path)
            for entry in entries
            if _NAME.fullmatch(entry.name)
            and entry.name != current
            and entry.is_dir(follow_symlinks=False)
        ]
        for _, path in sorted(others, reverse=True)[KEPT:]:
            shutil.rmtree(path, ignore_errors=True)


def _bases() -> list[Path]:
    """NUMBA_CACHE_DIR or the user's cache, then a folder of the user's among temporary files."""
    bases: list[Path] = []
    if given := numba.config.CACHE_DIR:
        bases.append(Path(given).absolute() / "dscsnet")
    elif (own := user_cache("loops")) is not None:
        bases.append(own)
    with contextlib.suppress(FileNotFoundError):  # no folder for temporary files
        bases.append(Path(tempfile.gettempdir()) / f"dscsnet-loops-{os.geteuid()}")
    # Where a link leads is settled once: it may lead elsewhere later.
    return [Path(os.path.realpath(base)) for base in bases]
