"""CURVE key files and the folders that say whose public key may do what.

A key pair is two files: `NAME.key` (public, to be handed round) and `NAME.key_secret` (for its
owner alone). Whoever binds a channel keeps an allow-list: a folder with one subfolder a role, in
each the public key files of those who may connect in that role.
"""

import contextlib
import os
import re
import stat
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.auth import create_certificates, load_certificate
from zmq.utils import z85

from dscsnet.pipeline.errors import KeyFileError

#: What a peer that connects may do: publish one of the first three, or receive.
ROLES = ("frames", "detections", "targets", "subscribers")
PUBLIC, SECRET = ".key", ".key_secret"
OLD = ".old"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class KeyPair:
    """A public and a secret key, 40 characters of Z85 each; the secret is never shown."""

    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"KeyPair({self.public.decode()})"


def read_secret(path: str | Path) -> KeyPair:
    """Read a secret key file.

    Raises:
        KeyFileError: it is not there, is no key, or others may read or replace it.
    """
    path = Path(path)
    _check_private(path)
    _, secret = _load(path)
    if secret is None:
        raise KeyFileError(f"{path}: holds no secret key; expected a {SECRET} file")
    return KeyPair(zmq.curve_public(_checked(secret, path)), secret)


def read_public(path: str | Path) -> bytes:
    """Read the public key, 40 characters of Z85, of a key file (KeyFileError)."""
    public, _ = _load(Path(path))
    return _checked(public, Path(path))


def read_servers(path: str | Path) -> list[bytes]:
    """Read the public key of one server, or all in a folder in order of their names.

    Raises:
        KeyFileError: there is none, or one is no key.
    """
    path = Path(path)
    files = sorted(path.glob(f"*{PUBLIC}")) if path.is_dir() else [path]
    if not files:
        raise KeyFileError(f"{path}: no {PUBLIC} file in this folder; copy the server's there")
    return [read_public(file) for file in files]


def make_key(name: str, folder: Path) -> tuple[Path, Path]:
    """Make a key pair; returns the public and the secret file.

    Raises:
        KeyFileError: the name is taken or no name, or the folder cannot be written.
    """
    check_name(name)
    public, secret = _files(name, folder)
    for file in (public, secret):
        if file.exists():
            raise KeyFileError(
                f"{file}: is there already; choose another name, or `dscsnet keys rotate {name}`"
            )
    with _writing(folder):
        create_certificates(folder, name)
        public.chmod(0o644)
    return public, secret


def rotate_key(name: str, folder: Path) -> tuple[Path, Path]:
    """Put a new pair in the place of a pair, which stays beside it as `NAME.old`.

    Returns:
        The new public file and the old one.

    Raises:
        KeyFileError: there is no such pair, or the folder cannot be written.
    """
    check_name(name)
    public, secret = _files(name, folder)
    read_secret(secret)
    old_public, old_secret = _files(name + OLD, folder)
    fresh = f"{name}.new"
    for file in _files(fresh, folder):
        file.unlink(missing_ok=True)  # left by a run that was cut off
    new_public, new_secret = make_key(fresh, folder)
    with _writing(folder):
        _keep(secret, old_secret)
        _keep(public, old_public)
        # Each in one step: a program that starts meanwhile finds the old key or the new one.
        new_secret.replace(secret)
        new_public.replace(public)
    return public, old_public


def allow(public_file: Path, role: str, folder: Path) -> tuple[Path, Path | None]:
    """Put a public key on an allow-list; a key of that name stays allowed as `NAME.old`.

    Returns:
        The file written, and the file of the former key that stays allowed, if there is one.

    Raises:
        KeyFileError: no such role or key, a third key of one name, a folder that cannot be written.
    """
    _check_role(role)
    key = read_public(public_file)
    name = public_file.name.removesuffix(SECRET).removesuffix(PUBLIC)
    check_name(name)
    place = folder / role
    file, old = place / f"{name}{PUBLIC}", place / f"{name}{OLD}{PUBLIC}"
    with _writing(place):
        former = None
        if file.exists() and read_public(file) != key:
            if old.exists():
                raise KeyFileError(
                    f"{old}: a former key is still allowed; when it is no longer used, "
                    f"`dscsnet keys revoke {name}{OLD} --role {role} --allow {folder}`"
                )
            _keep(file, old)
            former = old
        draft = place / f".{name}.draft"
        # Only the key itself: what else the file holds came from somebody else.
        draft.write_text(f'curve\n    public-key = "{key.decode()}"\n')
        draft.chmod(0o644)
        draft.replace(file)
    return file, former


def revoke(name: str, role: str, folder: Path) -> Path:
    """Take a key off an allow-list; returns the file removed (KeyFileError)."""
    _check_role(role)
    check_name(name)
    file = folder / role / f"{name}{PUBLIC}"
    try:
        file.unlink()
    except OSError as error:
        raise KeyFileError(f"{file}: cannot be removed: {error.strerror}") from None
    return file


