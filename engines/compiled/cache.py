"""numba's interface of a cache, with files of our own: whole, only ours, found by their content.

One file holds one function for one set of argument types, and no index points to it, so that
processes never write to the same thing. A file is checked before it is loaded: damaged machine code
would end the process. What is used of numba is `_cache` of a dispatcher, the methods below that it
calls, and what numba's own cache stores: `_reduce` and `_rebuild` of a compiled result.
"""

import functools
import hashlib
import os
import pickle
import re
from pathlib import Path
from typing import Any

from numba.core import sigutils
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from dscsnet.engines import cold_start
from dscsnet.engines.compiled.fingerprint import fingerprint
from dscsnet.engines.compiled.folder import ENDING, LoopFolder, loop_folder
from dscsnet.engines.files.private import is_only_ours, write_whole

MAGIC = b"dscsnet loop 1\n"
DIGEST_BYTES = 32


class BrokenEntry(Exception):
    """A file of the cache that must not be loaded; says what is wrong with it."""


class LoopCache:
    """The cache of one compiled function; numba calls it under its compiler lock."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._enabled = True

    @property
    def cache_path(self) -> None:
        """numba shows it in statistics; which folder it is depends on the processor."""

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def flush(self) -> None:
        """numba has it before it compiles a function anew: then nothing is to be found."""
        self.disable()

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The compiled function, or None: numba compiles it, then, and calls `save_overload`."""
        target_context.refresh()
        if not self._enabled:
            return None
        folder = loop_folder(target_context.codegen().magic_tuple())
        find = functools.partial(self._find, folder, self._name(signature), target_context)
        found = find()
        return cold_start.before_compiling(folder, find) if found is None else found

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep what was compiled; what cannot be kept is compiled at each start."""
        folder = loop_folder(result.codegen.magic_tuple())
        if not self._enabled or (place := folder.writable) is None:
            return
        if result.lifted or result.library.has_dynamic_globals:
            folder.warn(self._label, "%s: cannot be kept: it holds addresses", self._label)
            return
        path = place / self._name(signature)
        try:
            write_whole(path, sealed(dumps(result._reduce())))
        except OSError as error:
            folder.warn("write", "%s: not kept: %s", path, error.strerror)

    def _find(self, folder: LoopFolder, name: str, target_context: Any) -> Any:
        for place in folder.places():
            path = place / name
            try:
                if (content := read_sealed(path)) is not None:
                    return CompileResult._rebuild(target_context, *pickle.loads(content))
            except Exception as error:  # whatever it is, the program starts all the same
                reason = str(error) if isinstance(error, BrokenEntry) else repr(error)
                folder.warn("broken", "%s: %s; this and the like are compiled anew", path, reason)
        return None

    def _name(self, signature: Any) -> str:
        """The file's name: of the function and, hashed, of all that it was compiled from."""
        arguments, result = sigutils.normalize_signature(signature)
        key = f"{arguments} {result} {self._fingerprint}"
        return f"{self._label}-{hashlib.sha256(key.encode()).hexdigest()[:32]}{ENDING}"

    @property
    def _label(self) -> str:
        name = f"{self._loop.py_func.__module__}.{self._loop.py_func.__qualname__}"
        return re.sub(r"[^A-Za-z0-9._]", "_", name)[-128:]

    @functools.cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self._loop)


def sealed(content: bytes) -> bytes:
    """The content of a file, with what tells whether it is whole before it."""
    return MAGIC + hashlib.sha256(content).digest() + content


def read_sealed(path: Path) -> bytes | None:
    """What was sealed into a file; None where there is none.

    Raises:
        BrokenEntry: it is not whole, or others can write to it.
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            if not is_only_ours(os.fstat(file.fileno())):
                raise BrokenEntry("others can write to it")
            content = file.read()
    except FileNotFoundError:
        return None
    start = len(MAGIC) + DIGEST_BYTES
    digest, payload = content[len(MAGIC) : start], content[start:]
    if not content.startswith(MAGIC) or hashlib.sha256(payload).digest() != digest:
        raise BrokenEntry("it is damaged")
    return payload
