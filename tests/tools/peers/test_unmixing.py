"""Our models beside the published methods, and what is left without PyTorch."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dscsnet.tools.bench.in_turn import Speed
from dscsnet.tools.peers import unmixing as module
from dscsnet.tools.peers.unmixing import REFERENCES, compare_unmixing

Runs = Mapping[str, Callable[[], object]]
OURS = [
    f"{model}: {part}"
    for model in ("csist100k-mlp", "field-mlp", "field-unfolded")
    for part in ("network", "whole chain")
]


@pytest.fixture(name="measured")
def _measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What each answers; nothing is timed."""
    answers: dict[str, object] = {}

    def speeds(runs: Runs, number: int) -> dict[str, Speed]:
        assert number == 3
        answers.update({name: run() for name, run in runs.items()})
        return {name: Speed(10.0 * place, 1.0) for place, name in enumerate(runs, 1)}

    monkeypatch.setattr(module, "speeds_in_turn", speeds)
    monkeypatch.setattr(module, "BATCH", 3)
    return answers


def test_without_pytorch_ours_are_left(
    measured: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    comparison = compare_unmixing()
    assert [row.name for row in comparison.rows] == OURS
    assert comparison.missing == [
        "DISTA-Net and others: left out, torch not installed: pip install 'dscsnet[train]'"
    ]
    for name, answer in measured.items():
        crops = getattr(answer, "crops", None)
        assert crops == (3 if "whole" in name else None)


def test_peers_run_once_before_they_are_timed(
    measured: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    published = pytest.importorskip("dscsnet.tools.peers.published_methods")
    calls: list[Path] = []

    def methods(number: int, folder: Path) -> dict[str, Callable[[], object]]:
        assert (number, folder.is_dir()) == (3, True)
        return {"abacus": lambda: calls.append(folder)}

    monkeypatch.setattr(published, "published_methods", methods)
    comparison = compare_unmixing()
    assert [row.name for row in comparison.rows] == [*OURS, "abacus"]
    assert "abacus" in measured
    assert len(calls) == 2
    assert list(comparison.references) == list(REFERENCES)
    assert comparison.ahead(comparison.rows[-1]) == [10 / 70, 50 / 70, 60 / 70]
