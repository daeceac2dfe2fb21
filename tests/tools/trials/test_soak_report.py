"""Slopes of a soak at the limits of its warm-up."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dscsnet.tools.trials import soak_report as module
from dscsnet.tools.trials.soak import Sample, Soak
from dscsnet.tools.trials.soak_report import (
    PANELS,
    Slope,
    _figure,
    describe_soak,
    grows,
    slope,
)

SAMPLE = Sample(0.0, 200.0, 30, 16, 1.0, 9, 8, 1, 2, 3, 4, 1.0, 9.0, 30.0)


def soak_of(seconds: list[float], memory: list[float]) -> Soak:
    rows = zip(seconds, memory, strict=True)
    samples = [replace(SAMPLE, seconds=s, memory_mib=m, cpu_s=1 + 0.5 * s) for s, m in rows]
    return Soak(20.0, 5, samples, 7, ["out of order"])


@pytest.mark.parametrize(("end", "warm"), [(900.0, 300.0), (1800.0, 600.0), (7200.0, 600.0)])
def test_a_third_is_warm_up_and_ten_minutes_at_most(end: float, warm: float) -> None:
    seconds = np.arange(0.0, end + 1, 60.0)
    memory = np.where(seconds < warm, 0.0, 200 + 3 * (seconds - warm) / 3600)
    found = slope(soak_of(seconds.tolist(), memory.tolist()), "memory_mib")
    assert found == pytest.approx((200, 3, 0), abs=1e-9)


def test_two_samples_tell_no_slope() -> None:
    found = slope(soak_of([0, 60, 120], [1, 2, 3]), "memory_mib")
    assert found.level == 2
    assert math.isnan(found.an_hour)
    assert math.isnan(found.error)
    three = slope(soak_of([0, 60, 120, 180], [9, 2, 3, 5]), "memory_mib")
    middle = np.polyfit(np.array([1, 2, 3]) / 60, [2, 3, 5], 1, cov="unscaled")[0]
    assert three.an_hour == pytest.approx(middle[0])
    rest = np.array([2, 3, 5]) - np.polyval(middle, np.array([1, 2, 3]) / 60)
    assert three.error == pytest.approx(math.sqrt(rest @ rest / 1 / (2 / 3600)))


@pytest.mark.parametrize(
    ("end", "an_hour", "noise", "expected"),
    [
        (1800.0, 2.0, 0.0, True),
        (1740.0, 2.0, 0.0, False),
        (3600.0, 0.9, 0.0, False),
        (3600.0, 2.0, 3.0, False),
    ],
)
def test_growth_is_more_than_a_mib_an_hour_and_three_errors(
    end: float, an_hour: float, noise: float, expected: bool
) -> None:
    seconds = np.arange(0.0, end + 1, 60.0)
    memory = 200 + an_hour * seconds / 3600 + noise * (-1.0) ** np.arange(len(seconds))
    assert grows(soak_of(seconds.tolist(), memory.tolist())) == expected


def test_lines_for_people() -> None:
    text = describe_soak(soak_of([0, 600, 1200, 1800], [200, 210, 211, 212]))
    for part in (
        "30.0 minutes, 20.0 frames/s of 5 candidates, 4 samples",
        "received 9, published 8, not unmixed 2, lost upstream 3, unsent 4, lost silently 7",
        "processor: 50 % of a core",
        "memory, MiB: 200 to 212, median 210.5, slope +6 +- ",
        "in 30 days: 51,840,000 frames; memory +4320 +- 0 MiB",
        "lasts 3e+10 years",
        "exact for 1e+07 years",
    ):
        assert part in text
    assert text.endswith("\nout of order")


def test_every_figure_has_its_panel_colour_and_fitted_line() -> None:
    pytest.importorskip("matplotlib")
    seconds = [600.0 * k for k in range(13)]
    soak = soak_of(seconds, [200 + k for k in range(13)])
    soak.samples[4] = replace(soak.samples[4], unsent=9, threads=17)
    figure = _figure(soak)
    panels = figure.axes
    assert [panel.get_ylabel() for panel in panels] == [text for _, text, _ in PANELS]
    lines = [panel.get_lines()[0] for panel in panels]
    assert len({line.get_color() for line in lines}) == len(PANELS) == 6
    minutes = [second / 60 for second in seconds]
    for line, (name, _, _) in zip(lines, PANELS, strict=True):
        np.testing.assert_allclose(line.get_xdata(), minutes)
        np.testing.assert_array_equal(line.get_ydata(), [getattr(s, name) for s in soak.samples])
    memory, fitted = panels[0].get_lines()
    assert memory is lines[0]
    # From ten minutes on: 6 MiB an hour through 201 MiB.
    np.testing.assert_allclose(fitted.get_xdata(), [10, 120])
    np.testing.assert_allclose(fitted.get_ydata(), [201, 212])
    assert panels[0].get_title() == "+6.00 +- 0.00 MiB an hour"
    assert [panel.get_xlabel() for panel in panels] == [""] * 4 + ["time, min"] * 2
    # What does not move has a unit above and below; what moves by one is shown as it is.
    assert panels[1].get_ylim() == (29, 31)
    low, high = panels[2].get_ylim()
    assert high - low < 1.5


@pytest.mark.parametrize(("end", "start"), [(900.0, 300.0), (1800.0, 600.0), (3600.0, 600.0)])
def test_the_line_begins_after_the_warm_up(end: float, start: float) -> None:
    pytest.importorskip("matplotlib")
    seconds = np.linspace(0, end, 13)
    fitted = _figure(soak_of(seconds.tolist(), [200.0] * 13)).axes[0].get_lines()[1]
    xs = fitted.get_xdata()
    assert xs[0] / xs[1] == pytest.approx(start / end)


@pytest.mark.parametrize(
    ("an_hour", "error", "expected"),
    [(1.0, 0.0, False), (1.01, 0.0, True), (3.0, 1.0, False), (3.01, 1.0, True)],
)
def test_growth_begins_beyond_its_limits(
    monkeypatch: pytest.MonkeyPatch, an_hour: float, error: float, expected: bool
) -> None:
    monkeypatch.setattr(module, "slope", lambda result, name: Slope(0.0, an_hour, error))
    assert grows(soak_of([0, 1800], [1, 2])) == expected
