"""An engine over simulated crops: how many at a time, how fast, with which noise."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.engines.engine import CropBatch  # noqa: E402
from dscsnet.engines.estimates import Estimates  # noqa: E402
from dscsnet.engines.geometry import Grid  # noqa: E402
from dscsnet.tools.evaluation import simulated_crops as module  # noqa: E402
from dscsnet.tools.simulation.scenes import Scenes  # noqa: E402


class Silent:
    """Finds nothing; keeps what it is given, and takes half a second each time."""

    name, grid, psf = "silent", Grid(), (0.5, 0.6)

    def __init__(self) -> None:
        self.batches: list[CropBatch] = []
        self.now = 100.0

    def run(self, batch: CropBatch) -> dict[str, Any]:
        self.batches.append(batch)
        self.now += 0.5
        return {}

    def read(self, _outputs: object, batch: CropBatch) -> Estimates:
        columns = vars(Estimates.none()) | {
            "chi2": np.ones(len(batch)),
            "doubt": np.zeros(len(batch), np.uint8),
            "psf_scale": np.ones(len(batch)),
            "occupied": np.ones(len(batch)),
        }
        return Estimates(**columns)


def scenes_of(number: int) -> Scenes:
    column = torch.full((number, 1), 5.0)
    crops = torch.arange(number).float()[:, None, None] * torch.ones(11, 11)
    return Scenes(crops, column, column, column * 10, column > 0, torch.full((number,), 2.0))


@pytest.mark.parametrize("rest", [0, 3])
def test_crops_come_in_batches_with_their_noise(monkeypatch: pytest.MonkeyPatch, rest: int) -> None:
    engine: Any = Silent()
    monkeypatch.setattr(module, "time", SimpleNamespace(process_time=lambda: engine.now))
    number = module.BATCH + rest
    report = module.evaluate_scenes(engine, scenes_of(number))
    assert [len(batch) for batch in engine.batches] == [module.BATCH, rest][: 1 + bool(rest)]
    assert report.crops_per_s == pytest.approx(number / (0.5 * len(engine.batches)))
    pixels = np.concatenate([batch.pixels for batch in engine.batches])
    assert pixels[:, 3, 4].tolist() == list(range(number))
    first = engine.batches[0]
    # The noise of rounding to whole counts comes on top.
    np.testing.assert_allclose(first.noise, np.sqrt(4 + 1 / 12), rtol=1e-6)
    np.testing.assert_allclose(first.psf, np.tile([0.5, 0.6], (len(first), 1)), rtol=1e-6)
    assert first.usable.all()


def test_a_run_that_took_no_time_has_a_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(process_time=lambda: 7.0))
    silent: Any = Silent()
    assert module.evaluate_scenes(silent, scenes_of(2)).crops_per_s == pytest.approx(2e9)
