"""ISTA-Net and ISTA-Net+ (Zhang and Ghanem, CVPR 2018, arXiv 1706.07929)."""

from typing import Annotated

from msgspec import Meta
from torch import Tensor
from torch.nn import functional

from dscsnet.engines.networks.config import GridConfig
from dscsnet.engines.networks.layers import PositiveScalar, convolution, soft_threshold
from dscsnet.engines.networks.unfolded_ista import ProximalStep, UnfoldedISTA


class ISTANetConfig(
    GridConfig,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="kind",
    tag="ista-net",
):
    """ISTA-Net; the defaults are its authors'."""

    stages: Annotated[int, Meta(ge=1, le=100, description="unfolded ISTA iterations")] = 9
    width: Annotated[int, Meta(ge=1, le=1024, description="channels of the sparse transform")] = 32


class ISTANetPlusConfig(
    ISTANetConfig,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="kind",
    tag="ista-net-plus",
):
    """ISTA-Net+; the defaults are its authors'."""


class TransformStep(ProximalStep):
    """x = F~(soft(F(r), θ)), with F two convolutions around a ReLU and F~ its mirror image."""

    def __init__(self, width: int, channels: int = 1) -> None:
        super().__init__()
        self.first, self.second = convolution(channels, width), convolution(width, width)
        self.third, self.last = convolution(width, width), convolution(width, channels)
        self.threshold = PositiveScalar(0.01)

    def forward(self, estimate: Tensor, mismatches: list[Tensor] | None = None) -> Tensor:
        codes = self.second(functional.relu(self.first(estimate)))
        if mismatches is not None:
            mismatches.append(self._inverse(codes) - estimate)
        return self._inverse(soft_threshold(codes, self.threshold()))

    def _inverse(self, codes: Tensor) -> Tensor:
        return self.last(functional.relu(self.third(codes)))


class ResidualStep(ProximalStep):
    """x = r + G(F~(soft(F(D(r)), θ))): D lifts r to the features whose residual is sparse."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lift, self.drop = convolution(1, width), convolution(width, 1)
        self.transform = TransformStep(width, width)

    def forward(self, estimate: Tensor, mismatches: list[Tensor] | None = None) -> Tensor:
        return estimate + self.drop(self.transform(self.lift(estimate), mismatches))


class ISTANet(UnfoldedISTA):
    """ISTA-Net: a transform and its left inverse of its own in each iteration."""

    def __init__(self, config: ISTANetConfig) -> None:
        super().__init__(config, (TransformStep(config.width) for _ in range(config.stages)))


class ISTANetPlus(UnfoldedISTA):
    """ISTA-Net+: ISTA-Net in the residual domain."""

    def __init__(self, config: ISTANetPlusConfig) -> None:
        super().__init__(config, (ResidualStep(config.width) for _ in range(config.stages)))
