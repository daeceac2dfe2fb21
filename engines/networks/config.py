"""The size of a network and the geometry it works on: the one place where they are written."""

from typing import Annotated

import msgspec
from msgspec import Meta

from dscsnet.engines.geometry import Grid


class GridConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every network states: crops, grid and PSF."""

    crop_size: Annotated[int, Meta(ge=3, le=127, description="side of the crop, px; odd")] = 11
    upsampling: Annotated[int, Meta(ge=1, le=31, description="grid cells a pixel, c; odd")] = 3
    field_size: Annotated[
        int, Meta(ge=1, description="central square in which targets are looked for, px; odd")
    ] = 11
    psf_sigma: Annotated[float, Meta(gt=0, le=100, description="PSF standard deviation, px")] = 0.5

    def __post_init__(self) -> None:
        self.grid  # noqa: B018  # building it checks the geometry

    @property
    def grid(self) -> Grid:
        """Geometry of crops and grid."""
        return Grid(self.crop_size, self.upsampling, self.field_size)


class NetworkConfig(
    GridConfig,
    frozen=True,
    forbid_unknown_fields=True,
    kw_only=True,
    tag_field="kind",
    tag="dscsnet",
):
    """A DSCSNet; the defaults are the compact network for CPUs."""

    stages: Annotated[int, Meta(ge=1, le=100, description="unfolded ADMM iterations, N")] = 6
    width: Annotated[int, Meta(ge=1, le=1024, description="channels of the sparse transform")] = 16
    depth: Annotated[
        int, Meta(ge=0, le=100, description="width x width convolutions between C1 and C2")
    ] = 1
    dynamic_weight: Annotated[
        float, Meta(ge=0, le=1, description="share of the dynamic kernel in C1 (Fig. 8a)")
    ] = 0.7
    fused_stages: Annotated[int, Meta(ge=1, description="z's that DIR fuses, m")] = 3
    dynamic_convolution: Annotated[bool, Meta(description="DCN: kernels made from the input")] = (
        True
    )
    reorganization: Annotated[bool, Meta(description="DIR: fuse the last z's into the input")] = (
        True
    )
    threshold_generator: Annotated[bool, Meta(description="DTG: a threshold per cell")] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fused_stages > self.stages:
            raise ValueError(
                f"fused_stages {self.fused_stages} must not exceed stages {self.stages}"
            )
