"""Model folders and runtimes: what is shipped works, what is altered is refused."""

import ctypes
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from dscsnet.engines.engine import make_batch
from dscsnet.engines.errors import InferenceError, ModelError
from dscsnet.engines.model import (
    CARD,
    GOLDEN,
    NETWORK,
    Model,
    file_sha256,
    load_model,
    shipped_models,
)
from dscsnet.engines.model_engine import ModelEngine, open_model_engine
from dscsnet.engines.opening import open_engine
from dscsnet.engines.runtimes import Runtime, RuntimeOptions, Unavailable, open_runtime
from dscsnet.engines.runtimes.driver import DRIVER
from dscsnet.engines.sensor import Sensor
from tests.engines.runtimes.runtime_contract import RuntimeContract

SHIPPED = shipped_models()


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """A copy of a shipped model that a test may spoil."""
    copy = tmp_path / "model"
    shutil.copytree(load_model(SHIPPED[0]).folder, copy)
    return copy


class TestOnnxRuntime(RuntimeContract):
    """ONNX Runtime on the CPU."""

    kind = "onnxruntime"


class WrongRuntime:
    """A runtime that computes something else."""

    name = "wrong"
    tolerance = 1e-4

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {k: v * np.float32(1.001) for k, v in self.runtime.run(inputs).items()}

    def close(self) -> None:
        """Nothing to free."""


def test_golden_check_refuses_a_runtime_that_is_off() -> None:
    engine = open_model_engine(SHIPPED[0], "auto", options=RuntimeOptions(threads=1))
    wrong = ModelEngine(engine.model, WrongRuntime(engine.runtime))
    with pytest.raises(ModelError, match="golden check failed: relative error"):
        wrong.check()


def test_an_output_without_a_finite_crop_is_an_error() -> None:
    engine = open_model_engine(SHIPPED[0], "auto", options=RuntimeOptions(threads=1))
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
    grids = open_model_engine(name, "auto", options=RuntimeOptions(threads=1)).runtime.run(
        {"crops": pixels}
    )["grid"]
    assert np.isfinite(grids).all()


def no_driver(model: Model, options: RuntimeOptions) -> Runtime:
    raise Unavailable("no driver here", "no_driver")


def refused(model: Model, options: RuntimeOptions) -> Runtime:
    raise ModelError("refused operator")


def wrong(model: Model, options: RuntimeOptions) -> Runtime:
    return WrongRuntime(open_runtime("onnxruntime", model, options))


def right(model: Model, options: RuntimeOptions) -> Runtime:
    return open_runtime("onnxruntime", model, options)


def test_auto_says_what_it_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried = (("one", no_driver), ("two", refused), ("three", wrong), ("four", right))
    monkeypatch.setattr("dscsnet.engines.runtimes.choice.FASTEST_FIRST", tried)
    caplog.set_level("INFO")
    engine = open_model_engine(SHIPPED[0])
    assert engine.runtime_name.startswith("onnxruntime ")
    causes = [(fallback.runtime, fallback.cause) for fallback in engine.fallbacks]
    assert causes == [("one", "no_driver"), ("two", "refused"), ("three", "golden_check")]
    assert "golden check failed" in caplog.text
    # To have no GPU is nothing to be warned of; one that does not work is.
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "WARNING"]


def test_auto_takes_the_first_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dscsnet.engines.runtimes.choice.FASTEST_FIRST", (("one", right), ("two", refused))
    )
    assert open_model_engine(SHIPPED[0]).fallbacks == ()


def test_a_runtime_that_was_asked_for_is_not_replaced() -> None:
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        with pytest.raises(Unavailable, match="no NVIDIA driver"):
            open_engine(SHIPPED[0], "tensorrt")


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
    code = "import os, dscsnet.engines.runtimes.onnx; print(os.environ['ORT_DISABLE_TELEMETRY'])"
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
    with pytest.raises(ModelError, match=r"model\.onnx: .*restore"):
        load_model(folder)


