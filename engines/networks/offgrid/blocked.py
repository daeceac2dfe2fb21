"""The unfolded network laid out for processors: other operations, the same function.

ONNX Runtime keeps feature maps in blocks of 8 or 16 channels. It has fast kernels for convolutions
from whole blocks or from a few plain maps, and for sums and products of blocked maps. Whatever else
comes in between costs two conversions, and the slow kernels. So here

- no feature maps are concatenated with others: what a convolution makes of either is summed;
- gains are maps, made by a convolution too: a product with one number a channel is not blocked;
- the two maps that leave a stage, which would be two channels of a block, are made `ROWS` rows of
  pixels at a time, and these fill it;
- of the first stage is left what is not zero.

Training and the float64 reference keep the plain form; the weights are the same.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dscsnet.engines.networks.layers import soft_threshold
from dscsnet.engines.networks.offgrid import OffGridNetwork
from dscsnet.engines.networks.offgrid.head import Distribution
from dscsnet.engines.networks.offgrid.inputs import Inputs, make_inputs, over_noise
from dscsnet.engines.networks.offgrid.unfolded import (
    PENALTIES,
    DataTerm,
    Stage,
    UnfoldedFeatures,
)

#: Maps that leave a stage: a step and a threshold a cell.
LEAVING = 2
#: Rows that its last layer makes of them at once, at most: together they fill a block of 16.
ROWS = 8
#: Maps that enter a stage but the first, beside the feature maps: x + β, x and z.
ENTERING = 3


class BlockedNetwork(nn.Module):
    """An `OffGridNetwork` with an unfolded trunk, to be exported; the same in, the same out."""

    def __init__(self, plain: OffGridNetwork) -> None:
        super().__init__()
        assert isinstance(plain.features, UnfoldedFeatures), "no other trunk needs this"
        self.config, self.head = plain.config, plain.head
        self.features = BlockedFeatures(plain.features)

    def forward(self, crops: Tensor, noise: Tensor, psf_sigma: Tensor) -> Distribution:
        inputs = make_inputs(self.config, crops, noise, psf_sigma)
        result: Distribution = self.head(self.features(inputs), inputs)
        return result


class BlockedFeatures(nn.Module):
    """`UnfoldedFeatures` of blocked stages."""

    def __init__(self, plain: UnfoldedFeatures) -> None:
        super().__init__()
        self.cells, self.table = plain.cells, plain.table
        first, *later = (stage for stage in plain.stages if isinstance(stage, Stage))
        self.first = FirstStage(first, plain.cells)
        self.later = nn.ModuleList(LaterStage(stage, plain.cells) for stage in later)
        channels = first.middle.out_channels
        self.reduce = SplitConvolution(plain.reduce, slice(channels), slice(channels, None))
        layers = [layer for layer in plain.penalties if isinstance(layer, nn.Linear)]
        self.penalties = nn.Linear(layers[0].in_features, len(layers))
        self.penalties.weight = _fixed(torch.cat([layer.weight for layer in layers]))
        self.penalties.bias = _fixed(torch.cat([layer.bias for layer in layers]))

    def forward(self, inputs: Inputs) -> Tensor:
        data = DataTerm(self.table, 0.5 * inputs.pixels, inputs.psf)
        penalties = self.penalties(inputs.context).clamp(*PENALTIES).exp()[:, :, None, None]
        first_rho, *rhos = penalties.split(1, 1)
        context = inputs.context[:, :, None, None].expand(-1, -1, self.cells, self.cells)
        x = data.first_update(first_rho)
        z, beta, features = self.first(x, context)
        for stage, rho in zip(self.later, rhos, strict=True):
            x = data.update(z - beta, rho)
            z, beta, features = stage(x, z, beta, features, context)
        reduced = functional.silu(self.reduce(features, torch.cat([x, z, beta], 1))).flatten(1)
        residual = over_noise(2 * data.residual(z).flatten(1), inputs.noise)
        return torch.cat([reduced, 0.45 * residual, inputs.context], 1)


class _Stage(nn.Module):
    """What all stages do once their input is summed up."""

    def __init__(self, plain: Stage, cells: int) -> None:
        super().__init__()
        gains = plain.gains
        self.gains = nn.Conv2d(gains.in_features, gains.out_features, 1)
        self.gains.weight, self.gains.bias = _fixed(gains.weight[:, :, None, None]), gains.bias
        self.middle, self.leave = plain.middle, RowsConvolution(plain.leave, cells)
        self.pull, self.step = plain.pull, _fixed(plain.multiplier_step())

    def code(self, entered: Tensor, moved: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """z, (B, 1, m, m), and feature maps, (B, C, m, m)."""
        features = functional.silu(entered * self.gains(context))
        features = features + functional.silu(self.middle(features))
        step, threshold = self.leave(features).split(1, 1)
        return soft_threshold(moved - step, functional.softplus(threshold)), features


class FirstStage(_Stage):
    """The stage before which z and β are zero."""

    def __init__(self, plain: Stage, cells: int) -> None:
        super().__init__(plain, cells)
        # Of its two maps, x + β and x, the first is the second.
        weight = plain.enter.weight.sum(1, keepdim=True)
        self.enter = _convolution(weight, plain.enter.bias, plain.enter)

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, features = self.code(self.enter(x), self.pull * x, context)
        return z, self.step * (x - z), features


class LaterStage(_Stage):
    """A stage that is handed feature maps."""

    def __init__(self, plain: Stage, cells: int) -> None:
        super().__init__(plain, cells)
        self.enter = SplitConvolution(plain.enter, slice(ENTERING, None), slice(ENTERING))
        assert plain.keep is not None, "every stage but the first has it"
        self.keep = plain.keep

    def forward(
        self, x: Tensor, z: Tensor, beta: Tensor, features: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        target = x + beta
        entered = self.enter(features, torch.cat([target, x, z], 1))
        z, features = self.code(entered, self.pull * target + self.keep * z, context)
        return z, beta + self.step * (x - z), features


class SplitConvolution(nn.Module):
    """A convolution of feature maps and of others which are not concatenated with them.

    Args:
        layer: takes both.
        features, others: which of its input channels are which.
    """

    def __init__(self, layer: nn.Conv2d, features: slice, others: slice) -> None:
        super().__init__()
        self.features = _convolution(layer.weight[:, features], None, layer)
        self.others = _convolution(layer.weight[:, others], layer.bias, layer)

    def forward(self, features: Tensor, others: Tensor) -> Tensor:
        return self.features(features) + self.others(others)


class RowsConvolution(nn.Module):
    """A 3x3 convolution to `LEAVING` maps, some rows at a time: (B, C, m, m) to (B, 2, m, m).

    The rows are channels of one position, whose kernel is as high as what they see together.
    """

    def __init__(self, layer: nn.Conv2d, cells: int) -> None:
        super().__init__()
        self.rows = rows = max(n for n in range(1, ROWS + 1) if cells % n == 0)
        shifted = [functional.pad(layer.weight, (0, 0, k, rows - 1 - k)) for k in range(rows)]
        weight = torch.stack(shifted, 1).flatten(0, 1)
        assert layer.bias is not None
        self.layer = _convolution(weight, layer.bias.repeat_interleave(rows), layer)
        self.layer.stride = (rows, 1)

    def forward(self, features: Tensor) -> Tensor:
        cells = features.shape[-1]
        made = self.layer(features).reshape(-1, LEAVING, self.rows, cells // self.rows, cells)
        return made.transpose(2, 3).reshape(-1, LEAVING, cells, cells)


def _convolution(weight: Tensor, bias: Tensor | None, like: nn.Conv2d) -> nn.Conv2d:
    """A convolution with these weights, its stride and padding those of another."""
    outputs, inputs, height, width = weight.shape
    layer = nn.Conv2d(inputs, outputs, (height, width), bias=bias is not None)
    layer.stride, layer.padding = like.stride, like.padding
    layer.weight = _fixed(weight)
    layer.bias = None if bias is None else _fixed(bias)
    return layer


def _fixed(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach().clone(), requires_grad=False)
