"""Options of the commands: what holds by default, and that each arrives where it acts."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

torch = pytest.importorskip("torch")

import dscsnet.engines.model  # noqa: E402
import dscsnet.engines.opening  # noqa: E402
import dscsnet.engines.runtimes.tensorrt  # noqa: E402
import dscsnet.pipeline.sources  # noqa: E402
import dscsnet.tools.calibration.calibration  # noqa: E402
import dscsnet.tools.calibration.picture  # noqa: E402
import dscsnet.tools.calibration.report  # noqa: E402
import dscsnet.tools.dataset.contact_sheet  # noqa: E402
import dscsnet.tools.dataset.reader  # noqa: E402
import dscsnet.tools.dataset.writer  # noqa: E402
import dscsnet.tools.drawing.canvas  # noqa: E402
import dscsnet.tools.evaluation.precision  # noqa: E402
import dscsnet.tools.evaluation.simulated_crops  # noqa: E402
from dscsnet.pipeline.config import EngineSettings  # noqa: E402
from dscsnet.tools.calibration.result import CalibrationSettings  # noqa: E402
from dscsnet.tools.cli import COMMANDS, new_cli  # noqa: E402
from dscsnet.tools.commands import build, comparison, dataset, evaluate, field, train  # noqa: E402
from dscsnet.tools.simulation.csist import CropProtocol  # noqa: E402

MODEL = EngineSettings().model
EVERY = (*COMMANDS, train.export, build.build, build.precision, dataset.write, dataset.show)

#: What the documentation and people rely on; options that are left out are None by default.
DEFAULTS: dict[str, dict[str, Any]] = {
    "demo.demo": {
        **{"frames": 300, "rate": 20.0, "seed": 3, "model": MODEL},
        "output": Path("demo-output"),
    },
    "picture.picture": {},
    "bench.bench": {
        **{"model": MODEL, "frames": 300, "threads": 0, "engine_only": False},
        **{"recorder": False, "rounds": 5, "compression": "none"},
        **{"workers": 0, "streams": 1, "peers": False},
    },
    "soak.soak": {
        **{"minutes": 60.0, "out": Path("soak"), "candidates": 20, "model": MODEL, "every": 10.0},
    },
    "faults.faults": {"seconds": 10.0, "only_list": False},
    "train.train": {
        **{"runs": Path("runs"), "device": "cpu", "threads": 1, "compiled": False},
        **{"data_processes": 0, "mixed_precision": False},
    },
    "train.export": {"runs": Path("runs")},
    "evaluate.evaluate": {
        "protocol": Path("configs/train/csist100k-compact.yaml"),
        **{"seed": 1234, "threads": 0, "write": False, "table": False},
    },
    "curves.curves": {"out": Path("curves.png")},
    "show.show": {"frame": 0, "model": MODEL, "out": Path("show.png")},
    "calibrate.calibrate": {
        **{"start": 0, "frames": 300, "least_snr": 15.0, "force": False, "as_json": False},
    },
    "build.build": {"every": False, "precision": "fp16", "device": 0},
    "build.precision": {"every": False, "crops": 2000},
    "dataset.write": {
        **{"train": 8000, "val": 1000, "test": 1000, "seed": 0, "base": 0, "force": False},
    },
    "dataset.show": {"base": "auto"},
}


def invoke(*arguments: str | Path | float) -> Result:
    return CliRunner().invoke(new_cli(), [str(each) for each in arguments])


def name_of(command: Callable[..., Any]) -> str:
    return f"{command.__module__.rpartition('.')[2]}.{command.__name__}"


@pytest.mark.parametrize("command", EVERY, ids=name_of)
def test_what_holds_by_default(command: Callable[..., Any]) -> None:
    given = {
        name: parameter.default
        for name, parameter in inspect.signature(command).parameters.items()
        if parameter.default not in (parameter.empty, None)
    }
    if "tools" in command.__module__:
        assert given == DEFAULTS[name_of(command)]
    # A whole number that is no truth value, and the other way round, is another option.
    for option, value in DEFAULTS.get(name_of(command), {}).items():
        assert type(given[option]) is type(value) or isinstance(value, Path)


def test_every_command_is_there() -> None:
    told = invoke("--help").output
    for command in COMMANDS:
        assert f" {command.__name__} " in told
    assert " dataset " in told
    for group, names in (("model", ("export", "build", "precision")), ("dataset", ("write",))):
        told = invoke(group, "--help").output
        assert all(f" {name} " in told for name in names)


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ((), {"counts": (8000, 1000, 1000), "seed": 0, "base": 0, "force": False}),
        (
            ("--train", 1, "--val", 2, "--test", 3, "--seed", 4, "--base", 1, "--force"),
            {"counts": (1, 2, 3), "seed": 4, "base": 1, "force": True},
        ),
    ],
)
def test_a_data_set_is_written_as_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[Any, ...], settings: Any
) -> None:
    asked: list[Any] = []

    def write_dataset(folder: Path, protocol: CropProtocol, counts: Any, **given: Any) -> Any:
        given.pop("progress")(1, 2)
        asked.append((folder, protocol, {"counts": tuple(counts.values()), **given}))
        assert list(counts) == ["train", "val", "test"]
        return SimpleNamespace(splits={"val": SimpleNamespace(crops=2)})

    monkeypatch.setattr(dscsnet.tools.dataset.writer, "write_dataset", write_dataset)
    config = tmp_path / "config.yaml"
    config.write_text("name: a\ndescription: b\nprotocol: {targets: [1, 2]}\n")
    result = invoke("dataset", "write", config, tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert asked == [(tmp_path / "out", CropProtocol(targets=(1, 2)), settings)]
    assert result.stdout == f"{tmp_path / 'out'}: 2 val crops, seed {settings['seed']}\n"


@pytest.mark.parametrize(("options", "base"), [((), "auto"), (("--base", "1"), 1)])
def test_a_data_set_is_shown_split_by_split_and_the_first_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], base: Any
) -> None:
    read: list[tuple[Path, Any]] = []
    drawn: list[str] = []

    def load_dataset(split: Path, *, base: Any, progress: Any) -> Any:
        progress(1, 1)
        read.append((split, base))
        return SimpleNamespace(x=[0.0] * 3)

    module = dscsnet.tools.dataset
    splits = {name: tmp_path / name for name in ("val", "test")}
    monkeypatch.setattr(module.reader, "find_splits", lambda folder: splits)
    monkeypatch.setattr(module.reader, "load_dataset", load_dataset)
    monkeypatch.setattr(
        module.contact_sheet,
        "draw_sheet",
        lambda scenes, title: drawn.append(title) or np.zeros((2, 2, 3), np.uint8),
    )
    told: list[str] = []
    monkeypatch.setattr(dataset, "_print", lambda name, scenes: told.append(name))
    picture = tmp_path / "a.png"
    result = invoke("dataset", "show", tmp_path, "--picture", picture, *options)
    assert result.exit_code == 0, result.output
    assert read == [(splits["val"], base), (splits["test"], base)]
    assert told == ["val", "test"]
    assert drawn == ["val: 3 crops"]
    assert result.stdout == f"picture  {picture}: val\n"
    assert picture.exists()
    picture.unlink()
    assert invoke("dataset", "show", tmp_path, *options).stdout == ""
    assert not picture.exists()


RESULT = SimpleNamespace(psf="a PSF", problem="")


@pytest.fixture(name="calibrated")
def _calibrated(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was to be opened, measured, printed, drawn and written; nothing is."""
    calls: list[Any] = []
    result = RESULT

    @contextmanager
    def open_source(recording: str, **given: Any) -> Iterator[str]:
        calls.append(("open", recording, given))
        yield "source"

    def measure(source: str, settings: CalibrationSettings, tell: Callable[..., None]) -> Any:
        calls.append(("measure", source, settings))
        return result

    def note(what: str, answer: Any = None) -> Callable[..., Any]:
        return lambda *given, **_: calls.append((what, *given)) or answer

    tools = dscsnet.tools
    monkeypatch.setattr(dscsnet.pipeline.sources, "open_source", open_source)
    monkeypatch.setattr(tools.calibration.calibration, "calibrate", measure)
    report = tools.calibration.report
    monkeypatch.setattr(report, "check_free", note("free"))
    monkeypatch.setattr(report, "as_json", lambda found: "{}" if found is result else "")
    monkeypatch.setattr(report, "print_report", lambda console, found: calls.append("print"))
    monkeypatch.setattr(report, "write_configuration", note("write"))
    monkeypatch.setattr(tools.calibration.picture, "draw_calibration", lambda found: "picture")
    monkeypatch.setattr(tools.drawing.canvas, "save_picture", note("save"))
    return calls


