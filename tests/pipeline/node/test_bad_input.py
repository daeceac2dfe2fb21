"""Bad messages, configurations, models and ports: one clear line each, and the node lives on."""

import contextlib
import logging
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import cv2
import msgpack
import numpy as np
import pytest

from dscsnet.engines.model import SHIPPED
from dscsnet.pipeline.cli import main
from dscsnet.pipeline.config import Crop, Http, Join, NodeConfig, Output, Overload
from dscsnet.pipeline.errors import ChannelError
from dscsnet.pipeline.messages import Detections, Frame, SpotFlag, Targets, encode
from dscsnet.pipeline.node import Node
from dscsnet.pipeline.process.logs import RateLimitedLog
from dscsnet.pipeline.sockets import Channel, Sender

ROOT = Path(__file__).parents[3]
MODEL = "csist100k-compact"
Start = Callable[..., AbstractContextManager[Any]]
Parts = list[Any]


def noise(side: int = 64) -> np.ndarray:
    return np.random.default_rng(3).normal(1000, 5, (side, side)).astype(np.uint16)


# Messages


@pytest.fixture(scope="module")
def node(harness: Start) -> Iterator[Any]:
    """One node for all bad messages; it logs each of them."""
    with pytest.MonkeyPatch.context() as patch:
        defaults = RateLimitedLog.__init__.__defaults__ or ()
        patch.setattr(RateLimitedLog.__init__, "__defaults__", (0.0, *defaults[1:]))
        with harness(join=Join(timeout_ms=60_000), overload=Overload(max_age_ms=60_000)) as started:
            yield started


def frame_parts(**changes: object) -> Parts:
    """A frame of 64x64 uint16 whose map is changed."""
    topic, header, pixels = encode(Frame("bad", b"e" * 16, 0, 1, noise()))
    return [topic, msgpack.packb(msgpack.unpackb(header) | changes), bytes(pixels)]


def detections_parts(number: int = 1, **changes: object) -> Parts:
    topic, header = encode(Detections("bad", b"e" * 16, 0, 1, x=[1.0] * number, y=[1.0] * number))
    return [topic, msgpack.packb(msgpack.unpackb(header) | changes)]


BAD_MESSAGES: dict[str, tuple[Parts, str, str]] = {
    "newer schema": (
        frame_parts(schema="frame/2"),
        "schema",
        "schema: expected 'frame/1', got 'frame/2'",
    ),
    "truncated pixels": (
        [*frame_parts()[:2], bytes(64 * 64 * 2 - 1)],
        "payload",
        "pixels: 64 x 64 uint16 takes 8192 bytes, got 8191",
    ),
    "dimensions that do not multiply to the payload": (
        frame_parts(height=65),
        "payload",
        "pixels: 65 x 64 uint16 takes 8320 bytes, got 8192",
    ),
    "2 GB claimed": (
        frame_parts(height=16384, width=16384, dtype="float32"),
        "limits",
        "pixels: at most 67108864 bytes are accepted, got 1073741824",
    ),
    "a side of 2**31": (
        frame_parts(height=2**31, width=1),
        "dimensions",
        "height: expected 1 to 16384 pixels, got 2147483648",
    ),
    "100,000 candidates": (
        detections_parts(100_000),
        "limits",
        "at most 10000 entries of a list or map are accepted, got 100000",
    ),
    "another kind's map": (
        [b"detections/bad", frame_parts()[1]],
        "schema",
        "schema: expected 'detections/1', got 'frame/1'",
    ),
    "stream with a space": (
        [b"frame/cam 0", *frame_parts()[1:]],
        "topic",
        "topic: no stream name (1 to 64 of A-Za-z0-9._-): 'cam 0'",
    ),
    "stream that leaves a folder": (
        [b"detections/../../etc", detections_parts()[1]],
        "topic",
        "topic: no stream name (1 to 64 of A-Za-z0-9._-): '../../etc'",
    ),
    "random bytes": (
        [b"frame/bad", np.random.default_rng(1).bytes(500), b"\x00"],
        "header",
        "header: ",
    ),
    "candidate at infinity": (
        detections_parts(x=[float("inf")]),
        "field",
        "x: expected values in",
    ),
    "columns of different lengths": (
        detections_parts(2, y=[1.0]),
        "field",
        "columns must have equal lengths, got x 2, y 1",
    ),
}


