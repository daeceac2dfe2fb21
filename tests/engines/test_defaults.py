"""What holds where nothing is said, and the bounds of what may be said: both are documented."""

from typing import Any

import msgspec
import pytest

from dscsnet.engines import cold_start, model, table
from dscsnet.engines.card import GridlessReadout, GridReadout, ModelCard, ScoreWeights
from dscsnet.engines.compiled import folder
from dscsnet.engines.fitting import RefineSettings
from dscsnet.engines.psf_fit_settings import PsfFitSettings
from dscsnet.engines.readouts import score
from dscsnet.engines.runtimes import RuntimeOptions, split
from dscsnet.engines.runtimes.onnx import OnnxRuntime
from dscsnet.engines.runtimes.tensorrt import graphs, runtime, worker

DEFAULTS: dict[type[msgspec.Struct], list[Any]] = {
    ScoreWeights: [0.0, 1.0, 0.3, 0.3, 0.3, -0.5, -1.5],
    GridReadout: [0.0, 0.0, 0.0, False, 20.0],
    GridlessReadout: [
        *(0.5, 0.0, RefineSettings(), 1.0, 0.0, 0.0, 1.0),
        *(ScoreWeights(), None, None, 3.0, 0.2, 0.12),
    ],
    RefineSettings: [8, 1e-3, 2.0, 0.05, 30.0, 3.0, 1.2, 3, 0.03, 2.5, 1, 1.5, 4.0],
    PsfFitSettings: [
        *(11, 0.5, None, 0.0, None, 1, 5, 2, 0, 20),
        *(None, 3.0, 100.0, 0.0, 3.0),
    ],
}


@pytest.mark.parametrize("kind", DEFAULTS, ids=lambda kind: kind.__name__)
def test_defaults_of_settings(kind: type[msgspec.Struct]) -> None:
    assert list(msgspec.structs.astuple(kind())) == DEFAULTS[kind]


def test_defaults_of_runtimes() -> None:
    assert RuntimeOptions() == RuntimeOptions(threads=0, device=0, precision="fp16", cache=None)


def test_bounds_and_patience_of_what_runs() -> None:
    assert (model.MOST_GOLDEN_BYTES, model.MOST_SELECTION_BYTES) == (2**26, 2**23)
    assert (split.BUCKETS, split.SMALL) == ((1, 8, 64, 256, 1024), 64)
    assert (worker.PATIENCE_S, runtime.LANES) == (30.0, 2)
    assert runtime.TOLERANCE == {"fp32": 1e-4, "fp16": 5e-3}
    assert OnnxRuntime.tolerance.fget(None) == 1e-4  # type: ignore[attr-defined]
    assert cold_start.LONGEST_WAIT_S == 120.0
    assert folder.KEPT == 10
    assert graphs.CAPTURE_THREAD_LOCAL == 1
    assert table.MOST_SHOWN == 10
    assert score.FURTHER_FROM == 0.02


#: Of each setting what is just allowed, and what is not.
BOUNDS: list[tuple[type[msgspec.Struct], str, list[float], list[float]]] = [
    (GridReadout, "threshold", [0], [-1e-9]),
    (GridReadout, "relative", [0, 0.999], [-1e-9, 1]),
    (GridReadout, "significance", [0], [-1e-9]),
    (GridReadout, "max_chi2", [1e-9], [0]),
    (GridlessReadout, "least_occupied", [0, 1], [-1e-9, 1.001]),
    (GridlessReadout, "least_doubted", [0, 1], [-1e-9, 1.001]),
    (GridlessReadout, "sigma_scale", [1e-9], [0]),
    (GridlessReadout, "sigma_network", [0], [-1e-9]),
    (GridlessReadout, "sigma_floor", [0], [-1e-9]),
    (GridlessReadout, "intensity_sigma_scale", [1e-9], [0]),
    (GridlessReadout, "max_chi2", [1e-9], [0]),
    (GridlessReadout, "max_crowded", [1e-9, 1], [0, 1.001]),
    (GridlessReadout, "max_width_error", [1e-9], [0]),
]


def least_card(**changes: Any) -> dict[str, Any]:
    training = {"data": "", "crops": 0, "seconds": 0, "hardware": "", "seed": 0, "date": ""}
    return {
        **{"name": "m", "description": "", "crop_size": 127, "upsampling": 1, "field_size": 1},
        **{"psf_sigma": 0.5, "psf_sigma_range": [0.4, 0.6], "intensity_range": None},
        **{"normalisation": "fixed", "inputs": ["crops"], "outputs": ["grid"]},
        **{"readout": {"type": "grid"}, "files": {}, "training": training, "measured": {}},
        **changes,
    }


@pytest.mark.parametrize(
    ("name", "allowed", "beyond"),
    [
        ("crop_size", [3, 127], [1, 129]),
        ("upsampling", [1, 31], [-1, 33]),
        ("field_size", [1], [-1]),
        ("psf_sigma", [1e-9, 100], [0, 100.1]),
    ],
)
def test_bounds_of_a_card(name: str, allowed: list[float], beyond: list[float]) -> None:
    for value in allowed:
        assert getattr(msgspec.convert(least_card(**{name: value}), ModelCard), name) == value
    for value in beyond:
        with pytest.raises(msgspec.ValidationError, match=rf"\$\.{name}"):
            msgspec.convert(least_card(**{name: value}), ModelCard)


@pytest.mark.parametrize(
    ("kind", "name", "allowed", "beyond"), BOUNDS, ids=lambda each: getattr(each, "__name__", None)
)
def test_bounds_of_readouts(
    kind: type[msgspec.Struct], name: str, allowed: list[float], beyond: list[float]
) -> None:
    tag = {"type": "grid" if kind is GridReadout else "gridless"}
    for value in allowed:
        assert getattr(msgspec.convert({**tag, name: value}, kind), name) == value
    for value in beyond:
        with pytest.raises(msgspec.ValidationError, match=rf"\$\.{name}"):
            msgspec.convert({**tag, name: value}, kind)


def test_further_targets_need_weights() -> None:
    told = {"type": "gridless", "least_existence": 0.0, "further_weights": {}}
    assert msgspec.convert(told, GridlessReadout).least_existence == 0
    for value in (-1e-9, 1.001):
        with pytest.raises(msgspec.ValidationError, match="least_existence"):
            msgspec.convert({**told, "least_existence": value}, GridlessReadout)
    with pytest.raises(msgspec.ValidationError, match="not calibrated"):
        msgspec.convert({"type": "gridless", "least_existence": 0.5}, GridlessReadout)
    msgspec.convert({"type": "gridless", "further_weights": {}}, GridlessReadout)