def test_an_unknown_setting_of_the_fit_is_refused(tmp_path: Path) -> None:
    card = tmp_path / CARD
    for name in SHIPPED:
        text = load_model(name).folder.joinpath(CARD).read_text()
        if "  refine:\n" in text:
            card.write_text(text.replace("  refine:\n", "  refine:\n    stepps: 3\n", 1))
            with pytest.raises(ModelError, match=r"stepps.*refine"):
                load_model(tmp_path)
            return
    pytest.fail("no shipped model has a refine section")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("crop_size: 11", "crop_size: big", "crop_size"),
        ("crop_size: 11", "crop_size: 11\ncrop_size: 13", '"crop_size" is there twice'),
        ("name:", "nam:", "nam"),
        ("crop_size: 11", "crop_size: 12", "crop_size must be odd"),
        ("crop_size: 11", "crop_size: 1000001", "127.*crop_size"),
        ("- crops\n", "- pixels\n", "inputs: expected crops, and others of"),
        ("outputs:\n- grid\n", "outputs:\n- other\n", "outputs: the readout needs grid, got other"),
        (f"  {GOLDEN}:", f'  "a\\0b": abc\n  {GOLDEN}:', r"a\\x00b: .*restore the model folder"),
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


def spoil_golden(folder: Path, change: dict[str, np.ndarray | None]) -> None:
    """Other arrays in golden.npz, its sha256 put right."""
    with np.load(folder / GOLDEN) as archive:
        arrays = {**archive, **change}
    np.savez(folder / GOLDEN, **{k: v for k, v in arrays.items() if v is not None})
    card = folder / CARD
    old = load_model(SHIPPED[0]).card.files[GOLDEN]
    card.write_text(card.read_text().replace(old, file_sha256(folder / GOLDEN)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": None}, 'no array "grid" in it'),
        ({"grid": np.zeros(3, np.int64)}, "grid: expected float32"),
        ({"grid": np.zeros((1, 33, 33), np.float32)}, "expected arrays of one length"),
        ({"crops": np.zeros((2, 9, 9), np.float32), "grid": np.zeros((2, 4), np.float32)}, "crops"),
    ],
)
def test_golden_arrays_that_do_not_fit_are_refused(
    folder: Path, change: dict[str, np.ndarray | None], message: str
) -> None:
    spoil_golden(folder, change)
    with pytest.raises(ModelError, match=message):
        open_engine(folder, threads=1).check()


def test_outputs_of_another_shape_are_an_error_of_the_batch() -> None:
    class Flat(WrongRuntime):
        def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {k: v.reshape(len(v), -1) for k, v in self.runtime.run(inputs).items()}

    engine = open_model_engine(SHIPPED[0], options=RuntimeOptions(threads=1))
    engine.runtime = Flat(engine.runtime)
    with pytest.raises(InferenceError, match=r"output grid: expected float32 \(\d+, 33, 33\), got"):
        engine.check()
    engine.close()


def test_a_network_that_is_none_is_refused(tmp_path: Path) -> None:
    model = replace(load_model(SHIPPED[0]), folder=tmp_path)
    model.network_path.write_bytes(b"no network")
    with pytest.raises(ModelError, match=r"model\.onnx: ONNX Runtime cannot load it"):
        open_runtime("onnxruntime", model)


def test_unknown_names_list_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f'no model "nothing": .*{SHIPPED[0]}'):
        load_model("nothing")
    with pytest.raises(ModelError, match=r"no model\.yaml in this folder"):
        load_model(tmp_path)
    with pytest.raises(ModelError, match='no runtime "abacus"; there are auto, onnx'):
        open_engine(SHIPPED[0], "abacus")


@pytest.mark.parametrize("name", ["psf-fit", "scene-compact", "csist100k-mlp"])
def test_not_every_engine_has_further_targets(name: str) -> None:
    with pytest.raises(ModelError, match=r"^least_existence: .*(no targets beyond|no calibrated)"):
        open_engine(name, threads=1, least_existence=0.1)


