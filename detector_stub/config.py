"""Settings of the spot detector and the scene simulator: type, default, unit and meaning, once."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from dscsnet.detector_stub.scene_config import SceneConfig
from dscsnet.pipeline.messages import NAME_PATTERN, Limits
from dscsnet.pipeline.sockets import Channel

MAX_CANDIDATES = Limits().max_candidates  # a node takes no more by default

Probability = Annotated[float, Meta(ge=0, le=1)]
NonNegative = Annotated[float, Meta(ge=0)]


class SpotSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The spot detector's filters and thresholds."""

    method: Annotated[
        Literal["matched", "white_tophat", "black_tophat"],
        Meta(description="filter: Gaussian of the PSF, or small bright or dark structure"),
    ] = "matched"
    psf_sigma: Annotated[
        float, Meta(gt=0, le=10, description="smoothing before the threshold, px")
    ] = 0.7
    tophat_size: Annotated[
        int, Meta(ge=3, le=99, description="side of the top-hat's square, px; odd")
    ] = 9
    threshold: Annotated[
        float, Meta(gt=0, description="contrast of a candidate, local noise sigmas")
    ] = 6.5
    guard_size: Annotated[
        int, Meta(ge=1, le=255, description="hole of the background ring, px; odd")
    ] = 9
    ring_size: Annotated[
        int, Meta(ge=3, le=511, description="outer side of the background ring, px; odd")
    ] = 21
    noise_tile: Annotated[
        int, Meta(ge=2, le=64, description="noise is the median of 5x5 tiles of this side, px")
    ] = 8
    noise_floor: Annotated[
        float,
        Meta(ge=0, le=1, description="least local noise, as a fraction of the frame's median"),
    ] = 0.5
    object_contrast: Annotated[
        float,
        Meta(gt=0, description="brighter objects stay out of background and noise, median sigmas"),
    ] = 12.0
    max_size: Annotated[
        int, Meta(ge=1, description="larger blobs are background, not candidates, px")
    ] = 40
    link_gap: Annotated[
        int, Meta(ge=0, le=64, description="parts with no wider gap are one candidate, px")
    ] = 1
    border: Annotated[
        int, Meta(ge=0, description="candidates nearer to the frame's edge are left out, px")
    ] = 2
    max_candidates: Annotated[
        int, Meta(ge=1, le=MAX_CANDIDATES, description="strongest candidates kept a frame")
    ] = 1000

    def __post_init__(self) -> None:
        """Check the window sizes against each other.

        Raises:
            ValueError: a window is even, or the guard does not fit into the ring.
        """
        for name in ("tophat_size", "guard_size", "ring_size"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} must be odd, got {getattr(self, name)}")
        if self.guard_size >= self.ring_size:
            sizes = f"got guard {self.guard_size} and ring {self.ring_size}"
            raise ValueError(f"guard_size must be below ring_size, {sizes}")


class DetectorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything the detector process needs."""

    frames: Channel = field(default_factory=lambda: Channel("tcp://127.0.0.1:5550", bind=False))
    detections: Channel = field(
        default_factory=lambda: Channel("tcp://127.0.0.1:5551", bind=True, high_water_mark=256)
    )
    streams: Annotated[tuple[str, ...], Meta(description="streams to read; empty means all")] = ()
    mode: Annotated[
        Literal["live", "lossless"],
        Meta(description="live skips the oldest frames when late, lossless makes the input wait"),
    ] = "live"
    max_waiting: Annotated[
        int, Meta(ge=1, le=1000, description="live: newest frames kept while one is processed")
    ] = 4
    wait_subscribers: Annotated[
        int, Meta(ge=0, description="detections' subscribers to await before frames are read")
    ] = 1
    wait_timeout_s: Annotated[NonNegative, Meta(description="longest such wait, s")] = 5.0
    exit_on_end: Annotated[
        bool, Meta(description="stop when every stream seen has ended, for batch use")
    ] = False
    bad_pixels: Annotated[
        str | None,
        Meta(description="8-bit image of the frame's size, above 0 where a pixel is bad"),
    ] = None
    report_interval_s: Annotated[
        float, Meta(gt=0, description="least time between log lines about one thing, s")
    ] = 5.0
    spots: SpotSettings = SpotSettings()


class FaultSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is wrong with the detections that the simulator publishes itself."""

    jitter_px: Annotated[
        NonNegative, Meta(description="error of each coordinate, standard deviation, px")
    ] = 0.0
    miss_probability: Annotated[
        Probability, Meta(description="of a cluster to go undetected in a frame, 0 to 1")
    ] = 0.0
    false_alarms_per_frame: Annotated[
        float, Meta(ge=0, le=1000, description="mean of a Poisson distribution, uniform in space")
    ] = 0.0
    delay_ms: Annotated[
        NonNegative, Meta(description="detections follow their frame by this time, ms")
    ] = 0.0


class SimulatorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything the simulator process needs."""

    stream: Annotated[
        str, Meta(pattern=NAME_PATTERN, description="name of the stream, as on the wire")
    ] = "cam0"
    frames: Channel = field(
        default_factory=lambda: Channel("tcp://127.0.0.1:5550", bind=True, high_water_mark=16)
    )
    detections: Annotated[
        Channel | None, Meta(description="publish detections from the truth; null leaves it")
    ] = None
    faults: FaultSettings = FaultSettings()
    mode: Annotated[
        Literal["live", "lossless"],
        Meta(description="live never waits for a subscriber, lossless loses nothing"),
    ] = "live"
    rate_hz: Annotated[
        Annotated[float, Meta(gt=0, le=10_000)] | None,
        Meta(description="frames a second, Hz; null: as fast as it goes"),
    ] = 50.0
    first_frame: Annotated[int, Meta(ge=0, description="frame_id of the first frame")] = 0
    frame_count: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="frames to publish; null: until stopped"),
    ] = None
    wait_subscribers: Annotated[
        int, Meta(ge=0, description="subscribers of the frames to await before the first")
    ] = 1
    wait_timeout_s: Annotated[NonNegative, Meta(description="longest such wait, s")] = 10.0
    truth: Annotated[
        str | None, Meta(description="file for the truth as JSON lines; null: none")
    ] = None
    report_interval_s: Annotated[
        float, Meta(gt=0, description="least time between log lines about one thing, s")
    ] = 5.0
    scene: SceneConfig = SceneConfig()
