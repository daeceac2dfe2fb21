"""What half precision costs, of estimates that are known."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from dscsnet.engines.engine import CropBatch
from dscsnet.engines.estimates import Estimates
from dscsnet.tools.evaluation import precision as module
from dscsnet.tools.measures.average_precision import Points


def estimates(crop: list[int], x: list[float], y: list[float], crops: int = 3) -> Estimates:
    """Targets with given places; of rising score and falling intensity."""
    rank = np.linspace(0.1, 0.9, len(crop))
    nan, each = np.full(len(crop), np.nan), np.full(crops, np.nan)
    return Estimates(
        crop=np.array(crop, np.int64),
        x=np.array(x),
        y=np.array(y),
        intensity=1 - rank,
        likely=np.ones(len(crop), bool),
        score=rank,
        sigma_x=nan,
        sigma_y=nan,
        sigma_intensity=nan,
        chi2=each,
        doubt=np.zeros(crops, np.uint8),
        psf_scale=each,
        occupied=each,
        probability=np.empty((crops, 0)),
    )


def test_how_far_targets_move_where_both_find_as_many() -> None:
    one = estimates([0, 1, 1, 2], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    same = estimates([0, 1, 1, 2], [1.3, 2.0, 3.0, 4.0], [1.4, 2.0, 3.0, 4.0])
    assert module._moved(one, same) == pytest.approx(np.percentile([0.5, 0, 0, 0], 99))
    fewer = estimates([0, 1, 2], [1.3, 9.0, 4.0], [1.4, 9.0, 4.6])
    assert module._moved(one, fewer) == pytest.approx(np.percentile([0.5, 0.6], 99))
    assert np.isnan(module._moved(one, estimates([1], [0.0], [0.0])))


def test_precision_is_ranked_by_score_where_sigmas_are_given_and_else_by_intensity() -> None:
    """The first of three is false: by score it comes last, by intensity first."""
    found = estimates([0, 1, 2], [9.0, 5.0, 5.0], [9.0, 5.0, 5.0])
    true = Points(np.array([1, 2]), np.full(2, 5.0), np.full(2, 5.0), np.ones(2))
    by_intensity = module._cso_map(found, true)
    off_grid = replace(found, sigma_intensity=np.array([0.1, np.nan, np.nan]))
    assert module._cso_map(off_grid, true) == pytest.approx(100)
    assert by_intensity < 70


@pytest.mark.parametrize(
    ("number", "told"), [(250, [250]), (251, [250, 251]), (600, [250, 500, 600])]
)
def test_crops_are_run_250_at_a_time(number: int, told: list[int]) -> None:
    pixels = np.arange(number, dtype=np.float32)[:, None, None] * np.ones((1, 3, 3), np.float32)
    batch = CropBatch(
        pixels, np.ones(pixels.shape, bool), np.ones(number), np.ones((number, 2), np.float32)
    )

    def read(outputs: np.ndarray, part: CropBatch) -> Estimates:
        rows = list(range(len(part)))
        return estimates(rows, outputs.tolist(), outputs.tolist(), len(part))

    engine: Any = SimpleNamespace(run=lambda part: part.pixels[:, 0, 0], read=read)
    seen: list[tuple[int, int]] = []
    found = module._run(engine, batch, lambda *now: seen.append(now))
    assert found.x.tolist() == found.crop.tolist() == list(range(number))
    assert seen == [(done, number) for done in told]
