"""Networks that state a distribution over the targets of a crop, off any grid."""

from dscsnet.engines.networks.offgrid.config import MlpTrunk, OffGridConfig, UnfoldedTrunk
from dscsnet.engines.networks.offgrid.network import OUTPUTS, OffGridNetwork

__all__ = ["OUTPUTS", "MlpTrunk", "OffGridConfig", "OffGridNetwork", "UnfoldedTrunk"]
