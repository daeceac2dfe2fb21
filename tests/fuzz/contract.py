"""What every reader of outside bytes promises: a valid object, or one line of our own.

Never a foreign exception or a warning, and never much memory for a few bytes.
"""

import atexit
import resource
import shutil
import tempfile
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from dscsnet.engines.errors import LONGEST_MESSAGE, DscsnetError

T = TypeVar("T")

#: What readers said when they refused their input, latest last.
refusals: deque[str] = deque(maxlen=10)

#: Address space beyond what the process has when the reader starts. The largest frame on the wire
#: is 64 MiB; a reader may hold it a few times over while it converts it.
MEMORY_BYTES = 768 * 2**20
LONGEST_PATH = 512

_PAGE = resource.getpagesize()
_SHARED_MEMORY = Path("/dev/shm")


class ContractError(AssertionError):
    """A reader gave a wrong object or a message that is not one line."""


def attempt(read: Callable[[], T]) -> T | None:
    """Call a reader under the memory limit; None where it refused its input as it should.

    Raises:
        ContractError: what it said is not one printable line.
        Exception: whatever else it raised, warnings and MemoryError included.
    """
    try:
        with warnings.catch_warnings(), limited_memory():
            warnings.simplefilter("error")
            return read()
    except DscsnetError as error:
        check_line(str(error))
        refusals.append(str(error))
        return None


def check_line(text: str) -> None:
    """Check that a message is one printable line of bounded length (ContractError)."""
    if not text or not text.isprintable() or len(text) > LONGEST_MESSAGE + LONGEST_PATH:
        raise ContractError(f"not one printable line: {text[:300]!r}")


@contextmanager
def limited_memory(extra: int = MEMORY_BYTES) -> Iterator[None]:
    """Let this process map no more than `extra` bytes beyond what it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * _PAGE
    resource.setrlimit(resource.RLIMIT_AS, (used + extra, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def scratch(name: str) -> Path:
    """A folder of this process for the files that readers are given, in memory where it can be."""
    folder = _scratch_root() / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def scratch_file(name: str, content: bytes) -> Path:
    """A file with that content."""
    path = _scratch_root() / name
    path.write_bytes(content)
    return path


_roots: list[Path] = []


def _scratch_root() -> Path:
    if not _roots:
        parent = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
        _roots.append(Path(tempfile.mkdtemp(prefix="dscsnet-fuzz-", dir=parent)))
        atexit.register(shutil.rmtree, _roots[0], ignore_errors=True)
    return _roots[0]
