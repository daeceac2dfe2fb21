"""The public interface: complete, loaded when used, known to type checkers."""

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import dscsnet

ROOT = Path(__file__).parents[1]
HEAVY = ("numba", "onnxruntime", "cv2", "numpy", "torch", "scipy", "zmq", "msgspec")


def run(code: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return result.stdout


def test_importing_it_loads_nothing_heavy() -> None:
    """Nor does asking what there is."""
    code = "import sys, dscsnet; dir(dscsnet); print(*sys.modules)"
    loaded = set(run(code).split())
    assert not loaded.intersection(HEAVY)
    assert not [name for name in loaded if name.startswith("dscsnet.")]


def test_errors_and_flags_need_no_engine() -> None:
    code = "import sys, dscsnet; dscsnet.InputError, dscsnet.SpotFlag; print(*sys.modules)"
    assert not set(run(code).split()).intersection(("numba", "onnxruntime", "cv2"))


@pytest.mark.parametrize("name", dscsnet.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(dscsnet, name)
    assert value.__doc__
    assert name in dir(dscsnet)
    assert vars(dscsnet)[name] is value  # kept: the next use costs nothing


def test_type_checkers_see_every_public_name() -> None:
    """What is imported for them is what is loaded, from the same places."""
    tree = ast.parse((ROOT / "dscsnet" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {*seen, "__version__"} == set(dscsnet.__all__)
    homes = {name: f"dscsnet.{home}" for name, home in dscsnet._HOME_OF.items()}
    assert seen == homes
    assert (ROOT / "dscsnet" / "py.typed").is_file()


def test_other_names_are_none() -> None:
    with pytest.raises(AttributeError, match="no attribute 'unmixer'"):
        dscsnet.unmixer  # noqa: B018


def test_the_version_is_the_distributions() -> None:
    assert dscsnet.__version__ == version("dscsnet")


def test_errors_are_one_tree() -> None:
    errors = [getattr(dscsnet, name) for name in dscsnet.__all__ if name.endswith("Error")]
    assert len(errors) > 3
    assert all(issubclass(error, dscsnet.DscsnetError) for error in errors)
    assert issubclass(dscsnet.InputError, ValueError)
