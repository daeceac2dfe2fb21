"""The watch over the PSF's width: from which spots, from how many, and when it warns."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from dscsnet.engines.engine import CropBatch
from dscsnet.engines.estimates import Doubt, Estimates
from dscsnet.engines.imaging import central_fraction, render
from dscsnet.pipeline.worker.psf_drift import LEAST, LEAST_DRIFT, LEAST_SNR, WINDOW, PsfDrift


def answer(
    scales: NDArray[np.float64],
    *,
    number: int = 1,
    doubt: int = 0,
    snr: float = LEAST_SNR,
) -> tuple[Estimates, CropBatch]:
    """Crops with so many targets each, of these fitted widths."""
    crops = len(scales)
    targets = np.repeat(np.arange(crops), number)
    each = np.ones(len(targets))
    estimates = Estimates(
        crop=targets,
        x=each,
        y=each,
        intensity=each,
        likely=each > 0,
        score=each,
        sigma_x=each,
        sigma_y=each,
        sigma_intensity=each,
        chi2=np.ones(crops),
        doubt=np.full(crops, doubt, np.uint8),
        psf_scale=np.asarray(scales, float),
        occupied=np.ones(crops),
        probability=np.empty((crops, 0)),
    )
    pixels = np.zeros((crops, 3, 3), np.float32)
    pixels[:, 1, 1] = 2 * snr
    noise = np.full(crops, 2.0, np.float32)
    psf = np.full((crops, 2), 0.5, np.float32)
    return estimates, CropBatch(pixels, pixels >= 0, noise, psf)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


def test_it_says_nothing_before_it_has_seen_enough() -> None:
    drift = PsfDrift()
    drift.add(*answer(np.full(LEAST - 1, 1.1)))
    assert np.isnan(drift.scale)
    drift.add(*answer(np.full(1, 1.1)))
    assert drift.scale == pytest.approx(1.1)


@pytest.mark.parametrize(
    ("settings", "telling"),
    [
        ({}, True),
        ({"doubt": int(Doubt.PSF)}, True),
        ({"doubt": int(Doubt.MISFIT)}, False),
        ({"doubt": int(Doubt.PSF | Doubt.CROWDED)}, False),
        ({"number": 2}, False),
        ({"number": 0}, False),
        ({"snr": 0.999 * LEAST_SNR}, False),
    ],
)
def test_only_bright_single_targets_tell(settings: dict, telling: bool) -> None:
    drift = PsfDrift()
    drift.add(*answer(np.full(LEAST, 1.1), **settings))
    drift.add(*answer(np.full(LEAST, np.nan)))  # not fitted
    assert np.isfinite(drift.scale) == telling


def test_the_latest_spots_count() -> None:
    drift = PsfDrift()
    drift.add(*answer(np.full(WINDOW, 1.05)))
    drift.add(*answer(np.full(WINDOW // 2 - 1, 0.95)))
    assert drift.scale == pytest.approx(1.05)
    drift.add(*answer(np.full(2, 0.95)))
    assert drift.scale == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("scale", "warned"),
    [
        (np.exp(LEAST_DRIFT + 1e-9), "+4 %"),
        (np.exp(LEAST_DRIFT - 1e-9), None),
        (np.exp(-LEAST_DRIFT - 1e-9), "-4 %"),
        (np.exp(-LEAST_DRIFT + 1e-9), None),
        (1.09, "+9 %"),
    ],
)
def test_it_warns_of_a_drift_worth_it(
    caplog: pytest.LogCaptureFixture, scale: float, warned: str | None
) -> None:
    drift = PsfDrift()
    for _ in range(3):
        drift.add(*answer(np.full(LEAST, scale)))
    if warned is None:
        assert not warnings(caplog)
    else:
        (line,) = warnings(caplog)  # once, however often it is seen
        assert f"the spots are {warned} wider" in line
        assert f"median of {LEAST} bright" in line


@pytest.mark.parametrize(("spread", "warned"), [(0.15, True), (0.45, False)])
def test_it_does_not_warn_of_what_may_be_chance(
    caplog: pytest.LogCaptureFixture, spread: float, warned: bool
) -> None:
    """Half of the widths a spread beside the middle: 1.2533 * 1.4826 * spread / sqrt(400) is the
    median's error, and five of these are 0.07 or 0.21."""
    middle, sign = 0.1, np.tile([-1.0, 0.0, 0.0, 1.0], WINDOW // 4)
    logs = middle + spread * np.where(sign, sign, np.tile([0, 1, -1, 0], WINDOW // 4))
    logs[: WINDOW // 50] = middle
    PsfDrift().add(*answer(np.exp(logs)))
    assert bool(warnings(caplog)) == warned


def stars(width: float, snr: float, number: int = 1, spots: int = 96) -> CropBatch:
    """Crops of spots, each of so many targets 1.2 px apart, with noise 1; told sigma 0.7 px."""
    generator, size = np.random.default_rng(5), 11
    sigma = 0.7 * width
    pixels = generator.normal(size=(spots, size, size))
    for crop in pixels:
        x, y = 5 + generator.uniform(-0.5, 0.5, 2)
        angle = generator.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(number) / number
        apart = 0.6 * (number > 1)
        light = np.full(number, snr / central_fraction(sigma))
        at = x + apart * np.cos(angle), y + apart * np.sin(angle)
        crop[:] = crop + render(*at, light, (size, size), sigma)
    whole = np.ones(pixels.shape, bool)
    psf = np.full((spots, 2), 0.7, np.float32)
    return CropBatch(pixels.astype(np.float32), whole, np.ones(spots, np.float32), psf)


def seen(batch: CropBatch, number: int, chi2: float = 1.0) -> PsfDrift:
    """The watch after answers that split each spot into so many targets."""
    drift = PsfDrift()
    for first in range(0, len(batch), 6):
        part = batch.part(first, first + 6)
        estimates, _ = answer(np.ones(len(part)), number=number)
        drift.add(replace(estimates, chi2=np.full(len(part), chi2)), part)
    return drift


@pytest.mark.parametrize("width", [1.1, 1.3, 1.45])
def test_a_wide_psf_is_seen_though_every_star_is_split(
    caplog: pytest.LogCaptureFixture, width: float
) -> None:
    drift = seen(stars(width, 100), 3)
    assert drift.scale == pytest.approx(width, rel=0.03)
    assert "hardly any is taken for one" in warnings(caplog)[0]


def test_pairs_are_no_wide_stars() -> None:
    """One target does not explain them."""
    assert np.isnan(seen(stars(1.0, 100, number=2), 2).scale)


def test_a_narrow_psf_is_not_held_to_what_was_told() -> None:
    """The fit expects the told width; a far one is measured without that."""
    batch, drift = stars(0.75, 60), PsfDrift()
    for first in range(0, len(batch), 6):
        part = batch.part(first, first + 6)
        drift.add(answer(np.full(len(part), 0.85))[0], part)
    assert drift.scale == pytest.approx(0.75, rel=0.03)
