"""Arrays, images and YAML from files: what NumPy, OpenCV and PyYAML read, and what is refused."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from dscsnet.engines.errors import ModelError
from dscsnet.engines.files.arrays import Archive, ArrayFileError, map_array
from dscsnet.engines.files.images import ImageFileError, decode_image, read_image
from dscsnet.engines.files.strict_yaml import YamlError, decode_yaml
from dscsnet.engines.fitting.psf import elliptical_table, read_samples, sampled_table
from dscsnet.engines.psf_fit_settings import PsfFitSettings

ARRAYS = [
    np.arange(24, dtype=np.uint16).reshape(2, 3, 4),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(3, dtype=">f4"),
    np.array(7),
    np.empty((0, 4), np.int8),
    np.array([True, False]),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", some=array, other=np.zeros(2))
    np.savez_compressed(tmp_path / "b.npz", some=array)
    found = [map_array(tmp_path / "a.npy")]
    for name in ("a.npz", "b.npz"):
        with Archive(tmp_path / name) as archive:
            found.append(archive.read(["some"])["some"])
    for each in found:
        np.testing.assert_array_equal(each, np.load(tmp_path / "a.npy"))
        assert (each.dtype, each.shape) == (array.dtype, array.shape)
    assert found[1].flags.writeable


def test_what_is_missing_in_an_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, one=np.zeros(1000), two=np.zeros(1000))
    with Archive(path) as archive:
        assert archive.names == ["one", "two"]
        with pytest.raises(ArrayFileError, match='no array "three" in it; there is one, two'):
            archive.read(["three"])
        with pytest.raises(ArrayFileError, match="take more than 15000 bytes"):
            archive.read(["one", "two"], 15_000)
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with (
        Archive(path) as archive,
        pytest.raises(ArrayFileError, match=r"not a readable \.npz archive: "),
    ):
        archive.read(["one"])


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("shape", [(3, 5), (7, 2, 3)])
def test_images_are_read_as_opencv_reads_them(
    tmp_path: Path, suffix: str, shape: tuple[int, ...]
) -> None:
    path = tmp_path / f"image{suffix}"
    pixels = np.random.default_rng(1).integers(0, 255, shape, np.uint8)
    cv2.imwrite(str(path), pixels)
    np.testing.assert_array_equal(read_image(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    content = path.read_bytes()
    with pytest.raises(ImageFileError):
        decode_image(content[: len(content) // 2])
    with pytest.raises(ImageFileError, match="neither a PNG, nor a TIFF, nor a BMP"):
        decode_image(b"GIF89a" + content)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match=r"^cannot be read: "):
        read_image(tmp_path / "none.png")
    with pytest.raises(ArrayFileError, match=r"not a readable \.npy array: "):
        map_array(tmp_path / "none.npy")


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: [1.5, true, null, ~, text, 'x', 0x1f, 1e3, 1.0e+3]",
        "base: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}",
        "- {a: }\n-\n- |\n  two\n  lines\n",
    ],
)
def test_yaml_is_what_its_parser_makes_of_it(text: str) -> None:
    assert decode_yaml(text.encode()) == yaml.safe_load(text)


def test_a_date_stays_a_text() -> None:
    assert decode_yaml(b"date: 2026-13-45") == {"date": "2026-13-45"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff", "not a text file in UTF-8"),
        (b"a: [1,\n b: }", "line 2, column 5: "),
        (b"#" * (2**20 + 1), "at most 1048576 bytes"),
        (b"[" * 33 + b"]" * 33, "line 1, column 33: more than 32 nested"),
        (b"[" * 100_000, "line 1, column "),  # the parser has a bound, too
        (b"a: 1\n--- \nb: 2", "line 2, column 1: "),
        (b"a: &x [1]\n" + b"".join(b"b%d: [*x, *x, *x, *x]\n" % i for i in range(9000)), "20000"),
        (b"!!binary aGk=", "binary is not allowed"),
        (b"a: .nan", "expected a finite number"),
        (b"1" * 5000, "is no int"),
    ],
)
def test_yaml_that_is_not_plain_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(YamlError, match=words):
        decode_yaml(content)


def test_yaml_may_be_nested_as_deep_as_is_allowed() -> None:
    assert str(decode_yaml(b"[" * 32 + b"]" * 32)) == "[" * 32 + "]" * 32


def test_a_psf_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "psf.npy"
    np.save(path, np.ones((3, 2000)))
    with pytest.raises(ModelError, match="at most 1024 samples a side"):
        read_samples(path)
    with pytest.raises(ModelError, match=r"table would need \d+ entries a side"):
        elliptical_table(0.01, 50.0, 30.0)
    spike = np.zeros((901, 901))
    spike[450, 450] = 1
    with pytest.raises(ModelError, match=r"table would need \d+ entries a side"):
        sampled_table(spike, 1000)


def test_the_size_of_a_psf_s_samples_does_not_matter() -> None:
    samples = np.exp(-0.5 * ((np.indices((9, 9)) - 4) ** 2).sum(0))
    expected = sampled_table(samples, 2).coefficients
    for factor in (1e300, 1e-300):
        np.testing.assert_allclose(sampled_table(factor * samples, 2).coefficients, expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("crop_size", 12), ("crop_size", 129), ("most", 33), ("starts", 10**9)),
        *(("steps", 10**9), ("sigma_x", 1e-9), ("sigma_y", 1e9), ("oversampling", 10**6)),
    ],
)
def test_a_fit_that_would_never_end_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        PsfFitSettings(**{name: value})  # type: ignore[arg-type]


def header_of(dtype: str, shape: str) -> bytes:
    """A `.npy` file of version 1 that holds nothing but its header."""
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}}}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("dtype", "shape", "words"),
    [
        ("'|V4'", "(1,)", "expected an array of numbers"),
        ("[('a', '<f4')]", "(0,)", "expected an array of numbers"),
        ("'|O'", "(0,)", "expected an array of numbers"),
        ("'|S0'", "(3,)", "expected an array of numbers"),
        ("'<f4'", "(0, 1, 1, 1, 1, 1, 1, 1, 1)", "no array has shape"),
        ("'<f4'", "(0, -1)", "no array has shape"),
        ("'<f4'", "(3,)", "cut off: 12 bytes announced, 8 there"),
    ],
)
def test_headers_of_what_is_no_array_of_numbers(
    tmp_path: Path, dtype: str, shape: str, words: str
) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(header_of(dtype, shape) + bytes(8))
    with pytest.raises(ArrayFileError, match=words):
        map_array(path)


def test_eight_axes_and_all_bytes_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(header_of("'<f4'", "(1, 1, 1, 1, 1, 1, 1, 2)") + bytes(8))
    assert map_array(path).shape == (1, 1, 1, 1, 1, 1, 1, 2)
    np.savez(tmp_path / "a.npz", one=np.zeros(100, np.uint8), two=np.zeros(28, np.uint8))
    with Archive(tmp_path / "a.npz") as archive:
        assert len(archive.read(["one", "two"], 128)) == 2
        with pytest.raises(ArrayFileError, match="more than 127 bytes"):
            archive.read(["one", "two"], 127)


def claiming(width: int, height: int) -> bytes:
    """The head of a PNG of that size."""
    return b"\x89PNG\r\n\x1a\n" + bytes(8) + struct.pack(">II", width, height)


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        (0, 5, "0x5 px, sides of 1 to 16384"),
        (5, 0, "5x0 px, sides of 1 to 16384"),
        (16385, 1, "16385x1 px, sides"),
        (1, 16385, "1x16385 px, sides"),
        (8193, 8192, "8193x8192 px, at most 67108864 pixels"),
        # allowed, so that only what follows is at fault
        (16384, 1, "damaged image"),
        (1, 16384, "damaged image"),
        (8192, 8192, "damaged image"),
    ],
)
def test_sizes_are_allowed_up_to_the_largest_frame(width: int, height: int, words: str) -> None:
    with pytest.raises(ImageFileError, match=f"^{words}"):
        decode_image(claiming(width, height))


def test_a_bitmap_from_the_top_down_is_read(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    cv2.imwrite(str(tmp_path / "a.bmp"), pixels)
    content = bytearray((tmp_path / "a.bmp").read_bytes())
    content[22:26] = struct.pack("<i", -4)
    np.testing.assert_array_equal(decode_image(bytes(content)), pixels[::-1])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_the_size_of_a_tiff_is_found_in_either_kind_and_order(order: str, big: bool) -> None:
    """Too wide, so that the size is what is told."""
    number, offset = ("Q", "Q") if big else ("H", "I")
    entries = [(254, 4, 0), (256, 4, 20_000), (257, 3, 7)]
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    head += struct.pack(f"{order}HHQ", 8, 0, 16) if big else struct.pack(f"{order}I", 8)
    content = head + struct.pack(order + number, len(entries))
    for tag, kind, value in entries:
        form = {3: "H", 4: "I"}[kind]
        width = struct.calcsize(offset)
        content += struct.pack(f"{order}HH{offset}", tag, kind, 1)
        content += struct.pack(order + form, value).ljust(width, b"\0")
    with pytest.raises(ImageFileError, match=r"^20000x7 px"):
        decode_image(content)
