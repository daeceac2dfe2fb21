"""The choice of the number of targets, taught after the network, and what a model keeps of it."""

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from msgspec.structs import replace

import dscsnet.tools.export.model_folder
from dscsnet.engines.card import GridlessReadout
from dscsnet.engines.errors import ModelError
from dscsnet.engines.fitting import NO_SELECTION, RefineSettings, Selection, selection_of
from dscsnet.engines.model import CARD, SELECTION, SHIPPED, file_sha256, load_model
from dscsnet.engines.model_engine import ModelEngine, open_model_engine
from dscsnet.engines.opening import open_engine
from dscsnet.engines.readouts.gridless import read_gridless
from dscsnet.tools.export import selection_training
from dscsnet.tools.export.model_folder import finish_readout, protocol_crops
from dscsnet.tools.export.selection_training import train_selection
from dscsnet.tools.simulation.field import FieldProtocol, FieldSimulator
from dscsnet.tools.training.config import SelectionTraining, TrainConfig, load_train_config

MODEL = "field-mlp"
#: A sensor whose PSF is told wrong, of which fits make pairs.
WRONG = FieldProtocol(psf_told_error=0.08, empty=0.0, crowded=0.03)
READOUT = GridlessReadout(
    refine=RefineSettings(alternatives=5, least_probability=0.01), least_occupied=0.0
)


@pytest.fixture(scope="module")
def engine() -> ModelEngine:
    return open_model_engine(MODEL, "onnxruntime")


def settings(crops: int = 6000) -> SelectionTraining:
    return SelectionTraining(protocols=[WRONG, FieldProtocol()], crops=crops, hidden=16, batch=128)


def recipe() -> TrainConfig:
    config = load_train_config(Path("configs/train/field-mlp.yaml"))
    return replace(config, field=WRONG, readout=READOUT, selection=settings(400))


def test_it_counts_better_than_the_fits_objectives(engine: ModelEngine) -> None:
    told: list[tuple[int, int]] = []
    selection = train_selection(
        engine, READOUT, settings(), 5, lambda done, total: told.append((done, total))
    )
    assert told[-1] == (12000, 12000)
    batch, true = protocol_crops(recipe(), 3000, seed=9)
    number = np.bincount(true.image, minlength=len(batch))
    outputs = engine.run(batch)
    right = [
        (read_gridless(READOUT, outputs, batch, chosen).number == number)[number <= 5].mean()
        for chosen in (NO_SELECTION, selection)
    ]
    assert right[1] > right[0] + 0.02


def test_it_repeats(engine: ModelEngine) -> None:
    one, again = (train_selection(engine, READOUT, settings(300), 5) for _ in range(2))
    for name in Selection._fields:
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert one.leave.shape == (6, 16)


def test_a_model_keeps_it_and_the_calibration_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dscsnet.tools.export.model_folder, "CALIBRATION_CROPS", 1000)
    folder = tmp_path / "model"
    shutil.copytree(SHIPPED / MODEL, folder)
    card = load_model(folder).card
    finished = finish_readout(recipe(), card, READOUT, folder)
    assert finished.files[SELECTION] == file_sha256(folder / SELECTION)
    assert finished.readout != READOUT
    stored = load_model(folder).selection()
    assert stored.slots == 5

    monkeypatch.setattr(
        dscsnet.tools.export.model_folder,
        "train_selection",
        lambda *_: pytest.fail("none is wanted"),
    )
    without = finish_readout(replace(recipe(), selection=None), finished, READOUT, folder)
    assert SELECTION not in without.files
    assert without.readout != finished.readout


def put(folder: Path, weights: dict[str, np.ndarray]) -> None:
    """A selection in a copy of the shipped model, listed in its card."""
    shutil.copytree(SHIPPED / MODEL, folder)
    np.savez(folder / SELECTION, **weights)  # type: ignore[arg-type]
    listed = f"files:\n  {SELECTION}: {file_sha256(folder / SELECTION)}\n"
    text = "".join(
        line
        for line in (folder / CARD).read_text().splitlines(keepends=True)
        if SELECTION not in line
    )
    (folder / CARD).write_text(text.replace("files:\n", listed))


def weights_for(slots: int) -> dict[str, np.ndarray]:
    shapes = [(3, 12 * slots + 7), (3,), (3, 3), (3,), (slots + 1, 3), (slots + 1,)]
    return {
        name: np.zeros(shape, np.float32)
        for name, shape in zip(Selection._fields, shapes, strict=True)
    }


