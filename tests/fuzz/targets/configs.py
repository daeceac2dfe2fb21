"""YAML configurations; a valid one can be used."""

from dscsnet.detector_stub.config import DetectorConfig, SimulatorConfig
from dscsnet.pipeline.config import STATEMENTS, NodeConfig, load_config
from dscsnet.pipeline.join import Joiner, Ledger
from dscsnet.pipeline.yaml_file import read_yaml
from tests.fuzz.contract import attempt, scratch_file


def node_config(data: bytes) -> None:
    """A node's configuration; one that is accepted makes a joiner."""
    path = scratch_file("node.yaml", data)
    config = attempt(lambda: load_config(path))
    if isinstance(config, NodeConfig):
        Joiner(
            config.join,
            config.overload,
            config.batch,
            Ledger(),
            lambda *_: None,  # type: ignore[arg-type,return-value]
        ).expire()
        assert sum(getattr(config.engine, name) is not None for name in STATEMENTS) <= 1


def detector_config(data: bytes) -> None:
    """A detector's configuration."""
    path = scratch_file("detector.yaml", data)
    attempt(lambda: read_yaml(path, DetectorConfig))


def scene_config(data: bytes) -> None:
    """A simulator's configuration."""
    path = scratch_file("scene.yaml", data)
    attempt(lambda: read_yaml(path, SimulatorConfig))


def train_config(data: bytes) -> None:
    """A training's configuration."""
    from dscsnet.tools.training.config import load_train_config

    path = scratch_file("train.yaml", data)
    attempt(lambda: load_train_config(path))
