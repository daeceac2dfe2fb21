"""Easy crops: what is drawn, and how answers are scored."""

import numpy as np
import pytest

from dscsnet.engines.imaging import render
from dscsnet.tools.peers.easy_crops import easy_crops


def test_few_bright_targets_well_apart_on_noise() -> None:
    crops = easy_crops(200)
    batch = crops.batch
    assert batch.pixels.shape == (200, 11, 11)
    assert batch.usable.all()
    assert set(batch.noise) == {5}
    assert np.unique(batch.psf) == [0.5]
    assert {len(x) for x, _ in crops.true} == {1, 2, 3, 4}
    for pixels, (x, y) in zip(batch.pixels, crops.true, strict=True):
        assert max(abs(x - 5).max(), abs(y - 5).max()) <= 1.5
        gaps = np.hypot(np.subtract.outer(x, x), np.subtract.outer(y, y))
        assert gaps[~np.eye(len(x), dtype=bool)].min(initial=9) >= 0.8
        # The counts that explain the pixels best are those that may be drawn; the rest is noise.
        shapes = [render(a, b, 1, (11, 11), 0.5).ravel() for a, b in zip(x, y, strict=True)]
        counts, *_ = np.linalg.lstsq(np.array(shapes).T, pixels.ravel(), rcond=None)
        assert 300 - 60 < counts.min() <= counts.max() < 1000 + 60
        rest = pixels.ravel() - counts @ np.array(shapes)
        assert rest.std() == pytest.approx(5, rel=0.35)


def test_the_same_seed_draws_the_same() -> None:
    first, second, other = easy_crops(5), easy_crops(5), easy_crops(5, seed=1)
    np.testing.assert_array_equal(first.batch.pixels, second.batch.pixels)
    assert not np.array_equal(first.batch.pixels, other.batch.pixels)


def test_found_are_those_with_a_partner_of_their_own() -> None:
    crops = easy_crops(40)
    assert crops.score(crops.true) == (1, 1)
    near = [(x + 0.17, y - 0.17) for x, y in crops.true]  # 0.24 px
    far = [(x + 0.18, y - 0.18) for x, y in crops.true]  # 0.255 px
    assert crops.score(near) == (1, 1)
    assert crops.score(far) == (0, 1)
    first = [(x[:1], y[:1]) for x, y in crops.true]
    alone = np.mean([len(x) == 1 for x, _ in crops.true])
    assert crops.score(first) == (40 / sum(len(x) for x, _ in crops.true), alone)
    twice = [(np.repeat(x, 2), np.repeat(y, 2)) for x, y in crops.true]
    assert crops.score(twice) == (1, 0)
