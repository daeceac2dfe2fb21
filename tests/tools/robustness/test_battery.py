"""The battery: which situations it runs, what models are told in each, and how it is shown."""

import json
import math
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from typer import BadParameter

from dscsnet.tools.commands.robustness import run_robustness
from dscsnet.tools.robustness import battery as module
from dscsnet.tools.robustness.measure import Row
from dscsnet.tools.robustness.picture import BAD, GOOD, colour_of, draw_report
from dscsnet.tools.robustness.render import Gaussian, Moffat
from dscsnet.tools.robustness.scenes import CALIBRATED, Situation
from dscsnet.tools.robustness.situations import situations
from dscsnet.tools.robustness.text import COLUMNS, as_json, cells


def row(model: str = "m", **figures: Any) -> Row:
    """A row whose figures are all different."""
    given = {
        **{"group": "g", "name": "n", "spots": 9, "right": 0.91, "false": 0.123, "silent": 0.02},
        **{"flagged": 0.3, "outside": 4, "rms": 0.0512, "over_bound": 1.07, "flux_bias": -0.011},
        **{"one_sigma": 0.68, "two_sigma": 0.95},
    }
    return Row(model=model, **{**given, **figures})


class Told:
    """Stands for an unmixer; remembers what it was told."""

    calls: list[tuple[Any, ...]] = []  # noqa: RUF012  of the class, cleared by each test

    def __init__(self, psf: Any, model: str, **settings: Any) -> None:
        Told.calls.append((psf, model, settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two situations that nobody draws or unmixes."""
    Told.calls = []
    known = [
        Situation("one", "clipped", Gaussian(0.8, 0.6, 30), settings={"gain": 2.0}),
        Situation("two", "drift", Gaussian(0.9, 0.9), told=0.7),
    ]
    scene = type("Scene", (), {"saturation": 99.0})
    monkeypatch.setattr(module, "situations", lambda: known)
    monkeypatch.setattr(module, "draw", lambda *_: scene)
    monkeypatch.setattr(module, "Unmixer", Told)
    monkeypatch.setattr(
        module, "measure", lambda _unmixer, model, it, _scene: row(model, group=it.group)
    )


@pytest.mark.usefixtures("quick")
def test_each_model_is_told_each_situation() -> None:
    titles: list[str] = []
    report = module.run_battery(["a", "b"], threads=3, tell=titles.append)
    assert titles == ["one / clipped", "two / drift"]
    assert [(each.group, each.model) for each in report.rows] == [
        *(("one", "a"), ("one", "b"), ("two", "a"), ("two", "b")),
    ]
    usual = {"threads": 3, "max_crops": module.MOST_CROPS, "saturation": 99.0}
    assert Told.calls[:3] == [
        *(((0.8, 0.6, 30), model, {**usual, "gain": 2.0}) for model in ("a", "b")),
        (0.7, "a", usual),
    ]
    assert [each.group for each in module.run_battery(["a"], only="tw* / d*").rows] == ["two"]


@pytest.mark.usefixtures("quick")
def test_the_command_writes_what_it_prints(tmp_path: Path, capsys: Any) -> None:
    run_robustness(["a"], "*", 1, tmp_path / "out", 1)
    assert "91.0" in capsys.readouterr().out
    stored = json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert [each["group"] for each in stored["rows"]] == ["one", "two"]
    assert (tmp_path / "out" / "robustness.png").stat().st_size > 1000
    with pytest.raises(BadParameter, match="no situation matches 'three'"):
        run_robustness(["a"], "three", 1, None, 1)


def test_a_calibrated_psf_is_that_of_single_stars(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `calibrate --write` has it: turned where it is, sampled where it is no Gaussian."""
    monkeypatch.setattr(module, "CALIBRATION_FRAMES", 2)
    situation = Situation("g", "n", Gaussian(0.8, 0.6, 30), told=CALIBRATED, targets=3, snr=5)
    told, settings = module.calibrated(situation, 1)
    assert told == pytest.approx((0.8, 0.6, 30), rel=0.03)
    assert 1e-3 <= settings["psf_error"] < 0.01
    told, settings = module.calibrated(Situation("g", "n", Moffat(1.65, 2.5)), 1)
    assert told.ndim == 2
    assert settings["oversampling"] > 1
    assert settings["psf_error"] < 0.02


def test_names_are_unique_and_every_kind_is_there() -> None:
    every = situations()
    assert len({(each.group, each.name) for each in every}) == len(every)
    groups = " ".join({each.group for each in every})
    for kind in (
        *("singles", "pairs", "triples", "scale", "width", "ellipse", "calibrated", "shot"),
        *("edge", "box", "saturation", "drift", "resampled", "trail"),
    ):
        assert kind in groups


def test_figures_as_they_are_shown() -> None:
    shown = dict(zip(COLUMNS, cells(row()), strict=True))
    assert shown == {
        **{"right %": "91.0", "false": "0.123", "silent %": "2.0", "flagged %": "30.0"},
        **{"outside": "4", "RMS px": "0.0512", "/ bound": "1.07", "flux %": "-1.1"},
        **{"1s %": "68", "2s %": "95"},
    }
    nothing = row(rms=math.nan, over_bound=math.nan, flux_bias=math.nan)
    assert cells(nothing)[5:8] == ["-", "-", "-"]
    report = module.Report(seed=3, models=["m"], rows=[nothing])
    stored = json.loads(as_json(report))["rows"][0]
    assert (stored["rms"], stored["right"]) == (None, 0.91)


def test_green_turns_red_at_a_tenth() -> None:
    assert colour_of(0.0) == tuple(GOOD)
    assert colour_of(0.1) == colour_of(1.0) == tuple(BAD)
    assert colour_of(0.05) == tuple(np.rint((GOOD + BAD) / 2).astype(int))


def test_a_line_for_each_situation_and_a_pair_of_cells_for_each_model() -> None:
    rows = [row("a", right=1.0, silent=0.0), row("b", right=0.0), row("a", name="o", silent=1.0)]
    picture = draw_report(module.Report(seed=1, models=["a", "b"], rows=rows))
    one = draw_report(module.Report(seed=1, models=["a"], rows=rows[:1]))
    assert picture.shape[0] > one.shape[0]
    assert picture.shape[1] > one.shape[1]
    for share, there in ((0.0, True), (0.02, True), (1.0, True), (0.05, False)):
        assert (picture == colour_of(share)).all(-1).any() == there
