"""The node's configuration: every setting with its type, default, unit and meaning, once."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from dscsnet.engines.noise_model import PSF_ERROR
from dscsnet.engines.psf_fit_settings import GREATEST_SIGMA, LEAST_SIGMA, PSF_FIT, PsfFitSettings
from dscsnet.engines.runtime_names import Precision, RuntimeName
from dscsnet.pipeline.messages import NAME_PATTERN
from dscsnet.pipeline.recording.settings import Recording
from dscsnet.pipeline.sockets import Channel
from dscsnet.pipeline.yaml_file import read_yaml

Struct = msgspec.Struct
Sigma = Annotated[float, Meta(ge=LEAST_SIGMA, le=GREATEST_SIGMA)]


class Inputs(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where frames and detections come from."""

    frames: Channel = field(
        default_factory=lambda: Channel("tcp://127.0.0.1:5550", bind=False, high_water_mark=16)
    )
    detections: Channel = field(
        default_factory=lambda: Channel("tcp://127.0.0.1:5551", bind=False, high_water_mark=256)
    )
    streams: Annotated[
        tuple[Annotated[str, Meta(pattern=NAME_PATTERN)], ...],
        Meta(description="streams to take; empty: every stream"),
    ] = ()


class Output(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where targets and the heartbeat go."""

    targets: Channel = field(
        default_factory=lambda: Channel("tcp://127.0.0.1:5552", bind=True, high_water_mark=1000)
    )
    expected_subscribers: Annotated[
        int, Meta(ge=0, description="subscribers to wait for before the first frame is read")
    ] = 1
    wait_s: Annotated[
        float, Meta(ge=0, le=600, description="wait for them at most this long, s")
    ] = 2.0


class Join(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Matching of frames and detections by key."""

    timeout_ms: Annotated[
        float, Meta(gt=0, le=3_600_000, description="wait for the other part at most, ms")
    ] = 50.0
    max_frames: Annotated[
        int, Meta(ge=1, le=100_000, description="frames that wait in a stream, at most")
    ] = 32
    max_mib: Annotated[float, Meta(gt=0, description="their pixels a stream, at most, MiB")] = 256.0
    max_streams: Annotated[
        int, Meta(ge=1, le=10_000, description="streams known at once, at most")
    ] = 64


class Overload(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What gives way when frames come faster than the engine can answer."""

    mode: Annotated[
        Literal["live", "lossless"],
        Meta(description="live: whole frames are dropped, oldest first; lossless: input blocks"),
    ] = "live"
    max_age_ms: Annotated[
        float, Meta(gt=0, description="live: frames older than this are not inferred, ms")
    ] = 200.0


class Batching(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How crops of several frames and streams share one run of the engine."""

    max_crops: Annotated[int, Meta(ge=1, le=65_536, description="crops a run, at most")] = 256
    workers: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description="threads that unmix, each with an engine of its own; 0: one a core, "
            "8 at most, and one on a GPU",
        ),
    ] = 0
    max_delay_ms: Annotated[
        float, Meta(ge=0, le=10_000, description="wait for a full batch at most, ms; 0: never")
    ] = 0.0
    across_frames: Annotated[
        bool,
        Meta(description="frames share runs; false: each has its own, and the same targets always"),
    ] = True


