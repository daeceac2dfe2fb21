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


_WIRE = ("pipeline.codec", "pipeline.bounds", "pipeline.message_checks", "pipeline.wire_types")
_IMAGES = ("pipeline.sources", "pipeline.source_readers", "pipeline.source_pixels")
_MODEL = ("engines.model", "engines.model_engine", "engines.card", "engines.strict_yaml")
_RECORDING = tuple(f"pipeline.recording.{name}" for name in ("reader", "scan", "layout", "frames"))
_SET = ("tools.dataset", "tools.dataset_files", "tools.dataset_coordinates")

TARGETS = {
    target.name: target
    for target in (
        Target("message", "wire", (*_WIRE, "pipeline.listen"), mutators.message_parts),
        Target("unmix", "wire", ("pipeline.unmix", "pipeline.answers"), mutators.message_parts),
        Target(
            "detector",
            "wire",
            ("detector_stub.spots", "detector_stub.background"),
            mutators.message_parts,
        ),
        Target(
            "node_config",
            "configs",
            ("pipeline.yaml_file", "pipeline.config", "pipeline.channel", "engines.strict_yaml"),
            mutators.yaml_tree,
        ),
        Target(
            "detector_config",
            "configs",
            ("detector_stub.config", "engines.strict_yaml"),
            mutators.yaml_tree,
        ),
        Target(
            "scene_config",
            "configs",
            ("detector_stub.config", "detector_stub.scene_config"),
            mutators.yaml_tree,
        ),
        Target("train_config", "configs", ("tools.train_config",), mutators.yaml_tree),
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
            ("engines.networks.stored",),
            mutators.members({"recipe": mutators.yaml_tree}),
            65_536,
        ),
        Target("checkpoint", "models", ("tools.checkpoint",), mutators.zip_members, 65_536),
        Target("psf_file", "arrays", ("engines.fitting.psf",), mutators.typed_file),
        Target("mask", "arrays", ("pipeline.bad_pixels",), mutators.typed_file),
        Target("detector_mask", "arrays", ("detector_stub.detector",), mutators.typed_file),
        Target("source_image", "sources", _IMAGES, mutators.typed_file),
        Target("source_tiff", "sources", (*_IMAGES, "pipeline.source_tiff")),
        Target("source_npy", "sources", _IMAGES, mutators.npy_header),
        Target("source_npz", "sources", _IMAGES, mutators.zip_members),
        Target("source_video", "sources", _IMAGES, largest=16_384),
        Target("recording", "sources", _RECORDING, mutators.mcap_records, largest=16_384),
        Target("dataset_crop", "datasets", ("tools.dataset_files",), mutators.png_chunks),
        Target("dataset_annotation", "datasets", ("tools.dataset_files",)),
        Target(
            "dataset",
            "datasets",
            _SET,
            mutators.members({"manifest": mutators.json_tree}),
            largest=16_384,
        ),
        Target("field_frames", "datasets", ("tools.field_frames",)),
        Target("truth", "records", ("tools.scene_truth",), mutators.json_lines),
        Target("answers", "records", ("tools.answer_picture",), mutators.json_lines),
    )
}
