"""The kit for a GPU machine: versions of the lock, a size that can be carried."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from dscsnet.tools.gpu import kit

LOCK = """\
msgspec==0.20.0 ; python_version >= '3.11' \\
    --hash=sha256:00
pyzmq==27.1.0 \\
    --hash=sha256:11
"""


def test_versions_are_the_lock_s() -> None:
    assert kit.pinned(("pyzmq", "msgspec", "pytools"), LOCK) == [
        "pyzmq==27.1.0",
        "msgspec==0.20.0",
        "pytools",
    ]
    lock = kit.LOCK.read_text()
    assert all("==" in name for name in kit.pinned(kit.NEEDED, lock))


@pytest.fixture(name="pip")
def _pip(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Downloads one wheel of `size` bytes."""
    pip = SimpleNamespace(command=[], size=10)

    def run(command: list[str], check: bool) -> None:
        assert check
        pip.command = command
        folder = Path(command[command.index("--dest") + 1])
        (folder / "one-1.0-py3-none-any.whl").write_bytes(b"0" * pip.size)

    monkeypatch.setattr(subprocess, "run", run)
    return pip


def test_a_kit_replaces_the_one_of_before(tmp_path: Path, pip: SimpleNamespace) -> None:
    folder = tmp_path / "kit"
    folder.mkdir()
    (folder / "old.whl").touch()
    wheel = tmp_path / "pycuda-1-cp312-cp312-linux_x86_64.whl"
    wheel.touch()
    names = [path.name for path in kit.make_kit(folder, "3.12", wheel)]
    assert names == ["one-1.0-py3-none-any.whl", wheel.name]
    assert "--python-version=3.12" in pip.command
    assert "pytools" in " ".join(pip.command)
    kit.make_kit(folder, "3.12", None)
    assert "pytools" not in " ".join(pip.command)


def test_wheels_come_by_name_whatever_the_folder_says(
    tmp_path: Path, pip: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = [tmp_path / f"{name}.whl" for name in "abc"]
    for wheel in wheels:
        wheel.touch()
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(wheels[::-1]))
    assert kit.make_kit(tmp_path / "kit", "3.12", None) == wheels


def test_what_cannot_be_carried_is_refused(
    tmp_path: Path, pip: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit, "MOST_BYTES", 10)
    kit.make_kit(tmp_path / "kit", "3.12", None)
    pip.size = 11
    with pytest.raises(SystemExit, match="are carried"):
        kit.make_kit(tmp_path / "kit", "3.12", None)
