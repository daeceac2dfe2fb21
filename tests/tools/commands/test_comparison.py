"""`dscsnet evaluate --table`: what is asked for, and what stands beside the tables."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from dscsnet.tools.commands.comparison import print_comparison
from dscsnet.tools.evaluation import comparison
from dscsnet.tools.simulation.csist import CropProtocol


@pytest.mark.parametrize("written", [True, False])
def test_a_comparison_is_printed_and_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    written: bool,
) -> None:
    asked: list[dict[str, Any]] = []

    def compare(runs: list[Path], *, tell: Any, **settings: Any) -> list[Any]:
        tell("at work")
        asked.append({"runs": runs, **settings})
        return []

    monkeypatch.setattr(comparison, "compare", compare)
    monkeypatch.setattr(comparison, "find_runs", lambda paths: [path / "run" for path in paths])
    protocol = tmp_path / "protocol.yaml"
    protocol.write_text("name: a\ndescription: b\nprotocol: {targets: [1, 2]}\n")
    page = tmp_path / "deep" / "page.md" if written else None
    print_comparison([tmp_path], protocol, crops=12_345, seed=6, markdown=page)
    assert asked == [
        {
            **{"runs": [tmp_path / "run"], "protocol": CropProtocol(targets=(1, 2))},
            **{"crops": 12_345, "crops_fitted": 2000, "seed": 6},
        }
    ]
    told = capsys.readouterr()
    assert told.err == "at work\n"
    assert "12,345 simulated crops never trained on" in told.out
    assert f"protocol of {protocol}, seed 6, drawn exactly; cells above 50 counts" in told.out
    assert (tmp_path / "deep").exists() == written
    if page is not None:
        text = page.read_text()
        assert text.startswith("# Comparison of methods\n\n## Accuracy\n\n| method | crops |")
        assert "## Cost\n" in text
        notes = [line for line in text.splitlines() if line.startswith("- ")]
        assert notes[0].startswith("- 12,345 simulated crops")
        assert notes[-1].startswith("- Python ")