class Crop(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """From candidates to crops."""

    merge_radius: Annotated[
        float, Meta(ge=0, description="candidates closer than this share a crop, px")
    ] = 3.0
    max_crops: Annotated[
        int, Meta(ge=1, le=65_536, description="crops a frame, at most; the rest is flagged")
    ] = 512
    saturation: (
        Annotated[
            float,
            Meta(gt=0, description="count from which a pixel is saturated, unless a frame says"),
        ]
        | None
    ) = None
    bad_pixels: (
        Annotated[str, Meta(description="image or .npy file: pixels above 0 are bad; null: none")]
        | None
    ) = None


#: Settings that state the PSF, of which there can be one.
STATEMENTS = ("psf_fit", "psf_ellipse", "psf_file", "psf_sigma")


class EngineSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What unmixes the crops."""

    model: Annotated[str, Meta(description="a shipped model, a model folder, or psf-fit")] = (
        "field-unfolded"
    )
    runtime: Annotated[
        RuntimeName,
        Meta(description="auto: the fastest that works here"),
    ] = "auto"
    threads: Annotated[
        int,
        Meta(ge=0, le=1024, description="CPU threads of a run; 0: a worker's share of the cores"),
    ] = 0
    precision: Annotated[
        Precision, Meta(description="GPU: of the network's layers; openvino: fp16 means bf16")
    ] = "fp16"
    device: Annotated[int, Meta(ge=0, description="GPU: its number")] = 0
    cache: (
        Annotated[str, Meta(description="GPU: folder of compiled engines; null: the user's cache")]
        | None
    ) = None
    psf_sigma: Annotated[
        Sigma | Annotated[list[Sigma], Meta(min_length=2, max_length=2)] | None,
        Meta(description="the sensor's PSF sigma, px, or along x and y; null: the model's own"),
    ] = None
    psf_ellipse: (
        Annotated[
            tuple[Sigma, Sigma, float],
            Meta(
                description="the PSF as sigma_major and sigma_minor, px, and the angle of the "
                "major axis from x towards y, degrees; in place of psf_sigma"
            ),
        ]
        | None
    ) = None
    psf_file: (
        Annotated[
            str,
            Meta(
                description="the PSF as samples in a .npy file or a grey image; "
                "in place of psf_sigma"
            ),
        ]
        | None
    ) = None
    psf_oversampling: Annotated[
        int, Meta(ge=1, le=1024, description="samples a px of psf_file")
    ] = 1
    psf_error: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="rms error of the PSF on a pixel, as a share of the light there; "
            "`dscsnet calibrate` measures it",
        ),
    ] = PSF_ERROR
    gain: (
        Annotated[
            float,
            Meta(gt=0, description="electrons a count: light has shot noise; null: none is known"),
        ]
        | None
    ) = None
    psf_fit: Annotated[
        PsfFitSettings | None, Meta(description="model psf-fit: its PSF, in place of psf_sigma")
    ] = None
    least_existence: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                description="also publish targets beyond a spot's likeliest number, from this "
                "probability on; null: none",
            ),
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        """Refuse settings that nothing would use."""
        if self.psf_fit and self.model != PSF_FIT:
            raise ValueError(f"engine.psf_fit is for the model {PSF_FIT}, not {self.model}")
        stated = [name for name in STATEMENTS if getattr(self, name) is not None]
        if len(stated) > 1:
            first, second = stated[:2]
            raise ValueError(f"engine.{first} states the PSF: leave out engine.{second}")

    @property
    def states_psf(self) -> bool:
        """Whether the sensor's PSF was given."""
        return any(getattr(self, name) is not None for name in STATEMENTS)


class Http(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """/healthz, /readyz and /metrics."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="0: any free port")] = 5580


class Logging(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the node writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Annotated[Literal["text", "json"], Meta(description="json: one object a line")] = "text"


class NodeConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything the node can be told; each key may be left out."""

    name: Annotated[
        str, Meta(pattern=NAME_PATTERN, description="the node's name in heartbeats")
    ] = "node0"
    inputs: Inputs = field(default_factory=Inputs)
    output: Output = field(default_factory=Output)
    join: Join = Join()
    overload: Overload = Overload()
    batch: Batching = Batching()
    crop: Crop = Crop()
    engine: EngineSettings = EngineSettings()
    record: Recording = Recording()
    http: Http = Http()
    log: Logging = Logging()

    def __post_init__(self) -> None:
        """Refuse a wait for full batches that would make every frame too old."""
        live, delay = self.overload.mode == "live", self.batch.max_delay_ms
        if live and delay >= self.overload.max_age_ms:
            raise ValueError(
                f"batch.max_delay_ms {delay:g} must be below overload.max_age_ms "
                f"{self.overload.max_age_ms:g} in live mode, or every frame is dropped"
            )


def load_config(path: Path) -> NodeConfig:
    """Read a YAML file; an empty file gives the defaults.

    Raises:
        ConfigError: the file cannot be read, or a key or value is wrong; the message has the path
            to the key.
    """
    return read_yaml(path, NodeConfig)


def json_schema() -> bytes:
    """JSON Schema of `NodeConfig`, for editors and for checks elsewhere."""
    return msgspec.json.format(msgspec.json.encode(msgspec.json.schema(NodeConfig)))
