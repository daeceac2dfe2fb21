"""The places that take bytes from outside, each as a function of one input.

A target raises nothing where the reader keeps its contract; see `tests.fuzz.contract`.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import mutators
from tests.fuzz.mutators import Mutator

CORPUS = Path(__file__).parents[1] / "corpus"


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        name: of the corpus folder, and of the function in `module`.
        module: where that function is, below `tests.fuzz.targets`.
        watched: modules whose coverage guides the fuzzer and is reported.
        mutate: how inputs are mutated.
        largest: bytes of an input, at most.
    """

    name: str
    module: str
    watched: tuple[str, ...]
    mutate: Mutator = mutators.just_bytes
    largest: int = 4096

    def load(self) -> Callable[[bytes], None]:
        """The function that takes an input."""
        function: Callable[[bytes], None] = getattr(
            importlib.import_module(f"tests.fuzz.targets.{self.module}"), self.name
        )
        return function

    def corpus(self) -> list[Path]:
        """The committed inputs."""
        return sorted((CORPUS / self.name).glob("*"))


_WIRE = (
    "dscsnet.pipeline.messages.codec",
    "dscsnet.pipeline.messages.bounds",
    "dscsnet.pipeline.messages.checks",
    "dscsnet.pipeline.messages.types",
)
_IMAGES = (
    "dscsnet.pipeline.sources.source",
    "dscsnet.pipeline.sources.readers",
    "dscsnet.pipeline.sources.pixels",
)
_MODEL = (
    "dscsnet.engines.model",
    "dscsnet.engines.model_engine",
    "dscsnet.engines.card",
    "dscsnet.engines.files.strict_yaml",
)
_RECORDING = (
    *(f"dscsnet.pipeline.recording.{name}" for name in ("reader", "scan", "layout")),
    "dscsnet.pipeline.sources.recordings",
)
_SET = (
    "dscsnet.tools.dataset.reader",
    "dscsnet.tools.dataset.files",
    "dscsnet.tools.dataset.coordinates",
)

TARGETS = {
    target.name: target
    for target in (
        Target(
            "message", "wire", (*_WIRE, "dscsnet.pipeline.listen.display"), mutators.message_parts
        ),
        Target(
            "unmix",
            "wire",
            (
                *(f"dscsnet.pipeline.unmix.{name}" for name in ("prepare", "result", "stages")),
                *(f"dscsnet.pipeline.worker.{name}" for name in ("answers", "worker")),
            ),
            mutators.message_parts,
        ),
        Target(
            "detector",
            "wire",
            ("dscsnet.detector_stub.spots", "dscsnet.detector_stub.background"),
            mutators.message_parts,
        ),
        Target(
            "node_config",
            "configs",
            (
                "dscsnet.pipeline.yaml_file",
                "dscsnet.pipeline.config",
                "dscsnet.pipeline.sockets.channel",
                "dscsnet.engines.files.strict_yaml",
            ),
            mutators.yaml_tree,
        ),
        Target(
            "detector_config",
            "configs",
            ("dscsnet.detector_stub.config", "dscsnet.engines.files.strict_yaml"),
            mutators.yaml_tree,
        ),
        Target(
            "scene_config",
            "configs",
            ("dscsnet.detector_stub.config", "dscsnet.detector_stub.scene_config"),
            mutators.yaml_tree,
        ),
        Target("train_config", "configs", ("dscsnet.tools.training.config",), mutators.yaml_tree),
        Target(
            "model",
            "models",
            _MODEL,
            mutators.members(
                {
                    "card": mutators.yaml_tree,
                    "golden": mutators.zip_members,
                    "selection": mutators.zip_members,
                }
            ),
            largest=65_536,
        ),
        Target(
            "weights",
            "models",
            ("dscsnet.engines.networks.stored",),
            mutators.members({"recipe": mutators.yaml_tree}),
            65_536,
        ),
        Target(
            "checkpoint",
            "models",
            ("dscsnet.tools.training.checkpoint",),
            mutators.zip_members,
            65_536,
        ),
        Target("psf_file", "arrays", ("dscsnet.engines.fitting.psf",), mutators.typed_file),
        Target("mask", "arrays", ("dscsnet.pipeline.cropping.bad_pixels",), mutators.typed_file),
        Target("source_image", "sources", _IMAGES, mutators.typed_file),
        Target("source_tiff", "sources", (*_IMAGES, "dscsnet.pipeline.sources.tiff")),
        Target("source_npy", "sources", _IMAGES, mutators.npy_header),
        Target("source_npz", "sources", _IMAGES, mutators.zip_members),
        Target("source_video", "sources", _IMAGES, largest=16_384),
        Target("recording", "sources", _RECORDING, mutators.mcap_records, largest=16_384),
        Target("dataset_crop", "datasets", ("dscsnet.tools.dataset.files",), mutators.png_chunks),
        Target("dataset_annotation", "datasets", ("dscsnet.tools.dataset.files",)),
        Target(
            "dataset",
            "datasets",
            _SET,
            mutators.members({"manifest": mutators.json_tree}),
            largest=16_384,
        ),
        Target("field_frames", "datasets", ("dscsnet.tools.field.frames",)),
        Target("truth", "records", ("dscsnet.tools.demo.scene_truth",), mutators.json_lines),
        Target("answers", "records", ("dscsnet.tools.show.answers_picture",), mutators.json_lines),
    )
}
