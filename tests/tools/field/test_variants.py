"""What the benchmark has run, in which order, with how many crops and which width told."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dscsnet.tools.field import benchmark as module
from dscsnet.tools.field.benchmark import FURTHER, PER_FRAME, run_benchmark
from dscsnet.tools.field.chain import Answers, Speed
from dscsnet.tools.field.report import card_figures, coverage
from tests.tools.field.made_up import RESULT, field_report


class FakeSamples:
    """So many crops of a name, all with a target; a slice of them remembers its length."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.count = name, count
        self.number, self.on_peak = np.ones(count, int), np.zeros(count, bool)

    def __len__(self) -> int:
        return self.count

    def take(self, rows: slice) -> "FakeSamples":
        return FakeSamples(self.name, len(range(self.count)[rows]))


@pytest.fixture(name="ran")
def _ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Engine, samples and how many of them, and the width told; nothing is unmixed."""
    ran: list[tuple[Any, ...]] = []

    def run_chain(engine: Any, samples: Any, told: float = 1.0) -> Any:
        ran.append((engine.name, samples.name, len(samples), round(told, 3)))
        return SimpleNamespace(
            count=len(samples),
            estimates=f"{engine.name}'s",
            speed=f"of {engine.name}",
            head=lambda number: f"first {number} of {engine.name}'s",
        )

    monkeypatch.setattr(module, "run_chain", run_chain)
    monkeypatch.setattr(module, "measure", lambda found, samples: (found, len(samples)))
    monkeypatch.setattr(module, "best_scores", lambda answers: np.linspace(0, 1, answers.count))
    monkeypatch.setattr(module, "odd_set", lambda name, _, limit, chosen: (name, limit, chosen))
    monkeypatch.setattr(
        module,
        "odd_sets",
        lambda frames, number, seed: [("odd", FakeSamples(f"odd of {seed}", number), 1.2)],
    )
    return ran


def drawn(deeper: bool = True) -> Any:
    return SimpleNamespace(
        frames=["a frame"] * 3,
        seed=6,
        samples=FakeSamples("fair", 401),
        farther=FakeSamples("farther", 401),
        deeper=FakeSamples("deeper", 401) if deeper else None,
    )


def engine(name: str) -> Any:
    return SimpleNamespace(name=name, runtime_name=f"{name}'s runtime")


def test_all_runs_of_a_benchmark(ran: list[tuple[Any, ...]]) -> None:
    told: list[str] = []
    references = [engine("two"), engine("three")]
    given = {"further": engine("further"), "references": references, "reference_crops": 30}
    result, answers = run_benchmark(engine("one"), drawn(), tell=told.append, **given)
    assert ran == [
        ("one", "fair", PER_FRAME, 1.0),  # compiles and warms up
        ("one", "fair", 401, 1.0),
        *(("one", "fair", 401, width) for width in (0.9, 0.95, 1.05, 1.1)),
        ("one", "farther", 401, 1.0),
        ("one", "deeper", 401, 1.0),
        ("further", "fair", 401, 1.0),
        *(("two", "fair", number, 1.0) for number in (2, 30)),
        *(("three", "fair", number, 1.0) for number in (2, 30)),
        ("one", "odd of 6", 100, 1.2),
    ]
    widths = [f"PSF told {percent} %" for percent in ("-10", "-5", "+5", "+10")]
    variants = [*widths, "candidates off by up to 1.5 px", "14 bit", FURTHER]
    assert told == ["field protocol", *variants, "reference: two", "reference: three", "odd"]
    assert list(result.variants) == variants
    assert result.variants[FURTHER] == ("further's", 401)
    assert (result.engine, result.runtime) == ("one", "one's runtime")
    assert (result.frames, result.crops, result.seed) == (3, 401, 6)
    assert (result.report, result.speed) == (("one's", 401), "of one")
    assert answers.estimates == "one's"
    first = result.references[0]
    assert (first.name, first.speed) == ("two", "of two")
    assert (first.report, first.measured) == (("two's", 30), ("first 30 of one's", 30))


def test_without_further_targets_references_and_deeper_frames(ran: list[tuple[Any, ...]]) -> None:
    result, _ = run_benchmark(engine("one"), drawn(deeper=False))
    assert {name for name, *_ in ran} == {"one"}
    assert [name for name in result.variants if "PSF" not in name] == [
        "candidates off by up to 1.5 px"
    ]
    assert result.references == []
    three, *_ = run_benchmark(engine("one"), drawn(), references=[engine("two")])
    assert ran[-2] == ("two", "fair", 300, 1.0)
    assert len(three.references) == 1


def test_the_lowest_twentieth_of_fair_scores_is_low(ran: list[tuple[Any, ...]]) -> None:
    result, _ = run_benchmark(engine("one"), drawn())
    rows: list[Any] = list(result.odd)
    assert [name for name, *_ in rows] == [
        "fair clusters (false alarm)",
        *("empty, random places", "empty, brightest peaks", "odd"),
    ]
    for _, limit, _ in rows:
        assert limit == pytest.approx(0.05)
    assert [int(chosen.sum()) for _, _, chosen in rows] == [401, 0, 0, 100]


def test_three_crops_are_enough_for_one_odd_one(ran: list[tuple[Any, ...]]) -> None:
    few = drawn()
    few.samples = FakeSamples("fair", 3)
    run_benchmark(engine("one"), few)
    assert ran[0] == ("one", "fair", 3, 1.0)
    assert ran[-1] == ("one", "odd of 6", 1, 1.2)


def test_speeds_are_of_each_stage_and_of_all() -> None:
    pixels = np.zeros((60, 11, 11), np.float32)
    nothing: Any = None
    speed = Answers(nothing, pixels, np.zeros(60), (1.0, 2.0, 3.0)).speed
    assert speed == Speed(60.0, 30.0, 20.0, 10.0)
    assert Answers(nothing, pixels, np.zeros(60), (0.0, 0.0, 0.0)).speed.crop == 60e9


def test_the_figures_of_a_card() -> None:
    report = field_report(cso_map=41.00049)
    assert card_figures(report) == {
        "field_cso_map": 41.0,
        "field_ap50": 42.0,
        "field_recall_quarter_pixel": 50.25,
        "field_precision_quarter_pixel": 51.0,
        "field_count_accuracy": 43.0,
        "field_false_targets_random": 0.125,
        "field_false_targets_peaks": 0.25,
        "field_x_within_1_sigma": 60.0,
        "field_y_within_1_sigma": 70.0,
    }
    assert card_figures(RESULT.report)["field_cso_map"] == 41.0
    assert card_figures(field_report(cso_map=41.0126))["field_cso_map"] == 41.013


def test_an_error_of_just_one_or_two_sigmas_is_within_them() -> None:
    found = coverage(np.array([1.0, -2.0, 0.0, 3.0]), np.full(4, 1.0))
    assert (found.one_sigma, found.two_sigma) == (50.0, 75.0)
    assert found.squared == pytest.approx(14 / 4)
    beyond = coverage(np.array([1.0 + 1e-9, -2.0 - 1e-9]), np.full(2, 1.0))
    assert (beyond.one_sigma, beyond.two_sigma) == (0.0, 50.0)