def test_a_selection_for_other_slots_is_refused_at_the_start(tmp_path: Path) -> None:
    put(tmp_path / "model", weights_for(3))
    with pytest.raises(ModelError, match=r"selection\.npz is for 3 slots, the network has 5"):
        open_engine(tmp_path / "model", threads=1).check()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"middle": np.zeros((2, 3), np.float32)}, r"selection\.npz: middle: expected shape"),
        ({"leave": np.full((6, 3), np.nan, np.float32)}, r"selection\.npz: leave: not finite"),
        ({"enter_bias": np.array(["a", "b", "c"])}, r"selection\.npz: enter_bias: .*numbers"),
    ],
)
def test_a_spoilt_selection_is_refused(
    tmp_path: Path, change: dict[str, np.ndarray], message: str
) -> None:
    put(tmp_path / "model", weights_for(5) | change)
    with pytest.raises(ModelError, match=message):
        open_engine(tmp_path / "model", threads=1)


def test_weights_are_kept_exactly() -> None:
    weights = weights_for(5)
    weights["enter"] += np.float32(0.1)
    assert (selection_of(weights).enter == np.float64(np.float32(0.1))).all()


def test_the_scale_of_the_features_goes_into_the_first_layer() -> None:
    """The folded weights on features as they are give what the network gives on scaled ones."""
    generator = torch.Generator().manual_seed(1)
    layers = [torch.nn.Linear(31, 5), torch.nn.Linear(5, 5), torch.nn.Linear(5, 3)]
    for layer in layers:
        for values in layer.parameters():
            values.data = torch.randn(values.shape, generator=generator)
    model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
    rng = np.random.default_rng(2)
    features, middle, spread = (
        rng.normal(3, 2, (20, 31)),
        rng.normal(3, 1, 31),
        rng.uniform(0.5, 4, 31),
    )
    found = selection_training._folded(model, middle, spread)
    hidden = np.maximum(features @ found.enter.T + found.enter_bias, 0)
    hidden = np.maximum(hidden @ found.middle.T + found.middle_bias, 0)
    scaled = torch.from_numpy((features - middle) / spread).float()
    expected = model(scaled).detach().numpy()
    np.testing.assert_allclose(
        hidden @ found.leave.T + found.leave_bias, expected, rtol=1e-3, atol=1e-4
    )


def test_crops_of_each_protocol_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection_training, "DRAWN", 40)
    drawn = list(selection_training._draw(settings(100)))
    assert [len(batch) for batch, _ in drawn] == [40, 40, 20] * 2
    for batch, number in drawn:
        assert len(number) == len(batch)
    first, second = (np.concatenate([n for _, n in drawn[k : k + 3]]) for k in (0, 3))
    assert first.min() == 1  # the first protocol has no empty crops
    assert second.min() == 0
    again = FieldSimulator(WRONG, seed=616).give(40)
    np.testing.assert_array_equal(drawn[0][0].pixels, again.batch().pixels)
    other = FieldSimulator(FieldProtocol(), seed=617).give(40)
    np.testing.assert_array_equal(drawn[3][0].pixels, other.batch().pixels)
    assert (selection_training.RUN, selection_training.LEAST_SPREAD) == (250, 1e-3)


def test_of_empty_crops_and_of_what_the_network_misses_nothing_is_learned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More targets than slots are one class; the last feature never varies."""
    numbers = np.array([0, 1, 2, 3, 4, 7, 2])
    features = np.column_stack([np.arange(7.0), np.full(7, 5.0)])
    features[6] = 0.0
    engine: Any = SimpleNamespace()
    given: list[tuple[np.ndarray, ...]] = []
    monkeypatch.setattr(selection_training, "_draw", lambda _settings: [([None] * 7, numbers)])
    monkeypatch.setattr(selection_training, "_features", lambda *_: features)
    monkeypatch.setattr(selection_training, "_fit", lambda *told: given.append(told))
    monkeypatch.setattr(selection_training, "_folded", lambda *told: told)
    told: list[tuple[int, int]] = []
    _, middle, spread = train_selection(
        engine, READOUT, settings(100), 3, lambda *now: told.append(now)
    )
    ((scaled, label, classes, _),) = given
    assert label.tolist() == [0, 1, 2, 3, 3]
    assert classes == 4
    kept = np.arange(1.0, 6.0)
    np.testing.assert_allclose(middle, [3, 5])
    np.testing.assert_allclose(spread, [np.std(kept) + 1e-3, 1e-3])
    np.testing.assert_allclose(scaled[:, 0], (kept - 3) / (np.std(kept) + 1e-3))
    np.testing.assert_allclose(scaled[:, 1], 0)
    assert told == [(7, 200)]
