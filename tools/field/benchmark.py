"""The field benchmark: a model on targets with known truth in real frames, and what disturbs it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dscsnet.engines.array_types import Float, Mask
from dscsnet.engines.engine import Engine
from dscsnet.engines.estimates import Doubt
from dscsnet.engines.readouts.score import FURTHER_FROM
from dscsnet.tools.field.chain import PER_FRAME, Answers, Speed, run_chain
from dscsnet.tools.field.frames import FieldFrame, choose_places
from dscsnet.tools.field.implant import Samples, draw_clusters, draw_numbers, implant_clusters
from dscsnet.tools.field.out_of_distribution import odd_sets
from dscsnet.tools.field.report import FieldReport, mean, measure, share

PSF_ERRORS = (-0.10, -0.05, 0.05, 0.10)
FARTHER = 1.5  # px that the cluster's centre is from the candidate at most, in place of 1
FURTHER = f"every target from {100 * FURTHER_FROM:g} % existence on"
ODD_SHARE = 4  # of the crops are drawn for each set of what is no fair cluster: one in so many
FALSE_ALARM = 0.05  # share of fair crops whose best score counts as low
DOUBTS = {"misfit": Doubt.MISFIT, "PSF": Doubt.PSF, "crowded": Doubt.CROWDED}

Tell = Callable[[str], None]


@dataclass(frozen=True)
class OddSet:
    """How a model behaves where it should say that it does not know; percentages.

    Attributes:
        doubted: share of crops flagged as not to be trusted.
        reasons: share flagged for each reason; a crop may have several.
        silent: share for which nothing was published.
        detected: share that are either.
        low_score: share whose best score is in the range of the lowest 5 % of fair target crops.
        published: targets a crop.
        unflagged: targets a crop that was not doubted.
    """

    name: str
    crops: int
    doubted: float
    reasons: dict[str, float]
    silent: float
    detected: float
    low_score: float
    published: float
    unflagged: float


@dataclass(frozen=True)
class Reference:
    """Another engine and the measured one on the same crops."""

    name: str
    report: FieldReport
    speed: Speed
    measured: FieldReport


@dataclass(frozen=True)
class FieldResult:
    """One run of the benchmark.

    Attributes:
        variants: reports by what was changed; the same places and clusters as in `report`.
        odd: fair target crops, for comparison, then the sets on which the model should doubt.
        references: other engines, all on the same first crops.
    """

    engine: str
    runtime: str
    frames: int
    crops: int
    seed: int
    report: FieldReport
    speed: Speed
    variants: dict[str, FieldReport]
    odd: list[OddSet]
    references: list[Reference]


@dataclass(frozen=True, eq=False)
class Drawn:
    """Places and clusters of a run; their pixels are made for each variant."""

    frames: list[FieldFrame]
    seed: int
    samples: Samples
    farther: Samples
    deeper: Samples | None


def draw_samples(frames: list[FieldFrame], crops: int, seed: int) -> Drawn:
    """Draw places and clusters of field protocol v1, and implant them.

    Half of the crops without targets lie at random places, half on bright peaks. 14-bit samples
    are made where all frames have 8 bits.
    """
    generator = np.random.default_rng([seed, 0])
    numbers = draw_numbers(crops, generator)
    on_peak = (numbers == 0) & (np.cumsum(numbers == 0) % 2 == 0)
    places = choose_places(frames, on_peak, generator)
    clusters = draw_clusters(numbers, generator)
    eight_bit = all(frame.pixels.dtype == np.uint8 for frame in frames)
    whole = (frames, places, on_peak, clusters)
    return Drawn(
        frames=frames,
        seed=seed,
        samples=implant_clusters(*whole),
        farther=implant_clusters(*whole, center_scale=FARTHER),
        deeper=implant_clusters(*whole, dither=generator) if eight_bit else None,
    )


def run_benchmark(
    engine: Engine,
    drawn: Drawn,
    *,
    further: Engine | None = None,
    references: Sequence[Engine] = (),
    reference_crops: int = 300,
    tell: Tell = lambda what: None,
) -> tuple[FieldResult, Answers]:
    """Measure an engine; the answers are those to `drawn.samples`.

    Args:
        further: the same engine, told to give targets beyond the likeliest number, too.
        references: other engines, measured on the first `reference_crops` samples.
        tell: is called with what is run next.
    """
    samples = drawn.samples
    run_chain(engine, samples.take(np.s_[:PER_FRAME]))  # compile and warm up
    tell("field protocol")
    answers = run_chain(engine, samples)
    variants = _variants(engine, drawn, tell)
    if further is not None:
        tell(FURTHER)
        variants[FURTHER] = measure(run_chain(further, samples).estimates, samples)
    compared = []
    for reference in references:
        tell(f"reference: {reference.name}")
        compared.append(_compare(reference, answers, samples.take(np.s_[:reference_crops])))
    result = FieldResult(
        engine=engine.name,
        runtime=engine.runtime_name,
        frames=len(drawn.frames),
        crops=len(samples),
        seed=drawn.seed,
        report=measure(answers.estimates, samples),
        speed=answers.speed,
        variants=variants,
        odd=_doubts(engine, drawn, answers, tell),
        references=compared,
    )
    return result, answers


def psf_variant(error: float) -> str:
    """Name of the variant in which the PSF width told is wrong by a share."""
    return f"PSF told {100 * error:+.0f} %"


def _variants(engine: Engine, drawn: Drawn, tell: Tell) -> dict[str, FieldReport]:
    cases = [(psf_variant(error), drawn.samples, 1 + error) for error in PSF_ERRORS]
    cases.append((f"candidates off by up to {FARTHER:g} px", drawn.farther, 1.0))
    if drawn.deeper is not None:
        cases.append(("14 bit", drawn.deeper, 1.0))
    reports = {}
    for name, samples, told in cases:
        tell(name)
        reports[name] = measure(run_chain(engine, samples, told).estimates, samples)
    return reports


def _compare(reference: Engine, answers: Answers, samples: Samples) -> Reference:
    run_chain(reference, samples.take(np.s_[:2]))
    theirs = run_chain(reference, samples)
    return Reference(
        name=reference.name,
        report=measure(theirs.estimates, samples),
        speed=theirs.speed,
        measured=measure(answers.head(len(samples)), samples),
    )


def _doubts(engine: Engine, drawn: Drawn, answers: Answers, tell: Tell) -> list[OddSet]:
    samples = drawn.samples
    fair, empty = samples.number > 0, samples.number == 0
    best = best_scores(answers)
    limit = float(np.quantile(best[fair], FALSE_ALARM)) if fair.any() else 0.0
    rows = [
        odd_set(name, answers, limit, chosen)
        for name, chosen in (
            ("fair clusters (false alarm)", fair),
            ("empty, random places", empty & ~samples.on_peak),
            ("empty, brightest peaks", empty & samples.on_peak),
        )
    ]
    for name, odd, told in odd_sets(drawn.frames, max(1, len(samples) // ODD_SHARE), drawn.seed):
        tell(name)
        rows.append(odd_set(name, run_chain(engine, odd, told), limit, np.ones(len(odd), bool)))
    return rows


def best_scores(answers: Answers) -> Float:
    """(n,) highest score of each crop; 0 where nothing was published."""
    best = np.zeros(len(answers.pixels))
    np.maximum.at(best, answers.estimates.crop, answers.estimates.score)
    return best


def odd_set(name: str, answers: Answers, limit: float, chosen: Mask) -> OddSet:
    """Figures of the chosen crops.

    Args:
        limit: a best score up to it is low.
        chosen: (n,) bool.
    """
    published = np.bincount(answers.estimates.crop, minlength=len(answers.pixels))[chosen]
    reasons = answers.estimates.doubt[chosen]
    doubted = reasons != 0
    return OddSet(
        name=name,
        crops=len(published),
        doubted=share(doubted),
        reasons={name: share((reasons & bit) != 0) for name, bit in DOUBTS.items()},
        silent=share(published == 0),
        detected=share(doubted | (published == 0)),
        low_score=share(best_scores(answers)[chosen] <= limit),
        published=mean(published),
        unflagged=mean(np.where(doubted, 0, published)),
    )