@pytest.mark.parametrize("case", BAD_MESSAGES)
def test_bad_messages_are_rejected_with_one_line(
    node: Any, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    parts, reason, complaint = BAD_MESSAGES[case]
    before = node.node.snapshot()["rejected"].get(reason, 0)
    sender = node.frames if parts[0].startswith(b"frame") else node.detections
    sender.socket.send_multipart(parts)
    with caplog.at_level(logging.WARNING, "dscsnet.pipeline.node.intake"):
        assert_answers(node)
    assert node.node.snapshot()["rejected"][reason] == before + 1
    (line,) = [r.getMessage() for r in caplog.records if r.name == "dscsnet.pipeline.node.intake"]
    assert line.startswith(f"message rejected ({reason}): ")
    assert complaint in line
    assert "\n" not in line


GREETING = bytes.fromhex("ff00000000000000017f03004e554c4c") + bytes(48)
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"
NO_PEERS = {
    "2 GB announced": GREETING + READY + b"\x02" + (2**31).to_bytes(8, "big") + bytes(100),
    "a web client": b"GET / HTTP/1.1\r\n\r\n",
    "random bytes": np.random.default_rng(2).bytes(5000),
}


@pytest.mark.parametrize("garbage", NO_PEERS)
def test_peers_that_speak_no_zeromq_do_not_silence_an_input(harness: Start, garbage: str) -> None:
    with harness() as node:
        endpoint = node.frames.endpoint
        node.frames.close()
        with socket.create_server(("127.0.0.1", int(endpoint.rpartition(":")[2]))) as server:
            server.settimeout(10)
            connection, _ = server.accept()
            with connection, contextlib.suppress(ConnectionError):
                connection.settimeout(10)
                connection.sendall(NO_PEERS[garbage])
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass  # until the node hangs up
        node.frames = node.stack.enter_context(Sender(Channel(endpoint, bind=True)))
        assert node.frames.wait_for_peers(1, 10) == 1
        assert_answers(node)


def assert_answers(node: Any) -> None:
    """The node answers an ordinary frame; one of its own stream, so that nothing is expected."""
    node.good = getattr(node, "good", 0) + 1
    node.send_frame(node.good, noise(), "good")
    node.send_detections(node.good, [20.0], [30.0], "good")
    answer = node.receive()
    assert (answer.stream, answer.frame_id, answer.status) == ("good", node.good, "ok")
    assert node.get("healthz") == (200, "ok\n")


def test_candidates_beyond_the_limit_are_flagged(node: Any) -> None:
    """5,000 candidates, each far from the next; the default takes 512 crops of a frame."""
    row, column = np.divmod(np.arange(5000), 71)
    node.send_frame(0, noise(512), "many")
    node.send_detections(0, (7.0 * column + 5).tolist(), (7.0 * row + 5).tolist(), "many")
    answer = node.receive()
    assert isinstance(answer, Targets)
    assert answer.status == "ok"
    truncated = (np.array(answer.spots.flags) & SpotFlag.TRUNCATED) != 0
    assert truncated.tolist() == [False] * 512 + [True] * 4488
    assert not np.array(answer.spots.count)[truncated].any()
    assert_answers(node)


def test_frame_with_all_candidates_outside_is_answered(node: Any) -> None:
    node.send_frame(0, noise(), "outside")
    node.send_detections(0, [-9.0, 64.0, 2e9], [3.0, 3.0, -2e9], "outside")
    answer = node.receive()
    assert isinstance(answer, Targets)
    assert (answer.status, answer.targets.x) == ("ok", [])
    assert answer.spots.flags == [SpotFlag.EDGE | SpotFlag.NOT_CONVERGED] * 3
    assert_answers(node)


def test_bad_pixel_mask_of_another_size_is_an_error_of_every_frame(
    harness: Start, tmp_path: Path
) -> None:
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), np.zeros((48, 32), np.uint8))
    with harness(crop=Crop(bad_pixels=str(path))) as node:
        for frame_id, side in enumerate((64, 64)):
            node.send_frame(frame_id, noise(side))
            node.send_detections(frame_id, [20.0], [30.0])
            answer = node.receive()
            assert answer.status == "error"
            assert answer.reason == "the bad-pixel mask is 32x48 px, the frame 64x64"
        node.send_frame(2, noise()[:48, :32])
        node.send_detections(2, [20.0], [30.0])
        assert node.receive().status == "ok"


# Ports


