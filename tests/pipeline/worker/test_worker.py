"""The worker with an engine of its own: batches, their halving, what is logged."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from dscsnet.engines.engine import CropBatch
from dscsnet.engines.errors import DscsnetError
from dscsnet.engines.estimates import Estimates
from dscsnet.engines.geometry import Grid
from dscsnet.engines.runtimes import DeviceError
from dscsnet.engines.sensor import Sensor
from dscsnet.pipeline.join import Ticket
from dscsnet.pipeline.messages import Detections, EngineInfo, Frame, Targets
from dscsnet.pipeline.unmix import Stages
from dscsnet.pipeline.worker import Worker

INFO = EngineInfo(runtime="none", model="brightest", sha256="", psf_sigma=0.5)
LOGGER = Worker.__module__
SIDE = 64


class BrightestPixel:
    """An engine that finds the brightest pixel of each crop, one target in each.

    Args:
        poison: a crop with a pixel this many counts above its background fails the whole batch.
    """

    grid = Grid()
    sensor = Sensor.gaussian(0.5)
    weighs_numbers = False

    def __init__(self, poison: float = np.inf, error: type[Exception] = RuntimeError) -> None:
        self.poison, self.error = poison, error
        self.runs: list[int] = []

    def run(self, batch: CropBatch) -> Mapping[str, Any]:
        self.runs.append(len(batch))
        if (batch.pixels.max((1, 2)) > self.poison).any():
            raise self.error("poisoned")
        return {"pixels": batch.pixels}

    def read(self, outputs: Mapping[str, Any], batch: CropBatch) -> Estimates:
        pixels = outputs["pixels"]
        count, size = len(pixels), self.grid.crop_size
        place = pixels.reshape(count, -1).argmax(1)
        unknown = np.full(count, np.nan)
        return Estimates(
            crop=np.arange(count),
            x=(place % size).astype(float),
            y=(place // size).astype(float),
            intensity=pixels.max((1, 2)).astype(float),
            likely=np.ones(count, bool),
            score=np.full(count, 0.5),
            sigma_x=unknown,
            sigma_y=unknown,
            sigma_intensity=unknown,
            chi2=np.ones(count),
            doubt=np.zeros(count, np.uint8),
            psf_scale=unknown,
            occupied=unknown,
            probability=np.empty((count, 0)),
        )


def ticket(frame_id: int, peaks: dict[tuple[int, int], float], side: int = SIDE) -> Ticket:
    """A joined frame, 100 counts but for its peaks, counts at (x, y), each of them detected."""
    pixels = np.full((side, side), 100.0, np.float32)
    for (x, y), counts in peaks.items():
        pixels[y, x] += counts
    frame = Frame("cam", bytes(16), frame_id, 7, pixels)
    x, y = ([float(place[axis]) for place in peaks] for axis in (0, 1))
    found = Detections("cam", bytes(16), frame_id, 7, x=x, y=y)
    return Ticket(frame.key, 7, 0, frame=frame, detections=found)


def unmix(
    engine: BrightestPixel, tickets: list[Ticket], **settings: Any
) -> tuple[dict[int, Targets], Worker, dict[str, list[float]]]:
    """Answers by frame, the worker, and what it measured."""
    settings = {"merge_radius": 3.0, "crops_per_frame": 20, "crops_per_run": 16} | settings
    worker = Worker(Stages(engine, **settings), INFO)  # type: ignore[arg-type]
    measured: dict[str, list[float]] = {}
    worker.stages.subscribe(lambda stage, value: measured.setdefault(stage, []).append(value))
    answers: dict[int, Targets] = {}

    def finish(done: Ticket, answer: Targets) -> None:
        assert done.key == answer.key
        assert answer.frame_id not in answers
        answers[answer.frame_id] = answer

    worker.process(tickets, finish)
    return answers, worker, measured


def found(answer: Targets) -> list[tuple[float, float, float]]:
    table = answer.targets
    return sorted(zip(table.x, table.y, map(round, table.intensity), strict=True))


@pytest.mark.parametrize("crops_per_run", [1, 2, 3, 4, 5, 16])
def test_a_batch_over_frames_gives_each_frame_its_own(crops_per_run: int) -> None:
    peaks = [
        {(10, 20): 500, (40, 30): 600},
        {(30, 12): 700},
        {(12, 50): 800, (50, 20): 900},
    ]
    tickets = [ticket(number, each) for number, each in enumerate(peaks)]
    engine = BrightestPixel()
    answers, _, measured = unmix(engine, tickets, crops_per_run=crops_per_run)
    for number, each in enumerate(peaks):
        assert answers[number].status == "ok"
        assert found(answers[number]) == sorted((x, y, round(c)) for (x, y), c in each.items())
        spots = answers[number].spots
        assert list(zip(spots.x, spots.y, strict=True)) == list(each)
        assert spots.count == [1] * len(each)
        assert spots.background == pytest.approx([100.0] * len(each))
    full, rest = divmod(5, crops_per_run)
    assert engine.runs == [crops_per_run] * full + [rest] * bool(rest)
    assert measured["batch_crops"] == [5]
    assert measured["batch_frames"] == [3]
    assert len(measured["crop"]) == 3
    assert len(measured["infer"]) == len(measured["readout"]) == 1


def test_a_batch_that_fails_is_halved_until_the_frame_at_fault_is_alone() -> None:
    tickets = [ticket(number, {(30, 30): 500}) for number in range(8)]
    tickets[5] = ticket(5, {(30, 30): 5000})
    engine = BrightestPixel(poison=1000)
    answers, worker, _ = unmix(engine, tickets)
    assert {number: answer.status for number, answer in answers.items()} == {
        **dict.fromkeys(range(8), "ok"),
        5: "error",
    }
    assert answers[5].reason == "internal error: RuntimeError: poisoned"
    assert engine.runs == [8, 4, 4, 2, 1, 1, 2]
    assert worker.device_failure is None


def test_a_device_that_fails_is_not_tried_again() -> None:
    tickets = [ticket(number, {(30, 30): 5000}) for number in range(4)]
    engine = BrightestPixel(poison=1000, error=DeviceError)
    answers, worker, _ = unmix(engine, tickets)
    assert {answer.status for answer in answers.values()} == {"error"}
    assert len(answers) == 4
    assert engine.runs == [4]
    assert worker.device_failure == "poisoned"


@pytest.mark.parametrize("error", [RuntimeError, DscsnetError])
def test_only_an_error_that_nobody_foresaw_has_its_traceback_logged(
    caplog: pytest.LogCaptureFixture, error: type[Exception]
) -> None:
    with caplog.at_level(logging.ERROR, LOGGER):
        answers, _, _ = unmix(BrightestPixel(poison=0, error=error), [ticket(3, {(30, 30): 500})])
    (record,) = [each for each in caplog.records if each.name == LOGGER]
    assert "frame cam/3" in record.getMessage()
    if error is DscsnetError:
        assert answers[3].reason == "poisoned"
        assert not record.exc_info
    else:
        assert record.exc_info is not None
        assert record.exc_info[0] is error


def test_a_reason_is_cut_where_a_message_would_grow_without_a_bound() -> None:
    class Wordy(Exception):
        def __str__(self) -> str:
            return "x" * 10_000

    answers, _, _ = unmix(BrightestPixel(poison=0, error=Wordy), [ticket(0, {(30, 30): 500})])
    assert len(answers[0].reason) == 500


def test_a_frame_that_no_mask_fits_is_at_fault_alone() -> None:
    """The mask is wider than high, and so told."""
    mask = np.zeros((SIDE, SIDE), bool)
    tickets = [ticket(0, {(30, 30): 500}), ticket(1, {(10, 10): 500}, side=32)]
    answers, _, _ = unmix(BrightestPixel(), tickets, bad_pixels=mask)
    assert answers[0].status == "ok"
    assert answers[1].status == "error"
    assert answers[1].reason == "the bad-pixel mask is 64x64 px, the frame 32x32"
    wide = np.zeros((SIDE, SIDE + 8), bool)
    answers, _, _ = unmix(BrightestPixel(), tickets[:1], bad_pixels=wide)
    assert answers[0].reason == "the bad-pixel mask is 72x64 px, the frame 64x64"


def test_a_frame_without_a_good_crop_says_so_and_runs_nothing() -> None:
    bad = np.ones((SIDE, SIDE), bool)
    engine = BrightestPixel()
    answers, _, measured = unmix(engine, [ticket(0, {(30, 30): 500})], bad_pixels=bad)
    assert answers[0].status == "error"
    assert answers[0].reason == "no usable pixel in any candidate's crop"
    assert engine.runs == []
    assert measured["batch_crops"] == [0]
