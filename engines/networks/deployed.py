"""A network with its normalisation around it: counts in, counts out. This is what is exported."""

from typing import Annotated, Literal

import msgspec
import torch
from msgspec import Meta
from torch import Tensor, nn

from dscsnet.engines.imaging import central_fraction
from dscsnet.engines.networks.base import GridNetwork

#: Largest pixel that a network is given, units; five centred targets in one pixel are 2.3.
LARGEST_INPUT = 10.0


class Normalisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How counts become the network's units."""

    kind: Annotated[
        Literal["fixed", "peak"],
        Meta(description="fixed: a set number of counts; peak: the crop's own brightest pixel"),
    ] = "fixed"
    counts: Annotated[
        float, Meta(gt=0, description="fixed: counts that are one unit (a typical target)")
    ] = 235.0


class Deployed(nn.Module):
    """(B, n, n) counts above background to (B, c n, c n) counts per grid cell.

    With `peak` the unit is the intensity of one target, centred on the crop's brightest field
    pixel, that would make that pixel as bright: the result then scales exactly with the input,
    and a field with nothing above background gives zero.
    """

    def __init__(self, network: GridNetwork, normalisation: Normalisation) -> None:
        super().__init__()
        self.network, self.normalisation = network, normalisation

    def scale(self, crops: Tensor) -> Tensor:
        """(B, n, n) counts to (B, 1, 1) counts a unit, not negative."""
        if self.normalisation.kind == "fixed":
            return torch.full_like(crops[:, :1, :1], self.normalisation.counts)
        config = self.network.config
        margin = (config.crop_size - config.field_size) // 2
        field = crops[:, margin : config.crop_size - margin, margin : config.crop_size - margin]
        return field.amax((1, 2), keepdim=True).relu() / central_fraction(config.psf_sigma)

    def normalise(self, crops: Tensor, scale: Tensor) -> Tensor:
        """Counts in units of `scale`; zero where that is zero."""
        return crops / torch.where(scale > 0, scale, torch.inf)

    def inputs(self, crops: Tensor, scale: Tensor) -> Tensor:
        """Crops as the network takes them: in units of `scale`, kept within what it can bear.

        A pixel outside the field may be brighter than all light inside it by any factor; such
        values would grow from stage to stage beyond the range of floats.
        """
        return self.normalise(crops, scale).clamp(-LARGEST_INPUT, LARGEST_INPUT)

    def forward(self, crops: Tensor) -> Tensor:
        scale = self.scale(crops)
        return self.network(self.inputs(crops, scale)) * scale
