"""`make gpu-kit`: what a borrowed GPU machine without internet lacks, as wheels in one folder.

Such a machine has PyTorch with CUDA, NumPy, OpenCV, numba, ONNX Runtime and pytest, as images for
machine learning do; the rest is small. What is too large to be carried is left out and said.
"""

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "dev.txt"

#: What such images lack of the node and of the tests.
NEEDED = ("msgspec", "pyzmq", "mcap", "zstandard", "lz4", "pytest-timeout")
#: What pycuda needs besides; its own wheel must be built where CUDA's compiler is.
FOR_PYCUDA = ("pytools", "siphash24", "platformdirs")
#: Together, so that all can be sent at once.
MOST_BYTES = 48 * 2**20
GLIBC = (*range(17, 40),)


def pinned(names: tuple[str, ...], lock: str) -> list[str]:
    """The names with the lock's versions, where it has them."""
    versions = dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", lock, re.MULTILINE))
    return [f"{name}=={versions[name]}" if name in versions else name for name in names]


def make_kit(folder: Path, python: str, pycuda: Path | None) -> list[Path]:
    """Wheels for a Python version into an emptied folder.

    Args:
        pycuda: a wheel of it for that version; None: the tests of the TensorRT path are skipped
            there.

    Raises:
        SystemExit: a wheel is missing, or they are too large together.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wanted = pinned((*NEEDED, *(FOR_PYCUDA if pycuda else ())), LOCK.read_text())
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in GLIBC]
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
            *("--only-binary=:all:", f"--python-version={python}", "--implementation=cp"),
            *(*platforms, "--platform=manylinux2014_x86_64", "--dest", str(folder), *wanted),
        ],
        check=True,
    )
    if pycuda:
        shutil.copy(pycuda, folder)
    wheels = sorted(folder.glob("*.whl"))
    size = sum(path.stat().st_size for path in wheels)
    if size > MOST_BYTES:
        sys.exit(f"{folder}: {size / 2**20:.0f} MiB; at most {MOST_BYTES / 2**20:.0f} are carried")
    print(f"{folder}: {len(wheels)} wheels, {size / 2**20:.1f} MiB")
    return wheels


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m dscsnet.tools.gpu.kit", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="version there")
    parser.add_argument("--pycuda", type=Path, help="wheel of it, built for that version")
    given = parser.parse_args()
    make_kit(given.folder, given.python, given.pycuda)
