"""Which crops a training configuration is of."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from dscsnet.pipeline.errors import ConfigError
from dscsnet.tools.simulation.csist import CropProtocol
from dscsnet.tools.simulation.field import FieldProtocol
from dscsnet.tools.simulation.source_kinds import CsistSource, FieldSource
from dscsnet.tools.training.config import load_crop_protocol, load_train_config

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
