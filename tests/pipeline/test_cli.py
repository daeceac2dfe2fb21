"""The command line: errors are one line, exit codes 0 done, 1 failed, 2 wrong use."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from dscsnet.engines import cold_start
from dscsnet.engines.compiled.folder import LoopFolder
from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.psf_fit import PsfFitEngine
from dscsnet.pipeline import worker
from dscsnet.pipeline.cli import add_commands, new_app, run
from dscsnet.pipeline.config import EngineSettings

ROOT = Path(__file__).parents[2]


def run_with(monkeypatch: pytest.MonkeyPatch, app: typer.Typer, *arguments: str) -> int:
    """Exit code of an app run with these arguments."""
    monkeypatch.setattr(sys, "argv", ["dscsnet", *arguments])
    try:
        run(app)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def failing(error: Exception) -> typer.Typer:
    app = new_app("")

    @app.command()
    def fail() -> None:
        raise error

    @app.command()
    def other() -> None:
        """A second command, so that the first needs its name."""

    return app


@pytest.fixture(name="app")
def _app() -> typer.Typer:
    app = new_app("")
    add_commands(app)
    return app


def test_an_error_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(monkeypatch, failing(DscsnetError("it rains")), "fail") == 1
    assert capsys.readouterr().err == "dscsnet: it rains\n"


@pytest.mark.parametrize(
    ("library", "extra"), [("torch.nn", "train"), ("matplotlib", "plot"), ("scipy.optimize", "dev")]
)
def test_a_missing_library_names_its_extra(
    library: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = ModuleNotFoundError("no", name=library)
    assert run_with(monkeypatch, failing(missing), "fail") == 1
    assert f"pip install 'dscsnet[{extra}]'" in capsys.readouterr().err


def test_an_unknown_module_is_a_defect_and_shows_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ModuleNotFoundError):
        run_with(monkeypatch, failing(ModuleNotFoundError("no", name="ours")), "fail")


@pytest.mark.parametrize("arguments", [["nothing"], ["node", "--nothing"], ["replay"]])
def test_wrong_use_is_2(
    monkeypatch: pytest.MonkeyPatch, app: typer.Typer, arguments: list[str]
) -> None:
    assert run_with(monkeypatch, app, *arguments) == 2


def test_check_says_what_it_found(
    monkeypatch: pytest.MonkeyPatch, app: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(monkeypatch, app, "check", "-c", "configs/node.yaml") == 0
    out = capsys.readouterr().out
    assert "configs/node.yaml: ok" in out
    assert "golden check: relative error" in out


def test_check_says_that_it_compiles(
    app: typer.Typer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(_settings: EngineSettings) -> PsfFitEngine:
        cold_start.before_compiling(LoopFolder([], ""), lambda: None)
        return PsfFitEngine()

    monkeypatch.setattr(worker, "load_engine", load)
    assert run_with(monkeypatch, app, "check") == 0
    said = capsys.readouterr().err.splitlines()
    assert "compiling the numerical loops, once, about half a minute" in said
    assert said[-1].startswith("compiled 1 numerical loop in ")


def test_check_prints_the_schema(
    monkeypatch: pytest.MonkeyPatch, app: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(monkeypatch, app, "check", "--schema") == 0
    assert '"timeout_ms"' in capsys.readouterr().out


def test_models_are_listed_and_shown(
    monkeypatch: pytest.MonkeyPatch, app: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_with(monkeypatch, app, "model", "list") == 0
    assert "scene-compact" in capsys.readouterr().out
    assert run_with(monkeypatch, app, "model", "show", "scene-compact") == 0
    assert "sha256" not in capsys.readouterr().err
    assert run_with(monkeypatch, app, "model", "show", "none") == 1
    assert capsys.readouterr().err.startswith('dscsnet: no model "none"')


def test_models_are_listed_with_what_they_are_compiled_for(
    monkeypatch: pytest.MonkeyPatch, app: typer.Typer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each once, in one order, whatever the order of the files."""
    kept = ["fp32 B", "fp16 A", "tf32 C", "fp16 A", "fp32 A", "fp16 D", "fp16 B", "bf16 A"]
    keys = [dict(zip(("precision", "device"), each.split(), strict=True)) for each in kept]
    notes = [SimpleNamespace(key=SimpleNamespace(model="scene-compact", **key)) for key in keys]
    monkeypatch.setattr("dscsnet.engines.runtimes.tensorrt.EngineCache.entries", lambda _: notes)
    monkeypatch.setenv("COLUMNS", "400")
    assert run_with(monkeypatch, app, "model", "list") == 0
    (line,) = (each for each in capsys.readouterr().out.splitlines() if "scene-compact" in each)
    assert line.rstrip().endswith(", ".join(sorted(set(kept))))


def test_a_node_with_too_few_descriptors_says_so() -> None:
    """libzmq would end the process without a word; a soft limit alone is raised."""
    limit = "import resource as r, sys; r.setrlimit(r.RLIMIT_NOFILE, (20, int(sys.argv.pop(1))));"
    start = f"{limit} from dscsnet.pipeline.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", start, "20", "node"],
        check=False,
        **{"cwd": ROOT, "capture_output": True, "text": True, "timeout": 100},
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("dscsnet: only 20 files and sockets may be open at once")
    raised = (
        f"{limit} from dscsnet.pipeline.process import descriptors as d; d.allow_descriptors(); "
        "print(r.getrlimit(r.RLIMIT_NOFILE))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", raised, "100"],
        check=True,
        **{"cwd": ROOT, "capture_output": True, "text": True, "timeout": 100},
    )
    assert ended.stdout == "(100, 100)\n"
