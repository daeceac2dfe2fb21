"""A one-stage network: no unfolding, no imaging operator; all convolutions on the crop's pixels.

Two small convolutional stages give, for each of the c² cells of a pixel, an intensity and a mask;
their product is shuffled into the finer grid.
"""

from typing import Annotated

import torch
from msgspec import Meta
from torch import Tensor, nn
from torch.nn import functional

from dscsnet.engines.networks.base import GridNetwork
from dscsnet.engines.networks.config import GridConfig


class OneStageConfig(
    GridConfig,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="kind",
    tag="one-stage",
):
    """Size of a one-stage network."""

    width: Annotated[int, Meta(ge=1, le=1024, description="channels of the convolutions")] = 40


def _stage(inputs: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, width):
        layer = nn.Conv2d(channels, width, 3, padding=1)
        # The default start lets so little of the crop through that training does not set off.
        nn.init.kaiming_normal_(layer.weight)
        layers += [layer, nn.SiLU()]
    return nn.Sequential(*layers)


class OneStageNet(GridNetwork):
    """Crops to grids by one pass of convolutions at the resolution of the crop."""

    def __init__(self, config: OneStageConfig) -> None:
        super().__init__()
        self.config = config
        self.stages = nn.Sequential(_stage(1, config.width), _stage(config.width, config.width))
        self.heads = nn.Conv2d(config.width, 2 * config.upsampling**2, 3, padding=1)
        # Nearly all cells are empty: the masks begin closed.
        nn.init.constant_(self.heads.bias[config.upsampling**2 :], -4.0)

    def forward(self, crops: Tensor) -> Tensor:
        intensity, mask = self.heads(self.stages(crops.unsqueeze(1))).chunk(2, 1)
        product = functional.softplus(intensity) * torch.sigmoid(mask)
        cells = functional.pixel_shuffle(product, self.config.grid.upsampling).squeeze(1)
        return self.embed(self.field_of(cells))
