"""The model card: what a model folder says of itself in `model.yaml`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dscsnet.engines.fitting import RefineSettings
from dscsnet.engines.geometry import Grid

Range = tuple[float, float]

#: Bounds of what a card may ask for: memory and time go with the square of these.
LARGEST_CROP, MOST_CELLS, WIDEST_PSF = 127, 31, 100.0


class ScoreWeights(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Weights of the logistic regression that gives the score: of log-odds and logarithms."""

    constant: float = 0.0
    hit: Annotated[float, Meta(description="that the stated error is within 0.25 px")] = 1.0
    existence: Annotated[float, Meta(description="that the slot holds a target")] = 0.3
    count: Annotated[float, Meta(description="that the number of targets is right")] = 0.3
    occupied: Annotated[float, Meta(description="that there is a target at all")] = 0.3
    misfit: Annotated[float, Meta(description="ln of the reduced chi-square, where above 1")] = -0.5
    doubt: Annotated[float, Meta(description="1 for a crop in doubt")] = -1.5


class GridReadout(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="grid"
):
    """Grid readout: a cell must be above every one of these thresholds to be a target."""

    threshold: Annotated[float, Meta(ge=0, description="counts")] = 0.0
    relative: Annotated[
        float, Meta(ge=0, lt=1, description="fraction of the crop's brightest cell")
    ] = 0.0
    significance: Annotated[
        float, Meta(ge=0, description="peak of the target's spot over the crop's noise sigma")
    ] = 0.0
    gather: Annotated[
        bool,
        Meta(
            description="false: every such cell; true: local peaks, with their neighbours' counts"
        ),
    ] = False
    max_chi2: Annotated[
        float,
        Meta(gt=0, description="reduced chi-square above which a crop counts as not converged"),
    ] = 20.0


class GridlessReadout(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="gridless"
):
    """Gridless readout: targets off the grid from the distribution that a network states."""

    least_occupied: Annotated[
        float, Meta(ge=0, le=1, description="probability of any target below which none is given")
    ] = 0.5
    least_doubted: Annotated[
        float,
        Meta(ge=0, le=1, description="likewise for a crop in doubt; no effect below the other"),
    ] = 0.0
    refine: (
        Annotated[RefineSettings, Meta(description="the fit that follows the network")] | None
    ) = RefineSettings()
    sigma_scale: Annotated[float, Meta(gt=0, description="calibration of position sigmas")] = 1.0
    sigma_network: Annotated[
        float, Meta(ge=0, description="share of the network's own sigma added in quadrature")
    ] = 0.0
    sigma_floor: Annotated[
        float, Meta(ge=0, description="position sigma added in quadrature, px")
    ] = 0.0
    intensity_sigma_scale: Annotated[
        float, Meta(gt=0, description="calibration of intensity sigmas")
    ] = 1.0
    score_weights: Annotated[
        ScoreWeights,
        Meta(description="calibration of the score; see `dscsnet.engines.readouts.score`"),
    ] = ScoreWeights()
    further_weights: (
        Annotated[
            ScoreWeights,
            Meta(description="likewise of targets beyond the likeliest number"),
        ]
        | None
    ) = None
    least_existence: (
        Annotated[
            float,
            Meta(ge=0, le=1, description="existence from which those are given; null: none is"),
        ]
        | None
    ) = None
    max_chi2: Annotated[
        float, Meta(gt=0, description="reduced chi-square above which a crop is in doubt")
    ] = 3.0
    max_crowded: Annotated[
        float,
        Meta(gt=0, le=1, description="probability of too many targets above which it is"),
    ] = 0.2
    max_width_error: Annotated[
        float, Meta(gt=0, description="ln of fitted over told PSF width beyond which it is, too")
    ] = 0.12

    def __post_init__(self) -> None:
        if self.least_existence is not None and self.further_weights is None:
            raise ValueError("least_existence: the score of further targets is not calibrated")


#: What a network can be given.
INPUTS = {"crops", "noise", "psf_sigma"}
#: Outputs of the network that each readout reads.
OUTPUTS: dict[type, tuple[str, ...]] = {
    GridReadout: ("grid",),
    GridlessReadout: ("count", "existence", "position", "log_intensity", "log_sigma"),
}


class Training(msgspec.Struct, frozen=True, kw_only=True):
    """How the weights came to be."""

    data: str
    crops: int
    seconds: float
    hardware: str
    seed: int
    date: str


class ModelCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Contents of `model.yaml`."""

    name: str
    description: str
    crop_size: Annotated[int, Meta(ge=3, le=LARGEST_CROP, description="side of the crop, px")]
    upsampling: Annotated[int, Meta(ge=1, le=MOST_CELLS, description="grid cells a pixel, c")]
    field_size: Annotated[int, Meta(ge=1, description="central square that is unmixed, px")]
    psf_sigma: Annotated[float, Meta(gt=0, le=WIDEST_PSF, description="PSF width trained for, px")]
    psf_sigma_range: Annotated[Range, Meta(description="PSF widths it may be used with, px")]
    intensity_range: Annotated[
        Range | None, Meta(description="target intensities trained on, counts; null: any")
    ]
    normalisation: Annotated[
        Literal["fixed", "peak", "rms"],
        Meta(description="peak, rms: scale-free; fixed: counts must be those of the training"),
    ]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    readout: GridReadout | GridlessReadout
    files: Annotated[dict[str, str], Meta(description="sha256 of each file beside this one")]
    training: Training
    measured: Annotated[dict[str, float], Meta(description="figures; see README.md beside it")]

    def __post_init__(self) -> None:
        self.grid  # noqa: B018  # building it checks the geometry
        if "crops" not in self.inputs or not set(self.inputs) <= INPUTS:
            known, listed = ", ".join(sorted(INPUTS)), ", ".join(self.inputs) or "none"
            raise ValueError(f"inputs: expected crops, and others of {known}, got {listed}")
        needed = OUTPUTS[type(self.readout)]
        if not set(needed) <= set(self.outputs):
            listed = ", ".join(self.outputs) or "none"
            raise ValueError(f"outputs: the readout needs {', '.join(needed)}, got {listed}")

    @property
    def grid(self) -> Grid:
        """Geometry of crops and grid."""
        return Grid(self.crop_size, self.upsampling, self.field_size)
