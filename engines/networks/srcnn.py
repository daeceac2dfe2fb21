"""SRCNN (Dong et al., TPAMI 2016): three convolutions, 9x9, 1x1 and 5x5, on an upsampled image.

The upsampled image is the linear start Q y that the unfolded networks begin with, too.
"""

from typing import Annotated

from msgspec import Meta
from torch import Tensor, nn

from dscsnet.engines.networks.base import StartedNetwork
from dscsnet.engines.networks.config import GridConfig


class SRCNNConfig(
    GridConfig,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="kind",
    tag="srcnn",
):
    """SRCNN; the defaults are its authors', for one channel."""

    patch_width: Annotated[int, Meta(ge=1, le=1024, description="channels of the 9x9 layer")] = 64
    mapping_width: Annotated[int, Meta(ge=1, le=1024, description="channels of the 1x1 layer")] = 32


class SRCNN(StartedNetwork):
    """Crops to grids by patch extraction, non-linear mapping and reconstruction."""

    def __init__(self, config: SRCNNConfig) -> None:
        super().__init__(config)
        self.layers = nn.Sequential(
            nn.Conv2d(1, config.patch_width, 9, padding=4),
            nn.ReLU(),
            nn.Conv2d(config.patch_width, config.mapping_width, 1),
            nn.ReLU(),
            nn.Conv2d(config.mapping_width, 1, 5, padding=2),
        )

    def forward(self, crops: Tensor) -> Tensor:
        return self.embed(self.layers(self.first_estimate(crops)).squeeze(1))