def check_name(name: str) -> None:
    """Refuse what is no plain file name (KeyFileError)."""
    if not _NAME.fullmatch(name):
        raise KeyFileError(f'name "{name}": expected 1 to 64 of A-Z a-z 0-9 . _ -, no dot first')


class AllowList:
    """Which public keys may connect in a role, from files that may change at any time.

    Every question looks whether the folder has changed, so that a key put there or taken away
    counts from the next connection on. What cannot be read allows nobody.

    Args:
        folder: has a subfolder for each role.
        role: one of `ROLES`.

    Raises:
        KeyFileError: the role's folder is not there, or everybody may write to it.
    """

    def __init__(self, folder: str | Path, role: str) -> None:
        _check_role(role)
        self.folder, self.role = Path(folder), role
        place = self.folder / role
        if not place.is_dir():
            raise KeyFileError(
                f"allow: {place} is not a folder; `dscsnet keys allow PUBLIC.key --role {role} "
                f"--allow {self.folder}` makes it"
            )
        for each in (self.folder, place):
            if each.stat().st_mode & stat.S_IWOTH:
                raise KeyFileError(f"allow: everybody can write to {each}; chmod o-w {each}")
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[object, frozenset[bytes]]] = {}

    def __contains__(self, key: bytes) -> bool:
        return key in self._keys(self.role)

    def other_role(self, key: bytes) -> str | None:
        """A role in which this key may connect elsewhere, if there is one."""
        return next((r for r in ROLES if r != self.role and key in self._keys(r)), None)

    def _keys(self, role: str) -> frozenset[bytes]:
        place = self.folder / role
        with self._lock:
            signature = _signature(place)
            known = self._seen.get(role)
            if known is None or known[0] != signature:
                known = self._seen[role] = (signature, frozenset(_usable_keys(place)))
            return known[1]


def listed(folder: Path) -> Iterator[tuple[str, Path]]:
    """Role and file of each public key on an allow-list."""
    for role in ROLES:
        for file in sorted((folder / role).glob(f"*{PUBLIC}")):
            yield role, file


def _usable_keys(place: Path) -> Iterator[bytes]:
    for file in place.glob(f"*{PUBLIC}"):
        try:
            if not file.stat().st_mode & stat.S_IWOTH:
                yield read_public(file)
        except (KeyFileError, OSError):
            continue  # one broken file must not shut out, or let in, anybody else


def _signature(place: Path) -> object:
    """What changes whenever a file of a folder does."""
    try:
        with os.scandir(place) as entries:
            stats = {e.name: e.stat() for e in entries if e.name.endswith(PUBLIC)}
    except OSError:
        return None
    return {n: (s.st_ino, s.st_mtime_ns, s.st_size, s.st_mode) for n, s in stats.items()}


def _files(name: str, folder: Path) -> tuple[Path, Path]:
    return folder / f"{name}{PUBLIC}", folder / f"{name}{SECRET}"


def _keep(file: Path, under: Path) -> None:
    under.unlink(missing_ok=True)
    under.hardlink_to(file)


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise KeyFileError(f'role "{role}": expected {", ".join(ROLES)}')


def _check_private(path: Path) -> None:
    try:
        state = path.stat()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}; {_HINT}") from None
    if state.st_mode & 0o077:
        mode = stat.S_IMODE(state.st_mode)
        raise KeyFileError(
            f"{path}: others may use this secret key (mode {mode:04o}): make a new one "
            f"(`dscsnet keys rotate`) if they may have, and chmod 600 {path}"
        )
    if state.st_uid not in (0, os.geteuid()):
        raise KeyFileError(f"{path}: belongs to another user, who can replace it; chown it")


_HINT = "`dscsnet keys new NAME` makes a pair"


def _load(path: Path) -> tuple[bytes, bytes | None]:
    try:
        return load_certificate(path)
    except OSError as error:
        reason = error.strerror or "no such file"
        raise KeyFileError(f"{path}: cannot be read: {reason}; {_HINT}") from None
    except (ValueError, IndexError):
        raise KeyFileError(f"{path}: holds no CURVE key; {_HINT}") from None


def _checked(key: bytes, path: Path) -> bytes:
    with contextlib.suppress(KeyError, ValueError, struct.error):  # no Z85; beyond 32 bits
        if len(z85.decode(key)) == 32:
            return key
    raise KeyFileError(f"{path}: damaged: expected a key of 40 characters (Z85); {_HINT}")


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Files made within are for their owner alone; errors name the folder."""
    before = os.umask(0o077)
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, mode=0o755)
        yield
    except OSError as error:
        raise KeyFileError(f"{error.filename or folder}: {error.strerror}") from None
    finally:
        os.umask(before)
