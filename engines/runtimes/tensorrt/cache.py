"""Compiled engines on disk: found by all that they depend on, written whole or not at all.

So are the kernels that TensorRT-RTX compiles for the GPU at hand when an engine first runs there.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import msgspec

from dscsnet.engines.errors import ModelError
from dscsnet.engines.files.private import make_private, open_to_others, user_cache, write_whole

NOTE = ".json"

Kind = Literal["engine", "kernels"]


@dataclass(frozen=True)
class EngineKey:
    """All that a compiled engine depends on.

    Attributes:
        model: its name, for people.
        network: sha256 of the ONNX file as it was given to the compiler.
        library: TensorRT's name and version.
        device: the GPU's name and compute capability, or the capabilities compiled for.
        precision, buckets: as in `BuildSettings`.
        kind: the engine, or its kernels for one GPU; the ending of its file.
    """

    model: str
    network: str
    library: str
    device: str
    precision: str
    buckets: tuple[int, ...]
    kind: Kind = "engine"

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of every field."""
        return hashlib.sha256(msgspec.json.encode(asdict(self))).hexdigest()

    @property
    def stem(self) -> str:
        """Name of its files without the ending."""
        model = re.sub(r"[^A-Za-z0-9._-]", "_", self.model)
        return f"{model}-{self.precision}-{self.digest[:16]}"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside a compiled engine."""

    key: EngineKey
    sha256: str
    bytes: int


def default_folder() -> Path:
    """`$DSCSNET_CACHE`, else the user's cache folder.

    Raises:
        ModelError: this user has none.
    """
    if given := os.environ.get("DSCSNET_CACHE"):
        return Path(given)
    if (folder := user_cache("engines")) is None:
        raise ModelError(
            "this user has no home for compiled engines; name a folder in engine.cache, "
            "or set DSCSNET_CACHE"
        )
    return folder


class EngineCache:
    """A folder of compiled engines. A plan holds code: only what nobody else can write is loaded.

    Args:
        folder: made if it is not there; None: `default_folder`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or default_folder()).absolute()

    def get(self, key: EngineKey, build: Callable[[], bytes]) -> bytes:
        """The plan of this key: from the folder, or built and kept there.

        Processes that want the same engine wait for the one that builds it. Where the folder
        cannot be written, what is in it still serves.

        Raises:
            ModelError: others can write to the folder; or what `build` raises.
        """
        if (plan := self.find(key)) is not None:
            return plan
        self._make_folder()
        with self._locked(key):
            if (plan := self.find(key)) is None:
                plan = build()
                self._store(key, plan)
        return plan

    def find(self, key: EngineKey) -> bytes | None:
        """What is kept under this key, if it is there and whole.

        Raises:
            ModelError: others can write to it.
        """
        plan, note = self._files(key)
        if not (plan.exists() and note.exists()):
            return None
        check_only_ours(plan)
        check_only_ours(note)
        try:
            known = msgspec.json.decode(note.read_bytes(), type=Note)
            content = plan.read_bytes()
        except (OSError, msgspec.DecodeError):
            return None
        whole = known.key == key and hashlib.sha256(content).hexdigest() == known.sha256
        return content if whole else None

    def put(self, key: EngineKey, content: bytes) -> None:
        """Keep this in the place of what was kept under the key.

        Raises:
            ModelError: the folder cannot be written, or others can write to it.
        """
        self._make_folder()
        with self._locked(key):
            self._store(key, content)

    def entries(self) -> list[Note]:
        """The engines that are kept, by model and precision."""
        found = []
        for path in sorted(self.folder.glob(f"*{NOTE}")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Note))
            except (OSError, msgspec.DecodeError):
                continue
        return [note for note in found if note.key.kind == "engine"]

    def _files(self, key: EngineKey) -> tuple[Path, Path]:
        return self.folder / f"{key.stem}.{key.kind}", self.folder / f"{key.stem}{NOTE}"

    def _make_folder(self) -> None:
        try:
            make_private(self.folder)
        except OSError as error:
            raise ModelError(
                f"{self.folder}: no folder for compiled engines: {error.strerror}; name one in "
                "engine.cache, or set DSCSNET_CACHE"
            ) from None
        check_only_ours(self.folder)

    def _store(self, key: EngineKey, content: bytes) -> None:
        plan, note = self._files(key)
        known = Note(key=key, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        # The note last: without it the plan does not count.
        for path, written in (
            (plan, content),
            (note, msgspec.json.format(msgspec.json.encode(known))),
        ):
            try:
                write_whole(path, written)
            except OSError as error:
                raise ModelError(f"{path}: cannot be written: {error.strerror}") from None

    @contextmanager
    def _locked(self, key: EngineKey) -> Iterator[None]:
        """One builder at a time; the lock goes with its process, however that ends."""
        path = self.folder / f"{key.stem}.lock"
        try:
            file = path.open("w")
        except OSError as error:
            raise ModelError(
                f"{self.folder}: compiled engines cannot be written here: {error.strerror}; "
                "build them beforehand with `dscsnet model build`, or name another folder in "
                "engine.cache"
            ) from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def check_only_ours(path: Path) -> None:
    """Nobody but this user and root can change a file, or put another in its place.

    Raises:
        ModelError: somebody can.
    """
    if (place := open_to_others(path)) is not None:
        raise ModelError(
            f"{place}: others can write here, so compiled engines under it are not loaded; "
            "take a folder of your own, or `chmod go-w` it"
        )