def test_port_in_use_ends_the_node_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        endpoint = f"tcp://127.0.0.1:{holder.getsockname()[1]}"
        path = tmp_path / "node.yaml"
        path.write_text(
            f'output: {{targets: {{endpoint: "{endpoint}", bind: true}}}}\nhttp: {{port: 0}}\n'
        )
        command = [sys.executable, "-m", "dscsnet.pipeline", "node", "-c", str(path)]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    assert done.stderr == (
        f"dscsnet: cannot bind {endpoint}: the address is in use; "
        "stop the program that holds it or choose another\n"
    )


def test_http_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        output = Output(targets=Channel("tcp://127.0.0.1:*", bind=True))
        node = Node(NodeConfig(output=output, http=Http(port=port)))
        with pytest.raises(ChannelError, match=rf"http: cannot listen on 127.0.0.1:{port}: "):
            node.run(threading.Event())


# Configurations and models, as the command line reports them


def run_check(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(text)
    monkeypatch.setattr(sys, "argv", ["dscsnet", "check", "-c", str(path)])
    main()


def complaint(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """What `dscsnet check` says of a configuration that it refuses: one line, exit code 1."""
    with pytest.raises(SystemExit) as exit_info:
        run_check(text, tmp_path, monkeypatch)
    out, err = capsys.readouterr()
    assert exit_info.value.code == 1
    assert out == ""
    assert err.startswith("dscsnet: ")
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("join: {timout_ms: 5}", ("node.yaml: join: ", "timout_ms")),
        ("engine: {model: scene-compcat}", ('no model "scene-compcat"', "scene-compact")),
        (
            "engine: {model: scene-compact, psf_sigma: 9.0}",
            ("engine: PSF sigma 9 px", "another model"),
        ),
        (
            "engine: {model: scene-compact, psf_ellipse: [0.52, 0.48, 30]}",
            ("engine: the model scene-compact takes a Gaussian PSF along", "psf-fit"),
        ),
        ("engine: {psf_file: nowhere.npy}", ("engine: PSF file nowhere.npy does not exist",)),
        ("engine: {psf_ellipse: [90, 0.1, 30]}", ("engine: a PSF's table would need",)),
        (
            "engine: {psf_sigma: 0.6, psf_ellipse: [0.8, 0.6, 30]}",
            ("engine.psf_ellipse states the PSF: leave out engine.psf_sigma",),
        ),
        ("engine: {gain: 0}", ("engine.gain: ", "0")),
        ("engine: {psf_error: 1.01}", ("engine.psf_error: ", "1")),
        ("crop: {bad_pixels: nowhere.png}", ("crop.bad_pixels: nowhere.png", "expected")),
    ],
)
def test_configuration_mistakes_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    words: Sequence[str],
) -> None:
    line = complaint(text, tmp_path, monkeypatch, capsys)
    assert all(word in line for word in words), line


@pytest.mark.parametrize("name", ["cube.npy", "bytes.npy", "text.png", "colour.png"])
def test_files_that_are_no_mask_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    path = tmp_path / name
    if name == "cube.npy":
        np.save(path, np.zeros((2, 3, 4)))
    elif name == "colour.png":
        cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))
    else:
        path.write_bytes(b"no mask at all")
    line = complaint(f"crop: {{bad_pixels: {path}}}", tmp_path, monkeypatch, capsys)
    expected = "expected a one-channel image (PNG, TIFF, BMP) or a 2-D .npy array"
    assert f"crop.bad_pixels: {path}: {expected}" in line


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: alter(f / "model.onnx"), ("model.onnx: altered", "its card says")),
        (lambda f: alter(f / "golden.npz"), ("golden.npz: altered", "restore the file")),
        (lambda f: (f / "model.onnx").unlink(), ("model.onnx: ", "restore")),
        (lambda f: (f / "model.yaml").unlink(), ("no model.yaml in this folder",)),
        (lambda f: (f / "model.yaml").write_text("{}"), ("not a valid model card", "name")),
        (lambda f: (f / "model.yaml").write_bytes(b"\xff\xfe"), ("not a valid model card",)),
    ],
)
def test_model_folders_with_a_defect_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
    words: Sequence[str],
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(SHIPPED / MODEL, folder)
    damage(folder)
    line = complaint(f"engine: {{model: {folder}}}", tmp_path, monkeypatch, capsys)
    assert str(folder) in line
    assert all(word in line for word in words), line


def test_model_folder_without_a_defect_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(SHIPPED / MODEL, tmp_path / "model")
    with pytest.raises(SystemExit) as exit_info:
        run_check(f"engine: {{model: {tmp_path / 'model'}}}", tmp_path, monkeypatch)
    assert exit_info.value.code == 0
    assert "ok" in capsys.readouterr().out
