"""Arrays of files: what an archive lists, takes and refuses."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from dscsnet.engines.files import arrays
from dscsnet.engines.files.arrays import Archive, ArrayFileError, map_array


def test_bounds() -> None:
    assert arrays.MOST_BYTES == 2**31
    assert arrays.MOST_AXES == 8


def test_what_there_is_is_listed_in_order_and_not_endlessly(tmp_path: Path) -> None:
    names = [f"a{number:02}" for number in range(25)]
    np.savez(tmp_path / "a.npz", **{name: np.zeros(1) for name in reversed(names)})
    np.savez(tmp_path / "none.npz")
    for file, listed in (("a.npz", ", ".join(names[:20])), ("none.npz", "none")):
        with (
            Archive(tmp_path / file) as archive,
            pytest.raises(ArrayFileError, match=rf'^no array "b" in it; there is {listed}$'),
        ):
            archive.read(["b"])


def test_other_members_are_no_arrays_and_other_methods_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, one=np.arange(3))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_BZIP2) as file:
        file.writestr("text.txt", "two")
        file.writestr("two.npy", "two")
    with Archive(path) as archive:
        assert archive.names == ["one", "two"]
        assert archive.read(["one"])["one"].tolist() == [0, 1, 2]
        with pytest.raises(ArrayFileError, match=r"two\.npy: packed by method 12$"):
            archive.read(["two"])
    with pytest.raises(ArrayFileError):
        archive.read(["one"])  # it is closed


def test_the_third_version_is_not_for_plain_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros(3))
    content = bytearray(path.read_bytes())
    content[6] = 3
    path.write_bytes(content)
    with pytest.raises(ArrayFileError, match=r"version \(3, 0\) of the \.npy format"):
        map_array(path)


def test_large_arrays_are_whole(tmp_path: Path) -> None:
    array = np.arange(400_000.0)  # of several pieces
    np.savez(tmp_path / "a.npz", array=array)
    with Archive(tmp_path / "a.npz") as archive:
        np.testing.assert_array_equal(archive.read(["array"])["array"], array)


def test_a_mapped_array_begins_behind_its_header(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    found = map_array(tmp_path / "a.npy")
    assert isinstance(found, np.memmap)
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not found.flags.writeable
    np.save(tmp_path / "b.npy", np.empty((0, 4)))
    assert not isinstance(map_array(tmp_path / "b.npy"), np.memmap)
