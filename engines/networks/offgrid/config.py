"""Sizes and units of the off-grid networks."""

from typing import Annotated

import msgspec
from msgspec import Meta


class MlpTrunk(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind",
    tag="mlp",
):  # fmt: skip
    """Residual perceptron on the whitened pixels: the choice for small CPUs."""

    width: Annotated[int, Meta(ge=8, description="units of each layer")] = 512
    depth: Annotated[int, Meta(ge=1, le=100, description="residual blocks")] = 5


class UnfoldedTrunk(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind",
    tag="unfolded",
):  # fmt: skip
    """DSCSNet's unfolded ADMM on a grid finer than the pixels, with the crop's own PSF."""

    stages: Annotated[int, Meta(ge=1, le=100, description="unfolded ADMM iterations")] = 3
    channels: Annotated[
        int, Meta(ge=1, le=1024, description="feature maps of the sparse transform")
    ] = 16
    cells: Annotated[int, Meta(ge=4, description="grid cells along a side; even")] = 16
    cell: Annotated[float, Meta(gt=0, description="side of a cell, px")] = 0.5
    reduced: Annotated[int, Meta(ge=1, le=1024, description="feature maps that the head sees")] = 24
    width: Annotated[int, Meta(ge=8, description="units of the head's layers")] = 384
    depth: Annotated[int, Meta(ge=1, le=100, description="residual blocks of the head")] = 3


class OffGridConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind",
    tag="off-grid",
):  # fmt: skip
    """An off-grid network; the defaults suit the field, where nothing depends on the counts."""

    trunk: MlpTrunk | UnfoldedTrunk = MlpTrunk()
    crop_size: Annotated[int, Meta(ge=3, description="side of the crop, px; odd")] = 11
    window: Annotated[
        int, Meta(ge=3, description="central square of the crop that the network sees, px; odd")
    ] = 11
    slots: Annotated[int, Meta(ge=1, le=8, description="greatest number of targets")] = 5
    unit: (
        Annotated[
            float, Meta(gt=0, description="counts of a typical target; null: the crop's own rms")
        ]
        | None
    ) = None
    psf_sigma: Annotated[
        tuple[float, float], Meta(description="PSF widths that it can be told, px")
    ] = (0.4, 1.0)
    reach: Annotated[
        float, Meta(gt=0, description="targets are within this of the crop's centre, px, each axis")
    ] = 5.5
    position_step: Annotated[
        float, Meta(gt=0, description="px by which one unit of the head's output moves a target")
    ] = 1.0
    intensity_step: Annotated[float, Meta(gt=0, description="the same for ln counts")] = 1.0
    position_sigma: Annotated[
        float, Meta(gt=0, description="typical sigma, px; the range is about 1/70 to 20 times it")
    ] = 0.135
    intensity_sigma: Annotated[float, Meta(gt=0, description="typical sigma of ln counts")] = 0.27

    def __post_init__(self) -> None:
        for name in ("crop_size", "window"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} must be odd, got {getattr(self, name)}")
        if self.window > self.crop_size:
            raise ValueError(f"window {self.window} must not exceed crop_size {self.crop_size}")
        if not 0 < self.psf_sigma[0] <= self.psf_sigma[1]:
            raise ValueError(f"psf_sigma must be two rising widths, got {self.psf_sigma}")
        if isinstance(self.trunk, UnfoldedTrunk) and self.trunk.cells % 2:
            raise ValueError(f"trunk.cells must be even, got {self.trunk.cells}")