def test_a_calibration_is_made_as_told(calibrated: list[Any]) -> None:
    assert invoke("calibrate", "a.npy").exit_code == 0
    assert calibrated == [
        ("open", "a.npy", {"start": 0, "allow_mixed_sizes": True}),
        ("measure", "source", CalibrationSettings(300, 15.0, None, None)),
        "print",
    ]
    calibrated.clear()
    result = invoke(
        *("calibrate", "a.npy", "--start", 7, "--frames", 8, "--least-snr", 9, "--gain", 1.5),
        *("--saturation", 4000, "--write", "n.yaml", "--force", "--picture", "c.png", "--json"),
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == "{}\n"
    assert calibrated == [
        ("free", Path("n.yaml"), True),
        ("free", Path.cwd() / "n.psf.npy", True),
        ("open", "a.npy", {"start": 7, "allow_mixed_sizes": True}),
        ("measure", "source", CalibrationSettings(8, 9.0, 4000.0, 1.5)),
        ("save", Path("c.png"), "picture"),
        ("write", Path("n.yaml"), RESULT),
    ]


@pytest.mark.parametrize("gain", ["0", "-1", "nan"])
def test_a_gain_that_is_none_measures_nothing(calibrated: list[Any], gain: str) -> None:
    assert invoke("calibrate", "a.npy", f"--gain={gain}").exit_code == 2
    assert calibrated == []


@pytest.fixture(name="opened")
def _opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Engines that were to be opened, and what was to be measured with them."""
    opened: list[Any] = []

    def open_engine(model: str, **given: Any) -> Any:
        opened.append((model, given))
        return SimpleNamespace(name=model)

    def note(*_: Any, **given: Any) -> Any:
        opened.append(given)
        return None

    monkeypatch.setattr(dscsnet.engines.opening, "open_engine", open_engine)
    simulated = dscsnet.tools.evaluation.simulated_crops
    monkeypatch.setattr(simulated, "evaluate", note)
    monkeypatch.setattr(simulated, "evaluate_scenes", note)
    monkeypatch.setattr(
        dscsnet.tools.dataset.reader,
        "load_dataset",
        lambda folder, progress: progress(1, 2) or SimpleNamespace(x=[0.0]),
    )
    monkeypatch.setattr(evaluate, "_print", lambda report, name, what: None)
    return opened


def test_an_evaluation_has_its_threads(opened: list[Any], tmp_path: Path) -> None:
    invoke("evaluate", "one", "--threads", 3, "--noise", 4, "--noise", 5)
    assert opened.pop(0) == ("one", {"threads": 3})
    assert [each["noise"] for each in opened[:1]] == [4.0]
    opened.clear()
    assert invoke("evaluate", "two", "--threads", 2, "--data", tmp_path).exit_code == 0
    assert opened[0] == ("two", {"threads": 2})


def test_references_of_the_field_have_their_threads(opened: list[Any]) -> None:
    assert field._open_reference("other", 5).name == "other"
    assert opened == [("other", {"threads": 5})]
    from dscsnet.tools.references.scipy_fit import ScipyFitEngine

    assert isinstance(field._open_reference("scipy-fit", 5), ScipyFitEngine)
    engine: Any = SimpleNamespace()
    assert field._open_further(engine, "psf-fit", 5) is None


def test_a_gpu_of_what_kind_and_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    tensorrt = dscsnet.engines.runtimes.tensorrt

    def compiled(trt: str, model: Any, settings: Any, target: Any, kept: Any, tell: Any) -> bytes:
        assert trt == "library"
        assert tell is print
        asked.append((model.card.name, settings.precision, settings.capability, target.device))
        return bytes(3 * 2**19)

    def load_model(name: str) -> Any:
        return SimpleNamespace(card=SimpleNamespace(name=name))

    monkeypatch.setattr(dscsnet.engines.model, "load_model", load_model)
    monkeypatch.setattr(tensorrt, "load_library", lambda: "library")
    monkeypatch.setattr(tensorrt, "compiled_engine", compiled)
    options = ("--precision", "both", "--capability", "8.6", "--capability", "8.9")
    result = invoke("model", "build", "a", "b", *options, "--cache", tmp_path / "kept")
    assert result.exit_code == 0, result.output
    assert [each[:3] for each in asked] == [
        (name, precision, capability)
        for name in "ab"
        for precision in ("fp16", "fp32")
        for capability in ("8.6", "8.9")
    ]
    lines = result.stdout.splitlines()
    assert lines[0].startswith("a fp16 for ")
    assert lines[0].endswith(": 1.5 MiB, ready")
    assert len(lines) == 9
    assert lines[-1] == f"in {tmp_path / 'kept'}"
    asked.clear()
    assert invoke("model", "build", "a", "--precision", "fp32", *options[2:]).exit_code == 0
    assert [each[1] for each in asked] == ["fp32", "fp32"]


def test_precision_is_measured_as_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def cost(name: str, crops: int, tell: Callable[[int, int], None]) -> Any:
        tell(1, 2)
        asked.append((name, crops))
        both = {"fp16": 2e-3, "fp32": 1e-6}
        return SimpleNamespace(model=name, crops=crops, errors=both, cso_map=both, moved=0.01)

    monkeypatch.setattr(dscsnet.tools.evaluation.precision, "precision_cost", cost)
    page = tmp_path / "page.md"
    assert invoke("model", "precision", "a", "b", "--markdown", page).exit_code == 0
    assert asked == [("a", 2000), ("b", 2000)]
    lines = page.read_text().splitlines()
    assert lines[1] == f"|{' --- |' * 7}"
    assert [line[:5] for line in lines[2:]] == ["| a |", "| b |"]
    page.unlink()
    result = invoke("model", "precision", "c", "--crops", 300)
    assert asked[2:] == [("c", 300)]
    assert "c " in result.stdout
    assert not page.exists()


def test_the_table_is_of_two_thousand_fitted_crops() -> None:
    assert comparison.CROPS_FITTED == 2000
