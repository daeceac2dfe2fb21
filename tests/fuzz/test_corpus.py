"""Every committed input through its reader: what was found once stays fixed.

No fuzzer is needed here. Inputs named `seed-...` are valid, the others must be borne.
"""

import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import msgpack
import numpy as np
import pytest

from dscsnet.engines.errors import LONGEST_MESSAGE, DscsnetError, one_line
from tests.fuzz.contract import ContractError, attempt, check_line, refusals, scratch_file
from tests.fuzz.targets import CORPUS, TARGETS, Target, sources

LARGEST_CORPUS = 300_000
CASES = [(target, path) for target in TARGETS.values() for path in target.corpus()]


@pytest.fixture(autouse=True)
def _optional(request: pytest.FixtureRequest) -> None:
    """Readers of what trainings leave need PyTorch."""
    if "path" in request.fixturenames and request.getfixturevalue("target").watched[0] in (
        *(
            "dscsnet.engines.networks.stored",
            "dscsnet.tools.training.checkpoint",
            "dscsnet.tools.dataset.reader",
            "dscsnet.tools.training.config",
        ),
    ):
        pytest.importorskip("torch")


@pytest.mark.parametrize(
    ("target", "path"), CASES, ids=[f"{target.name}-{path.name}" for target, path in CASES]
)
def test_input_is_borne(target: Target, path: Path) -> None:
    run = target.load()
    refusals.clear()
    run(path.read_bytes())
    if path.name.startswith("seed-"):
        assert list(refusals) == []


def test_the_corpus_is_whole_and_small() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(TARGETS)
    assert all(any(p.name.startswith("seed-") for p in t.corpus()) for t in TARGETS.values())
    assert sum(path.stat().st_size for _, path in CASES) < LARGEST_CORPUS


def test_what_a_target_watches_is_there() -> None:
    """Else the fuzzer ends before it begins."""
    for target in TARGETS.values():
        for module in target.watched:
            assert find_spec(module) is not None, f"{target.name}: {module}"


def foreign() -> None:
    raise KeyError("x")


def long_line() -> None:
    raise DscsnetError("a" * 10**6 + "\n\x1b[2J\u202e")


def huge() -> None:
    np.ones(2**27)


def test_the_contract_notices_what_breaks_it() -> None:
    with pytest.raises(KeyError):
        attempt(foreign)
    with pytest.raises(MemoryError):
        attempt(huge)
    with pytest.raises(RuntimeWarning):
        attempt(lambda: np.float64(1) / np.float64(0))
    with pytest.raises(ContractError):
        check_line("two\nlines")
    assert attempt(long_line) is None
    assert len(refusals[-1]) < LONGEST_MESSAGE + 50
    assert len(one_line("\U000e0001" * 10**6)) < LONGEST_MESSAGE + 50


def test_messages_cannot_steer_a_terminal() -> None:
    assert one_line("a\nb\x1b[2J\u202ec\udcff") == r"a b\x1b[2J\u202ec\udcff"
    assert str(DscsnetError("déjà\tvu")) == r"déjà\tvu"


# Files of a few bytes that claim to be huge: refused within the memory that the contract allows


def npy_of(shape: str) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)


def npz_of(shape: str) -> bytes:
    path = scratch_file("claim.npz", b"")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("frames.npy", npy_of(shape))
    return path.read_bytes()


def png_of(width: int, height: int) -> bytes:
    content = bytearray(cv2.imencode(".png", np.zeros((4, 4), np.uint16))[1].tobytes())
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    return b"\x00" + bytes(content)


def tiff_of(width: int) -> bytes:
    content = bytearray(cv2.imencode(".tif", np.zeros((4, 4), np.uint16))[1].tobytes())
    place = content.find(b"\x00\x01\x04\x00\x01\x00\x00\x00")  # tag 256, a 32-bit integer
    place = place if place >= 0 else content.find(b"\x00\x01\x03\x00\x01\x00\x00\x00")
    content[place + 2 : place + 12] = b"\x04\x00\x01\x00\x00\x00" + width.to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize(
    ("read", "data", "words"),
    [
        (sources.source_npy, npy_of("(1000000, 1000, 1000)"), "cut off: 4000000000000 bytes"),
        (sources.source_npy, npy_of("(10000000000000000000000,)"), "cut off"),
        (sources.source_npz, npz_of("(900, 1000, 1000)"), "take more than 2147483648 bytes"),
        (sources.source_npz, npz_of("(90, 1000, 1000)"), "cut off: 360000000 bytes announced"),
        (sources.source_image, png_of(100_000, 100_000), "sides of 1 to 16384 are allowed"),
        (sources.source_image, png_of(16_000, 16_000), "at most 67108864 pixels are allowed"),
        (sources.source_tiff, tiff_of(2**31), "sides of 1 to 16384 are allowed"),
    ],
)
def test_a_claimed_size_is_refused_before_it_is_allocated(
    read: Callable[[bytes], None], data: bytes, words: str
) -> None:
    refusals.clear()
    read(data)
    assert words in refusals[-1]


def test_a_frame_that_no_receiver_takes_is_refused() -> None:
    path = scratch_file("wide.npy", b"")
    np.save(path, np.zeros((1, 2, 20_000), np.uint8))
    refusals.clear()
    sources.source_npy(path.read_bytes())
    assert "a frame of 20000x2 uint8 is too large" in refusals[-1]


def test_a_list_that_claims_to_be_long_is_refused() -> None:
    refusals.clear()
    claim = b"\x81\xa1x\xdd\x7f\xff\xff\xff"
    TARGETS["message"].load()(msgpack.packb([b"detections/a", claim]))
    assert "at most 10000 entries" in refusals[-1]
