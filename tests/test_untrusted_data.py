"""Nothing that is read from outside can run code: no pickle, no eval, no unsafe YAML, anywhere."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("engines", "pipeline", "detector_stub", "tools")
FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))

#: Modules that unpickle, or would be a way to.
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_NAMES = {"eval", "exec", "__import__"}
#: Methods of sockets and others that unpickle.
FORBIDDEN_ATTRIBUTES = {"recv_pyobj", "send_pyobj", "read_pickle", "unsafe_load", "full_load"}
#: What a call must say, by the end of its dotted name: keyword and value.
MUST_SAY = {
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "torch.load": ("weights_only", True),
}
SAFE_YAML = tuple(
    f"yaml.{name}" for name in ("safe_load", "safe_dump", "decode", "encode", "dump", "parse")
)


def complaints(tree: ast.AST) -> Iterator[str]:
    """What is forbidden in a file, with its line."""
    for node in ast.walk(tree):
        where = f"line {getattr(node, 'lineno', '?')}: "
        if isinstance(node, ast.Import):
            found = {alias.name.partition(".")[0] for alias in node.names} & FORBIDDEN_MODULES
            yield from (where + f"import {name}" for name in found)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").partition(".")[0] in FORBIDDEN_MODULES:
                yield where + f"from {node.module}"
        elif isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_ATTRIBUTES:
            yield where + node.attr
        elif isinstance(node, ast.Call):
            yield from (where + text for text in call_complaints(node))


def call_complaints(call: ast.Call) -> Iterator[str]:
    name = ast.unparse(call.func)
    if name in FORBIDDEN_NAMES:
        yield name
    given = {k.arg: k.value.value for k in call.keywords if isinstance(k.value, ast.Constant)}
    if name in MUST_SAY:
        keyword, value = MUST_SAY[name]
        if given.get(keyword) is not value:
            yield f"{name} without {keyword}={value}"
    elif given.get("allow_pickle"):
        yield f"{name} with allow_pickle"
    head, _, tail = name.rpartition(".")
    if head.rpartition(".")[2] == "yaml" and f"yaml.{tail}" not in SAFE_YAML:
        yield f"{name}: none of {', '.join(SAFE_YAML)}"


#: Compiled loops are code, which runs as it is found: so they are read only where nobody else can
#: write, after their checksum; tests/engines/test_compiled.py holds that.
EXCEPTIONS = {"engines/compiled/cache.py": ["import pickle"]}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_file_lets_data_run_code(file: Path) -> None:
    text = file.read_text()
    # Its exception is what torch.load raises, and is no danger.
    if text.count("pickle.") == text.count("pickle.UnpicklingError"):
        text = text.replace("import pickle\n", "")
    found = [complaint.partition(": ")[2] for complaint in complaints(ast.parse(text))]
    assert found == EXCEPTIONS.get(file.relative_to(ROOT).as_posix(), [])


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import pickle as p",
        "from pickle import loads",
        "import torch; torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "np.lib.npyio.read(path, allow_pickle=True)",
        "yaml.load(text)",
        "socket.recv_pyobj()",
        "eval(text)",
    ],
)
def test_the_check_sees_what_it_is_for(code: str) -> None:
    assert list(complaints(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "np.load(path, allow_pickle=False)",
        "torch.load(path, weights_only=True)",
        "yaml.safe_load(text)",
        "msgspec.yaml.decode(data)",
        "model.eval()",
    ],
)
def test_the_check_lets_sound_code_pass(code: str) -> None:
    assert not list(complaints(ast.parse(code)))
