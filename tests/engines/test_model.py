"""Model folders and runtimes: what is shipped works, what is altered is refused."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engines.engine import make_batch, open_engine
from engines.errors import InferenceError, ModelError
from engines.model import CARD, GOLDEN, NETWORK, load_model, shipped_models
from engines.model_engine import ModelEngine, open_model_engine
from engines.runtimes import Runtime, open_runtime

SHIPPED = shipped_models()


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A copy of a shipped model that a test may spoil."""
    copy = tmp_path / "model"
    shutil.copytree(load_model(SHIPPED[0]).folder, copy)
    return copy


class RuntimeContract:
    """What every runtime must do; a runtime's test class inherits it."""

    kind: str

    @pytest.fixture(params=SHIPPED, name="engine")
    def _engine(self, request: pytest.FixtureRequest) -> ModelEngine:
        model = load_model(request.param)
        return ModelEngine(model, open_runtime(self.kind, model.network_path, threads=1))

    def test_agrees_with_the_float64_reference(self, engine: ModelEngine) -> None:
        assert engine.golden_error() < 1e-5

    def test_a_batch_gives_what_its_members_give(self, engine: ModelEngine) -> None:
        inputs = engine.model.golden().inputs
        together = engine.runtime.run(inputs)
        for index in range(len(inputs["crops"])):
            alone = engine.runtime.run({k: v[index : index + 1] for k, v in inputs.items()})
            for name, values in alone.items():
                scale = np.abs(values).max()
                np.testing.assert_allclose(together[name][index], values[0], atol=2e-5 * scale)

    @pytest.mark.parametrize("number", [1, 2, 3, 64, 65, 300])
    def test_any_batch_size(self, engine: ModelEngine, number: int) -> None:
        golden = engine.model.golden()
        rows = np.arange(number) % len(golden.inputs["crops"])
        outputs = engine.runtime.run({name: v[rows] for name, v in golden.inputs.items()})
        assert sorted(outputs) == sorted(engine.model.card.outputs)
        for name, values in outputs.items():
            assert values.shape == (number, *golden.outputs[name].shape[1:])
            assert values.dtype == np.float32

    def test_a_wrong_input_is_one_clear_error(self, engine: ModelEngine) -> None:
        with pytest.raises(InferenceError) as error:
            engine.runtime.run({"crops": np.zeros((1, 4, 4), np.float32)})
        assert "\n" not in str(error.value)

    def test_the_check_passes(self, engine: ModelEngine) -> None:
        engine.check(batch_sizes=(1, 2))
        engine.close()


class TestOnnxRuntime(RuntimeContract):
    """ONNX Runtime on the CPU."""

    kind = "onnxruntime"


class WrongRuntime:
    """A runtime that computes something else."""

    name = "wrong"

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {k: v * np.float32(1.001) for k, v in self.runtime.run(inputs).items()}

    def close(self) -> None:
        """Nothing to free."""


def test_golden_check_refuses_a_runtime_that_is_off() -> None:
    engine = open_model_engine(SHIPPED[0], "auto", threads=1, psf=None)
    wrong = ModelEngine(engine.model, WrongRuntime(engine.runtime))
    with pytest.raises(ModelError, match="golden check failed: relative error"):
        wrong.check()


def test_an_output_without_a_finite_crop_is_an_error() -> None:
    engine = open_model_engine(SHIPPED[0], "auto", threads=1, psf=None)
    pixels = np.full((1, 11, 11), np.nan, np.float32)
    batch = make_batch(engine, pixels, np.ones(pixels.shape, bool), np.ones(1, np.float32))
    with pytest.raises(InferenceError, match="not finite"):
        engine.run(batch)


def scale_free_models() -> list[str]:
    """Those for frames; a model of one protocol may overflow on anything else."""
    return [name for name in SHIPPED if load_model(name).card.normalisation == "peak"]


@pytest.mark.parametrize("name", scale_free_models())
def test_extreme_crops_give_finite_grids(name: str) -> None:
    pixels = np.zeros((4, 11, 11), np.float32)
    pixels[0, 0, 0], pixels[0, 5, 5] = 1e6, 1e-3  # light outside the field only, nearly
    pixels[1] = 1e6
    pixels[2] = -1e6
    pixels[3, ::2, ::2] = 65535
    grids = open_model_engine(name, "auto", threads=1, psf=None).runtime.run({"crops": pixels})[
        "grid"
    ]
    assert np.isfinite(grids).all()


def test_auto_names_what_it_took() -> None:
    assert open_engine(SHIPPED[0], "auto").runtime_name.startswith("onnxruntime ")


def test_cards_of_shipped_models_have_figures() -> None:
    for name in SHIPPED:
        card = load_model(name).card
        assert card.name == name
        assert card.measured["crops"] >= 2000
        assert card.training.crops > 0


@pytest.mark.parametrize("file", [NETWORK, GOLDEN])
def test_an_altered_file_is_refused(folder: Path, file: str) -> None:
    content = bytearray((folder / file).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{file}: altered: its sha256 starts"):
        load_model(folder)


@pytest.mark.parametrize("file", [".", CARD, NETWORK, GOLDEN])
def test_what_everybody_can_write_to_is_refused(folder: Path, file: str) -> None:
    path = folder / file
    path.chmod(path.stat().st_mode | 0o002)
    with pytest.raises(ModelError, match="everybody can write to it") as caught:
        load_model(folder)
    assert f"chmod o-w {path}" in str(caught.value)


def test_a_link_is_judged_by_what_it_points_to(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.onnx"
    (folder / NETWORK).rename(elsewhere)
    (folder / NETWORK).symlink_to(elsewhere)
    load_model(folder)
    elsewhere.chmod(0o666)
    with pytest.raises(ModelError, match="everybody can write to it"):
        load_model(folder)


def test_the_runtime_reports_to_nobody() -> None:
    """ONNX Runtime's telemetry is off, also where nothing of the environment says so."""
    code = "import os, engines.runtimes.onnx; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "ORT_DISABLE_TELEMETRY")}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "1\n"
    assert "telemetry" not in result.stderr.lower()


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / NETWORK).unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: No such file"):
        load_model(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("crop_size: 11", "crop_size: big", "crop_size"),
        ("name:", "nam:", "nam"),
        (f"  {NETWORK}:", "  ../outside.onnx:", "no sha256 for model.onnx"),
        (f"  {GOLDEN}:", f"  ../outside: abc\n  {GOLDEN}:", "must be a plain file name"),
    ],
)
def test_a_wrong_card_is_refused(folder: Path, old: str, new: str, message: str) -> None:
    card = folder / CARD
    text = card.read_text()
    assert old in text
    card.write_text(text.replace(old, new, 1))
    with pytest.raises(ModelError, match=message):
        load_model(folder)


def test_a_network_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(ModelError, match=r"model\.onnx: ONNX Runtime cannot load it"):
        open_runtime("onnxruntime", path)


def test_unknown_names_list_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f'no model "nothing": .*{SHIPPED[0]}'):
        load_model("nothing")
    with pytest.raises(ModelError, match=r"no model\.yaml in this folder"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match='no runtime "abacus"; there are auto, onnxruntime'):
        open_runtime("abacus", tmp_path)
