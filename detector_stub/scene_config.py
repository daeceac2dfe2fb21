"""Settings of the simulated scene: type, default, unit and meaning, once.

Counts are what the sensor reads out; motion is in pixels a frame, so that a frame depends on its
number and not on the rate at which frames are published.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Counts = Annotated[float, Meta(ge=0)]


class SkySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Vertical profile: top + (bottom - top) * (y / (height - 1)) ** exponent."""

    top: Annotated[Counts, Meta(description="level of the top row, counts")] = 7500.0
    bottom: Annotated[Counts, Meta(description="level of the bottom row, counts")] = 9000.0
    exponent: Annotated[
        float, Meta(gt=0, description="above 1: steepest at the bottom, as above a horizon")
    ] = 2.0


class CloudSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A random field whose amplitude falls as spatial frequency ** -exponent."""

    contrast: Annotated[Counts, Meta(description="standard deviation of the clouds, counts")] = (
        150.0
    )
    exponent: Annotated[
        float, Meta(ge=0, le=5, description="slope of the amplitude spectrum; higher: smoother")
    ] = 1.6
    texture_size: Annotated[
        int, Meta(ge=16, le=8192, description="the clouds repeat after this many px")
    ] = 1024
    drift_x: Annotated[float, Meta(description="motion to the right, px/frame")] = 0.35
    drift_y: Annotated[float, Meta(description="motion downwards, px/frame")] = 0.04


class SensorSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """From radiance to counts: fixed pattern, noise in time, full scale."""

    bits: Annotated[
        int, Meta(ge=8, le=16, description="saturates at 2 ** bits - 1 counts, sent as uint16")
    ] = 14
    read_noise: Annotated[Counts, Meta(description="standard deviation, counts")] = 5.0
    electrons_per_count: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="shot noise variance is counts over this; null: no shot noise"),
    ] = 100.0
    offset_sigma: Annotated[
        Counts, Meta(description="fixed offset of each pixel, standard deviation, counts")
    ] = 2.0
    column_sigma: Annotated[
        Counts, Meta(description="fixed offset of each column, standard deviation, counts")
    ] = 1.5
    gain_sigma: Annotated[
        float, Meta(ge=0, lt=0.5, description="gain of each pixel, relative standard deviation")
    ] = 0.0003
    dead_pixels: Annotated[int, Meta(ge=0, description="pixels that always read 0")] = 0
    hot_pixels: Annotated[int, Meta(ge=0, description="pixels that always read full scale")] = 0


class ClusterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Moving groups of closely spaced point targets."""

    count: Annotated[int, Meta(ge=0, le=10_000, description="clusters in the scene")] = 6
    min_members: Annotated[int, Meta(ge=1, description="fewest targets of a cluster")] = 1
    max_members: Annotated[int, Meta(ge=1, le=100, description="most targets of a cluster")] = 5
    psf_sigma_x: Annotated[
        float, Meta(gt=0, le=10, description="PSF standard deviation along x, px")
    ] = 0.5
    psf_sigma_y: Annotated[
        float, Meta(gt=0, le=10, description="PSF standard deviation along y, px")
    ] = 0.5
    min_separation: Annotated[
        float, Meta(ge=0, description="least distance of two members, always, px")
    ] = 0.5
    radius: Annotated[
        float, Meta(ge=0, description="members start within this of the centre where they fit, px")
    ] = 1.2
    min_peak_snr: Annotated[
        float, Meta(gt=0, description="brightest member: central pixel over noise, at least")
    ] = 20.0
    max_peak_snr: Annotated[
        float, Meta(gt=0, description="brightest member: central pixel over noise, at most")
    ] = 100.0
    brightness_ratio: Annotated[
        float, Meta(ge=1, description="brightest over faintest member, at most")
    ] = 3.0
    min_speed: Annotated[float, Meta(ge=0, description="of a cluster, px/frame")] = 0.1
    max_speed: Annotated[float, Meta(ge=0, description="of a cluster, px/frame")] = 0.6
    rotation: Annotated[
        float, Meta(ge=0, description="members turn about the centre, at most, rad/frame")
    ] = 0.01
    breathing: Annotated[
        float, Meta(ge=0, description="distances swing between 1 and 1 + this times the least")
    ] = 0.3
    breathing_period: Annotated[float, Meta(gt=0, description="of that swing, frames")] = 300.0
    motion: Annotated[
        Literal["bounce", "reenter"],
        Meta(description="at the margin: turn back, or leave and come in on the other side"),
    ] = "bounce"
    margin: Annotated[
        float, Meta(ge=0, description="bounce inside, or reenter outside the frame by this, px")
    ] = 12.0

    def __post_init__(self) -> None:
        """Check that every range runs upwards.

        Raises:
            ValueError: a minimum is above its maximum.
        """
        for name in ("members", "peak_snr", "speed"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if low > high:
                raise ValueError(f"min_{name} must not be above max_{name}, got {low} and {high}")


class SceneConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A scene; frame k depends on this and on k alone."""

    width: Annotated[int, Meta(ge=16, le=16384, description="of the frame, px")] = 640
    height: Annotated[int, Meta(ge=16, le=16384, description="of the frame, px")] = 512
    seed: Annotated[int, Meta(ge=0, description="another seed is another scene")] = 1
    sky: SkySettings = SkySettings()
    clouds: CloudSettings = CloudSettings()
    sensor: SensorSettings = SensorSettings()
    clusters: ClusterSettings = ClusterSettings()

    def __post_init__(self) -> None:
        """Check what depends on the frame's size.

        Raises:
            ValueError: the clusters have no room inside the margin, or there are more dead and
                hot pixels than pixels.
        """
        room = min(self.width, self.height) - 1 - 2 * self.clusters.margin
        if self.clusters.motion == "bounce" and room <= 0:
            limit = (min(self.width, self.height) - 1) / 2
            raise ValueError(f"clusters.margin must be below {limit}, got {self.clusters.margin}")
        blemishes = self.sensor.dead_pixels + self.sensor.hot_pixels
        if blemishes > self.width * self.height:
            raise ValueError(f"{blemishes} dead and hot pixels are more than the frame has")
