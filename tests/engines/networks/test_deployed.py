"""Networks as they are exported and stored."""

import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.networks.config import NetworkConfig  # noqa: E402
from dscsnet.engines.networks.deployed import Deployed, Normalisation  # noqa: E402
from dscsnet.engines.networks.registry import build  # noqa: E402
from dscsnet.engines.networks.stored import with_kind  # noqa: E402


def test_a_fixed_unit_is_that_of_every_crop() -> None:
    network = build(NetworkConfig(field_size=3, stages=1, fused_stages=1, width=2))
    model = Deployed(network, Normalisation(counts=50.0))
    crops = torch.rand(3, 11, 11) * 1e4
    scale = model.scale(crops)
    assert scale.shape == (3, 1, 1)
    assert scale.flatten().tolist() == [50, 50, 50]
    assert model.inputs(crops, scale).max() == 10


def test_old_recipes_name_no_kind() -> None:
    assert with_kind({"network": {"width": 3}}) == {"network": {"kind": "dscsnet", "width": 3}}
    assert with_kind({"network": {"kind": "srcnn"}}) == {"network": {"kind": "srcnn"}}
    for other in (None, [], {}, {"network": None}):
        assert with_kind(other) == other
