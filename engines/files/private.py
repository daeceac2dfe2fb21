"""Folders in which code is kept: this user's own, written whole, never read where others can write.

Compiled engines and compiled loops are executed as they are found, so both hold to this.
"""

import os
import stat
import tempfile
from pathlib import Path


def user_cache(name: str) -> Path | None:
    """The user's cache folder for one kind of files; None for a user without a home."""
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(given) if given else Path.home() / ".cache"
    except RuntimeError:  # no HOME, and no entry in the list of users
        return None
    return base.absolute() / "dscsnet" / name


def make_private(folder: Path) -> None:
    """Make a folder and those above it, so that nobody else can write to what is new.

    Raises:
        OSError: it cannot be made.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    for place in reversed(missing):
        place.mkdir(mode=0o700, exist_ok=True)
    if not folder.is_dir():
        raise NotADirectoryError(20, os.strerror(20), str(folder))


def open_to_others(path: Path) -> Path | None:
    """Where anybody but this user and root could change a file, or put another in its place.

    Returns:
        The file itself or the folder above it that lets them; None if there is none.

    Raises:
        OSError: the file is not there, or a folder above it cannot be looked at.
    """
    resolved = Path(os.path.realpath(path))
    for place in (resolved, *resolved.parents):
        status = place.stat()
        # In a sticky folder others can add files but not replace ours.
        sticky = place != resolved and bool(status.st_mode & stat.S_ISVTX)
        if not is_only_ours(status, sticky):
            return place
    return None


def is_only_ours(status: os.stat_result, sticky: bool = False) -> bool:
    """Whether it belongs to this user or root and, unless `sticky`, only the owner can write."""
    open_to_all = bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    return status.st_uid in {0, os.geteuid()} and (sticky or not open_to_all)


def write_whole(path: Path, content: bytes) -> None:
    """Under another name first, so that no reader ever sees half a file.

    Raises:
        OSError: it cannot be written.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
