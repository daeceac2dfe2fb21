"""Our TensorRT path on a real GPU, without TensorRT: see `stand_in.py`."""

import subprocess
import sys
from pathlib import Path as FilePath

import pytest

from dscsnet.engines.model import Model
from dscsnet.engines.runtimes import Runtime, RuntimeOptions, Unavailable
from tests.engines.runtimes.runtime_contract import RuntimeContract
from tests.gpu.cards import LONGEST_S

pytest.importorskip("torch")

from tests.gpu.path import PathContract
from tests.gpu.real_bench import RealBench

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(LONGEST_S)]
ROOT = FilePath(__file__).parents[2]


def real_bench() -> RealBench:
    try:
        return RealBench()
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(name="bench", scope="module")
def _bench() -> RealBench:
    return real_bench()


class TestPath(PathContract):
    """Lanes, graphs, memory, threads."""


class TestContract(RuntimeContract):
    """Numbers, of every shipped model."""

    error, alone = 5e-5, 1e-4
    options = RuntimeOptions(precision="fp32")

    @classmethod
    def open(cls, model: Model) -> Runtime:
        return real_bench().open(model).runtime


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("lost", "the GPU failed: cu"),
        ("hung", "the GPU has not answered for 1 s"),
        ("torch", "the GPU failed: "),
    ],
)
@pytest.mark.usefixtures("bench")
def test_a_gpu_that_fails(what: str, reason: str) -> None:
    """In a process of its own: a lost context does not come back."""
    command = [sys.executable, "-m", "tests.gpu.real_bench", what]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    said, closed = done.stdout.strip().splitlines()[-2:]
    assert said.startswith(reason)
    assert closed == "closed"
