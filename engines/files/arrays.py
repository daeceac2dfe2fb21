"""Arrays of numbers from `.npy` and `.npz` files, refused with one line where they are damaged.

What a header claims is compared with the bytes that are there before an array is made: a file of
a few bytes can claim terabytes. Nothing is unpickled.
"""

import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dscsnet.engines.errors import DscsnetError

Array = NDArray[Any]

#: Bytes of all arrays taken from one archive, as they are held in memory.
MOST_BYTES = 2 * 2**30
MOST_AXES = 8
PIECE_BYTES = 2**20
#: Members are unpacked with these; others can blow up a few bytes without bound.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
#: What NumPy, zipfile and zlib raise for damaged files, among them errors of Python's own parser,
#: which NumPy gives the header to.
_DAMAGED = (
    *(OSError, ValueError, EOFError, KeyError, TypeError, IndexError, OverflowError, RuntimeError),
    *(SyntaxError, tokenize.TokenError, struct.error, zlib.error, zipfile.BadZipFile),
    *(MemoryError, RecursionError),
)


class ArrayFileError(DscsnetError):
    """The file is no array or archive of arrays; the message does not name it."""


class _DamagedError(ValueError):
    """The contents contradict themselves."""


def map_array(path: Path) -> Array:
    """The array of a `.npy` file, mapped into memory.

    Raises:
        ArrayFileError: unreadable, damaged or cut off, or of objects.
    """
    try:
        with path.open("rb") as file:
            shape, in_columns, dtype = _header(file)
            start = file.tell()
            there = file.seek(0, 2) - start
        _check_size(_bytes_of(shape, dtype), there)
        if 0 in shape:
            return np.empty(shape, dtype)
        order = "F" if in_columns else "C"
        return np.memmap(path, dtype, "r", start, shape, order)  # type: ignore[call-overload]
    except _DAMAGED as error:
        raise ArrayFileError(f"not a readable .npy array: {_first_line(error)}") from None


class Archive:
    """An open `.npz` file; a context manager.

    Attributes:
        shapes: of each array by its name.

    Raises:
        ArrayFileError: unreadable, damaged, or not of arrays; so do its methods.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except _DAMAGED as error:
            raise _unreadable(error) from None
        self._infos = {
            info.filename.removesuffix(".npy"): info
            for info in self._zip.infolist()
            if info.filename.endswith(".npy")
        }

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @property
    def names(self) -> list[str]:
        """Names of the arrays."""
        return list(self._infos)

    def read(self, names: Iterable[str], most_bytes: int = MOST_BYTES) -> dict[str, Array]:
        """Arrays by name; all of them together take no more than `most_bytes`."""
        arrays: dict[str, Array] = {}
        left = most_bytes
        for name in names:
            if name not in self._infos:
                raise ArrayFileError(f'no array "{name}" in it; there is {self._listed()}')
            try:
                arrays[name] = self._array(self._infos[name], left, most_bytes)
            except _DAMAGED as error:
                raise _unreadable(error) from None
            left -= arrays[name].nbytes
        return arrays

    def _array(self, info: zipfile.ZipInfo, left: int, most: int) -> Array:
        if info.compress_type not in _METHODS:
            raise _DamagedError(f"{info.filename}: packed by method {info.compress_type}")
        with self._zip.open(info) as file:
            shape, in_columns, dtype = _header(file)
            size = _bytes_of(shape, dtype)
            if size > left:
                raise _DamagedError(f"its arrays take more than {most} bytes; use a .npy file")
            _check_size(size, info.file_size - file.tell())
            content = bytearray()  # grows with what is there, and can be written to
            while piece := file.read(PIECE_BYTES):
                content += piece
        _check_size(size, len(content))
        flat = np.frombuffer(content, dtype, math.prod(shape))
        return flat.reshape(shape, order="F" if in_columns else "C")

    def _listed(self) -> str:
        return ", ".join(sorted(self._infos)[:20]) or "none"


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and type; the file is left where the values begin."""
    version = npy.read_magic(file)
    if version not in _READERS:
        raise _DamagedError(f"version {version} of the .npy format is not for plain numbers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        shape, in_columns, dtype = _READERS[version](file)
    if dtype.hasobject or dtype.kind == "V" or dtype.itemsize == 0:
        raise _DamagedError(f"expected an array of numbers, got type {dtype}")
    if len(shape) > MOST_AXES or any(side < 0 for side in shape):
        raise _DamagedError(f"no array has shape {shape}")
    return shape, in_columns, dtype


def _bytes_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize


def _check_size(claimed: int, there: int) -> None:
    if claimed > there:
        raise _DamagedError(f"cut off: {claimed} bytes announced, {there} there")


def _unreadable(error: Exception) -> ArrayFileError:
    return ArrayFileError(f"not a readable .npz archive: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
