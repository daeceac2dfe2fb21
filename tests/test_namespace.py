"""Other people's folders called like ours (ROS work spaces have them) hide nothing of ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = ("detector_stub", "engines", "pipeline", "tools")


@pytest.mark.parametrize("module", ["dscsnet", "dscsnet.pipeline", "dscsnet.detector_stub"])
def test_a_command_starts_beside_folders_of_the_same_names(tmp_path: Path, module: str) -> None:
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('not ours')\n")
    paths = os.pathsep.join((str(tmp_path), str(ROOT)))
    ended = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "Usage" in ended.stdout


def test_the_links_are_relative_and_lead_to_the_folders_beside() -> None:
    for name in NAMES:
        link = ROOT / "dscsnet" / name
        assert os.readlink(link) == f"../{name}"
        assert (link / "__init__.py").is_file()
