"""A data set is drawn piece by piece, so that it need not fit into memory."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")

from dscsnet.tools.dataset import writer as module


def test_a_thousand_crops_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one simulator a split, numbered on; progress counts over all splits."""
    made: list[tuple[Any, ...]] = []
    written: list[tuple[str, int, int]] = []
    told: list[tuple[int, int]] = []

    class Simulator:
        def __init__(self, protocol: str, *, seed: int, exact: bool) -> None:
            made.append((protocol, seed, exact))

        def draw(self, number: int) -> Any:
            return SimpleNamespace(x=range(number))

    def write_split(folder: Path, scenes: Any, manifest: Any, *, first: int) -> None:
        assert manifest is whole
        written.append((str(folder), len(scenes.x), first))

    monkeypatch.setattr(module, "Simulator", Simulator)
    monkeypatch.setattr(module, "write_split", write_split)
    splits = {
        "train": SimpleNamespace(crops=2500, seed=7, first=0),
        "val": SimpleNamespace(crops=1000, seed=8, first=2500),
        "test": SimpleNamespace(crops=0, seed=9, first=3500),
    }
    whole: Any = SimpleNamespace(protocol="p", splits=splits)
    module._draw(Path("set"), whole, lambda done, total: told.append((done, total)))
    assert made == [("p", 7, True), ("p", 8, True), ("p", 9, True)]
    assert written == [
        *(("set/train", 1000, 0), ("set/train", 1000, 1000), ("set/train", 500, 2000)),
        ("set/val", 1000, 2500),
    ]
    assert told == [(1000, 3500), (2000, 3500), (2500, 3500), (3500, 3500)]
