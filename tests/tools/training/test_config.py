"""Which crops a training configuration is of."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("torch")

from dscsnet.engines.card import GridlessReadout, GridReadout
from dscsnet.engines.networks.offgrid import OffGridConfig
from dscsnet.pipeline.errors import ConfigError
from dscsnet.tools.simulation.csist import CropProtocol
from dscsnet.tools.simulation.field import FieldProtocol
from dscsnet.tools.simulation.source_kinds import CsistSource, FieldSource
from dscsnet.tools.training.config import (
    SelectionTraining,
    TrainConfig,
    find_train_configs,
    load_crop_protocol,
    load_train_config,
)

CONFIGS = Path(__file__).parents[3] / "configs" / "train"


def test_a_configuration_has_field_crops_where_it_says_so() -> None:
    field = load_train_config(CONFIGS / "field-unfolded.yaml").source
    assert field == FieldSource(FieldProtocol(psf_told_error=0.05))
    published = load_train_config(CONFIGS / "csist100k-mlp.yaml").source
    assert published == CsistSource(CropProtocol(noise=(0.3, 6.0), noise_free=0.25))


def test_field_crops_are_not_taken_for_those_of_the_published_protocol() -> None:
    assert load_crop_protocol(CONFIGS / "csist100k-compact.yaml") == CropProtocol()
    with pytest.raises(ConfigError, match=r"field-mlp\.yaml: of field crops; give a config"):
        load_crop_protocol(CONFIGS / "field-mlp.yaml")


def test_configurations_of_a_folder_come_by_name_whatever_the_folder_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / f"{name}.yaml" for name in "abc"]
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(files[::-1]))
    assert find_train_configs([tmp_path]) == files


SELECTION = SelectionTraining(protocols=[FieldProtocol()])
FIELD = {"network": OffGridConfig(), "readout": GridlessReadout()}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"network": OffGridConfig()}, "an off-grid network has the readout of type gridless"),
        ({"readout": GridlessReadout()}, "an off-grid network has the readout of type gridless"),
        ({"field": FieldProtocol()}, "field crops teach off-grid networks only"),
        ({"selection": SELECTION}, "selection: it chooses among fits"),
        (
            FIELD | {"selection": SELECTION, "readout": GridlessReadout(refine=None)},
            "selection: it chooses among fits",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(name="a", description="", **sections)


def test_parts_that_fit() -> None:
    for sections in (
        *({}, FIELD, {**FIELD, "field": FieldProtocol()}),
        {**FIELD, "selection": SELECTION},
    ):
        config = TrainConfig(name="a", description="", **sections)
        assert isinstance(config.source, FieldSource) == ("field" in sections)


def test_what_a_recipe_leaves_out_has_the_value_that_it_always_had() -> None:
    config = TrainConfig(name="a", description="")
    assert msgspec.to_builtins(config.optimisation) == {
        **{"crops": 1_000_000, "seconds": None, "batch": 64, "learning_rate": 2e-3},
        **{"warm_up": 300, "weight_decay": 1e-4, "clip": 1.0, "averaging": 0.999, "seed": 0},
    }
    assert msgspec.to_builtins(config.protocol) == {
        **{"crop_size": 11, "psf_sigma": 0.5, "targets": (1, 5), "empty": 0.0},
        **{"placement": "pixel", "cluster_radius": (0.3, 2.0), "cluster_offset": 1.0},
        **{"min_separation": 0.494, "intensity": (220, 250), "brightness_ratio": 1.0},
        **{"noise": (0, 0), "noise_free": 0.0, "neighbour": 0.0, "field_size": 7},
        "integer": True,
    }
    assert config.readout == GridReadout(threshold=50.0)
    assert (config.field, config.start, config.selection) == (None, None, None)
    assert msgspec.to_builtins(FieldProtocol()) == {
        **{"crop_size": 11, "most": 5, "empty": 0.2, "crowded": 0.05, "psf_sigma": (0.45, 0.9)},
        **{"psf_told_error": 0.04, "psf_told_right": 0.0, "ellipticity": 0.1, "wings": 0.25},
        **{"min_separation": 0.5, "cluster_radius": (0.3, 2.0), "cluster_offset": 1.3},
        **{"snr": (4.0, 500.0), "brightness_ratio": 8**0.5, "noise": (0.25, 40.0)},
        **{"shot": 0.3, "hot_pixels": 0.1, "neighbour": 0.1, "structure": 0.6},
    }
    selection = msgspec.to_builtins(SELECTION)
    del selection["protocols"]
    assert selection == {
        **{"crops": 300_000, "hidden": 128, "passes": 8, "batch": 512},
        **{"learning_rate": 3e-3, "weight_decay": 1e-2},
    }
