"""Model folders as the node opens them, and what training keeps: weights and checkpoints."""

import hashlib

import msgpack

from dscsnet.engines.model import CARD, GOLDEN, NETWORK, SELECTION
from dscsnet.engines.opening import open_engine
from tests.fuzz.contract import attempt, scratch


def _files(data: bytes) -> dict[str, bytes] | None:
    try:
        files = msgpack.unpackb(data)
    except (ValueError, msgpack.exceptions.UnpackException):
        return None
    if not isinstance(files, dict) or not all(isinstance(each, bytes) for each in files.values()):
        return None
    return files


def model(data: bytes) -> None:
    """A map of `card`, `network`, `golden` and `selection`; the card's sha256 are made to fit."""
    files = _files(data)
    if files is None:
        return
    folder = scratch("model")
    card = files.get("card", b"")
    for key, name in (("network", NETWORK), ("golden", GOLDEN), ("selection", SELECTION)):
        content = files.get(key, b"")
        (folder / name).write_bytes(content)
        card = card.replace(name.upper().encode(), hashlib.sha256(content).hexdigest().encode())
    (folder / CARD).write_bytes(card)

    def open_and_check() -> None:
        engine = open_engine(folder, threads=1)
        engine.check(batch_sizes=(1, 2))
        engine.close()

    attempt(open_and_check)


def weights(data: bytes) -> None:
    """A map of `recipe` (train.yaml) and `weights` (safetensors)."""
    from dscsnet.engines.networks.stored import RECIPE, WEIGHTS, load_network

    files = _files(data)
    if files is None:
        return
    folder = scratch("weights")
    (folder / RECIPE).write_bytes(files.get("recipe", b""))
    (folder / WEIGHTS).write_bytes(files.get("weights", b""))
    attempt(lambda: load_network(folder))


def checkpoint(data: bytes) -> None:
    """A training's checkpoint."""
    from dscsnet.tools.training.checkpoint import CHECKPOINT, read_run

    folder = scratch("run")
    (folder / CHECKPOINT).write_bytes(data)
    attempt(lambda: read_run(folder))
