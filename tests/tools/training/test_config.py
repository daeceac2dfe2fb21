"""Which crops a training configuration is of."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from dscsnet.engines.card import GridlessReadout
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
