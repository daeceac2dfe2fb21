"""Everything that one training run depends on; `configs/train/*.yaml` are files of this type."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dscsnet.engines.card import GridlessReadout, GridReadout
from dscsnet.engines.networks.config import NetworkConfig
from dscsnet.engines.networks.deployed import Normalisation
from dscsnet.engines.networks.offgrid import OffGridConfig
from dscsnet.engines.networks.registry import AnyNetworkConfig
from dscsnet.engines.networks.stored import with_kind
from dscsnet.pipeline.errors import ConfigError
from dscsnet.pipeline.yaml_file import read_yaml
from dscsnet.tools.simulation.csist import CropProtocol
from dscsnet.tools.simulation.field import FieldProtocol
from dscsnet.tools.simulation.source import CropSource
from dscsnet.tools.simulation.source_kinds import CsistSource, FieldSource


class Optimisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Settings of the optimiser and the schedule."""

    crops: Annotated[int, Meta(ge=1, description="crops seen in all; sets the schedule")] = (
        1_000_000
    )
    seconds: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="time budget; where given, whichever of it and `crops` is reached first"),
    ] = None
    batch: Annotated[int, Meta(ge=1, description="crops a step")] = 64
    learning_rate: Annotated[float, Meta(gt=0, description="peak, after the warm-up")] = 2e-3
    warm_up: Annotated[int, Meta(ge=0, description="steps of linear warm-up")] = 300
    weight_decay: Annotated[float, Meta(ge=0)] = 1e-4
    clip: Annotated[float, Meta(gt=0, description="largest gradient norm")] = 1.0
    averaging: Annotated[
        float, Meta(ge=0, lt=1, description="decay of the weight average that is kept")
    ] = 0.999
    seed: int = 0


class SelectionTraining(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the choice of the number of targets is taught with, after the network."""

    protocols: Annotated[list[FieldProtocol], Meta(min_length=1)]
    crops: Annotated[int, Meta(ge=1, description="of each protocol")] = 300_000
    hidden: Annotated[int, Meta(ge=1, le=1024, description="width of both hidden layers")] = 128
    passes: Annotated[int, Meta(ge=1, description="over all crops")] = 8
    batch: Annotated[int, Meta(ge=1, description="crops a step")] = 512
    learning_rate: Annotated[float, Meta(gt=0)] = 3e-3
    weight_decay: Annotated[float, Meta(ge=0)] = 1e-2


class TrainConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One training run."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9.-]{1,64}$", description="name of the model")]
    description: str
    network: AnyNetworkConfig = NetworkConfig()
    normalisation: Normalisation = Normalisation()
    protocol: CropProtocol = CropProtocol()
    field: (
        Annotated[FieldProtocol, Meta(description="field crops, in place of `protocol`")] | None
    ) = None
    start: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="shipped model or model folder whose weights the run begins with"),
    ] = None
    optimisation: Optimisation = Optimisation()
    readout: GridReadout | GridlessReadout = GridReadout(threshold=50.0)
    selection: (
        Annotated[SelectionTraining, Meta(description="null: the fits' objectives decide")] | None
    ) = None

    def __post_init__(self) -> None:
        off_grid = isinstance(self.network, OffGridConfig)
        if off_grid != isinstance(self.readout, GridlessReadout):
            raise ValueError("an off-grid network has the readout of type gridless, no other has")
        if self.field and not off_grid:
            raise ValueError("field crops teach off-grid networks only; use protocol")
        fitting = isinstance(self.readout, GridlessReadout) and self.readout.refine
        if self.selection and not fitting:
            raise ValueError(
                "selection: it chooses among fits; give a gridless readout that refines"
            )

    @property
    def source(self) -> CropSource:
        """Where the crops come from: the one place that asks of which protocol they are."""
        return FieldSource(self.field) if self.field else CsistSource(self.protocol)


def load_train_config(path: Path) -> TrainConfig:
    """Read and check a YAML file; a `ConfigError` names the key at fault."""
    return read_yaml(path, TrainConfig)


def load_crop_protocol(path: Path) -> CropProtocol:
    """The protocol of a training configuration whose crops are not field crops.

    Raises:
        ConfigError: they are.
    """
    source = load_train_config(path).source
    if not isinstance(source, CsistSource):
        raise ConfigError(f"{path}: of field crops; give a configuration with `protocol`")
    return source.protocol


def find_train_configs(paths: Iterable[Path]) -> list[Path]:
    """The files given, and those directly in the folders given, in order of their names.

    Raises:
        ConfigError: a folder holds none.
    """
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
        if not inside:
            raise ConfigError(f"{path}: no training configuration (*.yaml) in this folder")
        found += inside
    return found


def stored_train_config(values: Any) -> TrainConfig:
    """The configuration kept in a checkpoint or model folder, as plain values.

    Raises:
        msgspec.ValidationError: they are no training configuration.
    """
    return msgspec.convert(with_kind(values), TrainConfig)
