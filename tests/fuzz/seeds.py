"""Writes the seeds of the corpus: `python -m tests.fuzz.seeds`. Small, valid, one of each kind."""

import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import msgpack
import msgspec
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save

from dscsnet.engines.fitting.selection import Selection, feature_number
from dscsnet.engines.networks.stored import build_model
from dscsnet.pipeline.listen import json_line
from dscsnet.pipeline.messages import (
    Detections,
    End,
    EngineInfo,
    Frame,
    Message,
    Spots,
    Status,
    Targets,
    TargetTable,
    Timing,
    encode,
)
from dscsnet.pipeline.recording.layout import ChannelName
from dscsnet.pipeline.recording.recorder import Recorder
from dscsnet.pipeline.recording.settings import Recording
from dscsnet.tools.dataset.files import Annotation, format_annotation
from dscsnet.tools.training.config import TrainConfig
from tests.fuzz.targets import CORPUS

ROOT = Path(__file__).parents[2]
KEY = ("cam0", b"e" * 16, 3, 1_700_000_000_000_000_000)
CHANCE = np.random.default_rng(1)
Seed = tuple[str, str, bytes]  # target, name, content


def parts(*messages: Message) -> bytes:
    """Messages as a msgpack list of their parts, one after the other."""
    return bytes(msgpack.packb([bytes(part) for each in messages for part in encode(each)]))


