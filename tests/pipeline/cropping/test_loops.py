"""No loop leaves its arrays: as plain Python, which checks every index, all give the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dscsnet.pipeline.cropping import (
    allotment,
    background,
    cut,
    duplicates,
    grouping,
    plan,
    seeking,
    sorting,
)
from dscsnet.pipeline.cropping.background import BORDER_WIDTH

MODULES = (allotment, background, cut, duplicates, grouping, plan, seeking, sorting)


def everything(seed: int) -> list[Any]:
    """Plan, crops and kept targets of a small crowded frame with defects at its edges."""
    rng = np.random.default_rng(seed)
    rows, columns, count, size = 17, 23, 14, 5 + 2 * (seed % 3)
    x, y = rng.uniform(-0.5, [[columns - 0.5], [rows - 0.5]], (2, count))
    frame = rng.normal(100, 3, (rows, columns)).astype(np.float32)
    frame[rng.random(frame.shape) < 0.06] += 200  # bright
    frame[rng.random(frame.shape) < 0.02] = 400  # saturated
    mask = rng.random(frame.shape) < 0.2
    planned = plan.plan_crops(
        x,
        y,
        score=np.where(rng.random(count) < 0.2, np.nan, rng.normal(size=count)),
        width=rng.choice([0.0, 3.0, 14.0], count),
        height=rng.choice([np.nan, 1.0, 9.0], count),
        frame_shape=(rows, columns),
        crop_size=size,
        field_size=size - BORDER_WIDTH,
        merge_radius=1.5,
        max_crops=9,
        seek=cut.seek_in(frame, mask),
    )
    crops = cut.cut_crops(frame, planned, size=size, bad_pixels=mask, saturation=400.0)
    of = rng.integers(0, len(planned.spot), 30)
    at = (planned.center_x[of] + rng.normal(size=30), planned.center_y[of] + rng.normal(size=30))
    kept = duplicates.deduplicate(planned, of, *at, rng.integers(0, 4, 30).astype(float))
    return [
        *(planned.spot, planned.center_x, planned.center_y, planned.spot_flags, kept),
        *(crops.pixels, crops.usable, crops.flags, crops.background, crops.noise),
    ]


@pytest.mark.parametrize("seed", range(6))
def test_all_that_is_compiled_stays_within_its_arrays(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    compiled = everything(seed)
    for module in MODULES:
        for name, loop in list(vars(module).items()):
            plain: Callable[..., Any] | None = getattr(loop, "py_func", None)
            if plain is not None:
                monkeypatch.setattr(module, name, plain)
    for one, other in zip(compiled, everything(seed), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)