def test_an_engine_can_be_told_to_give_further_targets() -> None:
    engine = open_model_engine("field-mlp", "onnxruntime", least_existence=0.02)
    crops = np.random.default_rng(0).normal(0, 1, (40, 11, 11)).astype(np.float32)
    crops[:, 4:7, 4:7] += 6
    batch = make_batch(engine, crops, np.ones(crops.shape, bool), np.ones(40, np.float32))
    found = engine.read(engine.run(batch), batch)
    assert 0 < (~found.likely).sum() < 200
    assert (found.score[~found.likely] < 0.9).all()
    assert load_model("field-mlp").card.readout.least_existence is None
    engine.close()


@pytest.mark.parametrize(
    "psf", [(0.47, 0.5), (0.5, 0.47), (0.53, 0.5), (0.5, 0.53), (0.3, 0.3), (2.0, 2.0)]
)
def test_a_psf_that_a_grid_was_not_made_for_is_refused(psf: tuple[float, float]) -> None:
    with pytest.raises(ModelError, match=r"the model scene-compact holds for 0\.475 to 0\.525 px"):
        open_model_engine("scene-compact", "onnxruntime", sensor=Sensor.gaussian(*psf))


def test_a_psf_of_another_kind_is_refused_by_grids() -> None:
    words = r"^the model scene-compact takes a Gaussian PSF along the image's axes; for another,"
    with pytest.raises(ModelError, match=words):
        open_model_engine("scene-compact", "onnxruntime", sensor=Sensor.gaussian(0.52, 0.48, 30.0))


@pytest.mark.parametrize(
    ("name", "psf"),
    [
        *(("scene-compact", (0.475, 0.525)), ("scene-compact", (0.525, 0.475))),
        *(("scene-compact", None), ("field-mlp", (0.3, 2.0)), ("field-mlp", None)),
    ],
)
def test_a_psf_is_allowed_up_to_the_bounds_and_is_the_cards_by_default(
    name: str, psf: tuple[float, float] | None
) -> None:
    """A fit follows the off-grid networks: they have no bounds."""
    sensor = None if psf is None else Sensor.gaussian(*psf)
    engine = open_model_engine(name, "onnxruntime", sensor=sensor)
    assert engine.psf == (psf or (0.5, 0.5))
    batch = make_batch(
        engine, np.zeros((3, 11, 11), np.float32), np.ones((3, 11, 11), bool), np.ones(3, "f4")
    )
    np.testing.assert_allclose(batch.psf, np.tile(engine.psf, (3, 1)), rtol=1e-6)
    engine.close()


def test_a_psf_is_named_by_both_widths_where_they_differ() -> None:
    for sigmas, named in (((0.3, 0.3), "0.3"), ((0.3, 0.5), "0.3 by 0.5")):
        with pytest.raises(ModelError, match=f"^PSF sigma {named} px: "):
            open_model_engine("scene-compact", "onnxruntime", sensor=Sensor.gaussian(*sigmas))


def test_a_check_runs_batches_of_one_and_of_many_through_network_and_readout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = open_model_engine("csist100k-mlp", "onnxruntime", options=RuntimeOptions(threads=1))
    run, read = engine.run, engine.read
    sizes: list[tuple[str, int]] = []
    monkeypatch.setattr(
        engine, "run", lambda batch: sizes.append(("run", len(batch))) or run(batch)
    )
    monkeypatch.setattr(
        engine, "read", lambda out, batch: sizes.append(("read", len(batch))) or read(out, batch)
    )
    engine.check()
    assert sizes == [(what, size) for size in (1, 8, 64) for what in ("run", "read")]
    engine.close()


def test_a_card_lists_what_networks_can_be_given(folder: Path) -> None:
    card = folder / CARD
    card.write_text(card.read_text().replace("- crops\n", "- crops\n- wishes\n", 1))
    known = "inputs: expected crops, and others of crops, noise, psf_sigma, got crops, wishes"
    with pytest.raises(ModelError, match=known):
        load_model(folder)


@pytest.mark.parametrize(("key", "said"), [("inputs", "inputs:"), ("outputs", "outputs:")])
def test_a_card_that_lists_nothing_says_so(folder: Path, key: str, said: str) -> None:
    card = yaml.safe_load((folder / CARD).read_text())
    (folder / CARD).write_text(yaml.safe_dump(card | {key: []}))
    with pytest.raises(ModelError, match=f"{said}.*, got none"):
        load_model(folder)