def frame(dtype: str = "uint16", side: int = 24) -> Frame:
    """A frame with one bright spot."""
    pixels = CHANCE.normal(200, 3, (side, side)).astype(dtype)
    pixels[side // 2, side // 2] = 250
    return Frame(*KEY, pixels, saturation=255.0 if dtype == "uint8" else None)


def answer() -> Targets:
    """An answer with one spot and two targets."""
    numbers = [1.5, 2.5]
    return Targets(
        *KEY,
        status="ok",
        spots=Spots([7], [3.0], [4.0], [2], [200.0], [3.0], [float("nan")], [1]),
        targets=TargetTable(
            [0, 0], numbers, numbers, numbers, [0.5, 0.9], numbers, numbers, numbers
        ),
        engine=EngineInfo("onnxruntime", "seed", "0" * 64, 0.5),
        timing=Timing(1, 2, 3, 4, 10),
    )


def wire() -> Iterator[Seed]:
    """Messages of every kind."""
    detections = Detections(*KEY, x=[12.0, 5.5], y=[12.0, 6.5], score=[9.0, 7.0], id=[1, 2])
    boxes = Detections(*KEY, x=[12.0], y=[12.0], width=[18.0], height=[3.0])
    status = Status(node="node0", timestamp_ns=1, body={"received": 1, "drops": {"late": [1, 2.5]}})
    for name, each in {
        "detections": detections,
        "boxes": boxes,
        "end": End(*KEY),
        "targets": answer(),
        "status": status,
        **{dtype: frame(dtype, 3) for dtype in ("uint8", "uint16", "float32")},
    }.items():
        yield "message", name, parts(each)
    for dtype in ("uint8", "uint16", "float32"):
        yield "unmix", dtype, parts(frame(dtype), detections)
        yield "detector", dtype, parts(frame(dtype, 32))
    yield "unmix", "boxes", parts(frame("uint8"), boxes)
    odd = frame("float32").pixels.copy()
    odd[3, 4], odd[8, 9], odd[12] = np.nan, np.inf, -1e38
    yield "unmix", "odd", parts(Frame(*KEY, odd), detections)
    yield "detector", "odd", parts(Frame(*KEY, odd))


def configs() -> Iterator[Seed]:
    """The shipped configurations, without their comments."""
    for target, names in {
        "node_config": ("node", "node-lossless"),
        "detector_config": ("detector",),
        "scene_config": ("scene",),
        "train_config": ("train/field-unfolded", "train/csist100k-compact"),
    }.items():
        for name in names:
            values = msgspec.yaml.decode((ROOT / "configs" / f"{name}.yaml").read_bytes())
            yield target, Path(name).name, msgspec.yaml.encode(values)
    fit = {"engine": {"model": "psf-fit", "psf_fit": {"sigma_x": 0.8, "sigma_y": 0.5}}}
    yield "node_config", "fit", msgspec.yaml.encode(fit)


def npy(array: Any) -> bytes:
    """The array as a file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    """An archive of arrays."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def image(ending: str, dtype: str = "uint8", shape: tuple[int, ...] = (9, 9)) -> bytes:
    """An image file."""
    pixels = (CHANCE.random(shape) * 250).astype(dtype)
    return bytes(cv2.imencode(ending, pixels)[1])


def tiff(pages: int, dtype: str) -> bytes:
    """A TIFF of several pages."""
    stack = [(CHANCE.random((6, 7)) * 250).astype(dtype) for _ in range(pages)]
    return bytes(cv2.imencodemulti(".tif", stack)[1])


def video(codec: str, ending: str) -> bytes:
    """A video of three small frames."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"video{ending}"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (32, 32))
        for level in (10, 100, 200):
            writer.write(np.full((32, 32, 3), level, np.uint8))
        writer.release()
        return path.read_bytes()


def files() -> Iterator[Seed]:
    """Arrays, images and videos."""
    spot = np.exp(-0.5 * ((np.indices((9, 9)) - 4) ** 2).sum(0))
    for target, values in (("mask", spot > 0.5), ("psf_file", spot)):
        yield target, "npy", b"\x00" + npy(values)
        yield target, "png", b"\x01" + image(".png")
        yield target, "tiff", b"\x02" + image(".tif", "uint16")
        yield target, "bmp", b"\x03" + image(".bmp")
    yield "source_image", "png", b"\x00" + image(".png", "uint16")
    yield "source_image", "colour", b"\x00" + image(".png", "uint8", (5, 4, 3))
    yield "source_image", "bmp", b"\x01" + image(".bmp")
    yield "source_tiff", "one", tiff(1, "uint16")
    yield "source_tiff", "pages", tiff(3, "uint8")
    yield "source_tiff", "float", tiff(2, "float32")
    stack = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    yield "source_npy", "stack", npy(stack)
    yield "source_npy", "int64", npy(stack.astype(np.int64))
    yield "source_npy", "one", npy(stack[0].astype(np.float64))
    yield "source_npz", "frames", npz(frames=stack, timestamps_ns=np.arange(3) * 10**7)
    yield "source_npz", "only", npz(a=stack.astype(np.float32))
    yield "source_video", "mjpg", video("MJPG", ".avi")
    yield "source_video", "mp4", video("mp4v", ".mp4")


def recordings() -> Iterator[Seed]:
    """Recordings of every kind of message, packed and not."""
    detections = Detections(*KEY, x=[1.0], y=[2.0])
    status = Status(node="node0", timestamp_ns=1, body={"received": 1})
    kinds: list[tuple[ChannelName, Message]] = [
        ("frames", frame("uint8", 4)),
        ("detections", detections),
        ("targets", answer()),
        ("targets", status),
        ("frames", End(*KEY)),
    ]
    for compression in ("none", "lz4", "zstd"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "seed.mcap"
            settings = Recording(
                file=str(path),
                segment_s=0,
                segment_mib=0,
                compression=compression,
                annotations=False,
            )
            with Recorder(settings) as recorder:
                for source, message in kinds:
                    recorder.tap(source)(message, encode(message))
            yield "recording", compression, path.read_bytes()


def datasets() -> Iterator[Seed]:
    """Crops with their annotations."""
    annotation = Annotation(((5.2, 4.9, 180.0), (6.1, 5.5, 240.5)), 2.5, 100.0)
    text = format_annotation(annotation, "CSO1", crop_size=11, psf_sigma=0.5).encode()
    png = image(".png", shape=(11, 11))
    manifest = {
        "protocol": {},
        "seed": 1,
        "base": 0,
        "pedestal": 100,
        "splits": {"test": {"crops": 2, "first": 1, "seed": 3}},
    }
    yield "dataset_crop", "png", png
    yield "dataset_crop", "deep", image(".png", "uint16", (3, 3))
    yield "dataset_annotation", "two", text
    for name, record in (("with-manifest", json.dumps(manifest).encode()), ("without", b"")):
        packed = msgpack.packb({"manifest": record, "png": png, "xml": text})
        yield "dataset", name, packed
    centroids = (
        "<annotation><object><centroid><xc>3</xc><yc>4.5</yc></centroid></object></annotation>"
    )
    yield "field_frames", "one", centroids.encode()


def records() -> Iterator[Seed]:
    """Lines of truth and of answers."""
    truth = {
        "stream": "cam0",
        "epoch": "65" * 16,
        "frame_id": 3,
        "timestamp_ns": 1,
        "targets": {"cluster": [0, 0], "x": [1.5, 2], "y": [3, 4.5], "intensity": [100, 5e3]},
    }
    line = json.dumps(truth).encode() + b"\n"
    yield "truth", "two", line + line.replace(b"3, ", b"4, ", 1)
    yield "answers", "ok", json_line(answer()).encode() + b"\n" + json_line(End(*KEY)).encode()


CARD: dict[str, Any] = {
    "name": "seed",
    "description": "smallest model",
    "crop_size": 3,
    "upsampling": 1,
    "field_size": 3,
    "psf_sigma": 0.5,
    "psf_sigma_range": [0.4, 0.9],
    "intensity_range": None,
    "normalisation": "rms",
    "inputs": ["crops"],
    "files": {"model.onnx": "MODEL.ONNX", "golden.npz": "GOLDEN.NPZ"},
    "training": {
        "data": "none",
        "crops": 0,
        "seconds": 0.0,
        "hardware": "none",
        "seed": 0,
        "date": "today",
    },
    "measured": {},
}
SLOTS = 2
SHAPES = {
    "count": (SLOTS + 2,),
    "existence": (SLOTS,),
    "position": (SLOTS, 2),
    "log_intensity": (SLOTS,),
    "log_sigma": (SLOTS, 3),
}


def network(nodes: list[Any], outputs: dict[str, tuple[int, ...]], constants: list[Any]) -> bytes:
    """An ONNX file whose input is `crops`."""
    given = [helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["n", 3, 3])]
    made = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])
        for name, shape in outputs.items()
    ]
    graph = helper.make_graph(nodes, "seed", given, made, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def offgrid_network() -> bytes:
    """Every output is a fixed linear function of the crop."""
    nodes = [helper.make_node("Flatten", ["crops"], ["flat"])]
    constants = []
    for name, shape in SHAPES.items():
        weight = np.full((9, int(np.prod(shape))), 0.01, np.float32)
        constants += [
            numpy_helper.from_array(weight, f"w_{name}"),
            numpy_helper.from_array(np.array([-1, *shape], np.int64), f"s_{name}"),
        ]
        nodes += [
            helper.make_node("MatMul", ["flat", f"w_{name}"], [f"f_{name}"]),
            helper.make_node("Reshape", [f"f_{name}", f"s_{name}"], [name]),
        ]
    return network(nodes, SHAPES, constants)


def models() -> Iterator[Seed]:
    """Model folders, weights and a checkpoint."""
    crops = CHANCE.random((2, 3, 3)).astype(np.float32)
    relu = network([helper.make_node("Relu", ["crops"], ["grid"])], {"grid": (3, 3)}, [])
    card = CARD | {"outputs": ["grid"], "readout": {"type": "grid", "threshold": 0.5}}
    yield "model", "grid", packed_model(card, relu, {"crops": crops, "grid": crops})
    linear = {
        name: np.full((2, *shape), 0, np.float32)
        + 0.01 * crops.sum((1, 2)).reshape(-1, *[1] * len(shape))
        for name, shape in SHAPES.items()
    }
    card = CARD | {"outputs": list(SHAPES), "readout": {"type": "gridless", "least_occupied": 0.1}}
    yield "model", "gridless", packed_model(card, offgrid_network(), {"crops": crops, **linear})
    card = card | {"files": CARD["files"] | {"selection.npz": "SELECTION.NPZ"}}
    golden = {"crops": crops, **linear}
    yield "model", "selection", packed_model(card, offgrid_network(), golden, selection())
    recipe = {
        "name": "seed",
        "description": "smallest",
        "network": {
            "kind": "dscsnet",
            "stages": 1,
            "width": 1,
            "depth": 0,
            "fused_stages": 1,
            "crop_size": 3,
            "field_size": 3,
            "upsampling": 1,
        },
    }
    config = msgspec.convert(recipe, TrainConfig)
    module = build_model(config.network, config.normalisation)
    state = {name: each.contiguous() for name, each in module.state_dict().items()}
    yield (
        "weights",
        "small",
        bytes(msgpack.packb({"recipe": msgspec.yaml.encode(recipe), "weights": save(state)})),
    )
    file = io.BytesIO()
    torch.save({"config": recipe, "average": state, "progress": {"step": 1}}, file)
    yield "checkpoint", "small", file.getvalue()


def selection() -> dict[str, Any]:
    """Of a network of `SLOTS` slots."""
    shapes = [
        (3, feature_number(SLOTS)),
        (3,),
        (3, 3),
        (3,),
        (SLOTS + 1, 3),
        (SLOTS + 1,),
    ]
    names = zip(Selection._fields, shapes, strict=True)
    return {name: np.full(shape, 0.1, np.float32) for name, shape in names}


def packed_model(
    card: dict[str, Any],
    onnx_file: bytes,
    golden: dict[str, Any],
    chosen: dict[str, Any] | None = None,
) -> bytes:
    """A folder as the target `model` takes it."""
    files = {"card": msgspec.yaml.encode(card), "network": onnx_file, "golden": npz(**golden)}
    if chosen is not None:
        files["selection"] = npz(**chosen)
    return bytes(msgpack.packb(files))


def main() -> None:
    """Write every seed."""
    for source in (wire, configs, files, recordings, datasets, records, models):
        for target, name, content in source():
            folder = CORPUS / target
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"seed-{name}").write_bytes(content)


if __name__ == "__main__":
    main()
