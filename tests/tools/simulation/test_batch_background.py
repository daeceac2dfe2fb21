"""The batched background estimate against the node's own loop."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dscsnet.pipeline.cropping.background import subtract_backgrounds  # noqa: E402
from dscsnet.tools.simulation.batch_background import BatchBackground  # noqa: E402
from dscsnet.tools.simulation.field import FieldProtocol, FieldSimulator  # noqa: E402


def compare(counts: np.ndarray) -> None:
    wanted, background, _ = subtract_backgrounds(counts, np.ones(counts.shape, bool), True)
    pixels, noise = BatchBackground(counts.shape[1]).subtract(torch.from_numpy(counts))
    assert pixels.dtype == noise.dtype == torch.float32
    np.testing.assert_allclose(noise.numpy(), background[:, 3], rtol=1e-5)
    unit = background[:, 3, None, None]
    np.testing.assert_allclose(pixels.numpy() / unit, wanted / unit, atol=1e-4)


def crops(number: int, size: int, seed: int = 0) -> np.ndarray:
    """Noise of many sizes, slopes, and bright spots anywhere, the border included."""
    generator = np.random.default_rng(seed)
    sigma = 10 ** generator.uniform(-1, 2, (number, 1, 1))
    along = np.arange(size) - size // 2
    slope_x, slope_y = generator.normal(0, 2, (2, number, 1, 1)) * sigma
    values = 500 + slope_x * along + slope_y * along[:, None]
    values = values + sigma * generator.normal(size=(number, size, size))
    places = generator.integers(0, size, (2, number))
    for row, column in ((0, 0), (0, 1), (1, 0)):
        at = np.arange(number), (places[0] + row) % size, (places[1] + column) % size
        values[at] += 50 * sigma[:, 0, 0] * generator.random(number)
    return np.rint(values)


@pytest.mark.parametrize("size", [5, 7, 11, 15])
def test_it_is_the_node_s_estimate(size: int) -> None:
    compare(crops(2000, size))


def test_where_little_is_left_to_estimate_from() -> None:
    """Constant crops, few levels, half of the border bright, an edge, values scaled by four."""
    generator = np.random.default_rng(1)
    noise = np.rint(generator.normal(0, 3, (8, 11, 11)))
    half = np.where(np.arange(11) < 5, 0, 1000)
    compare(
        np.concatenate(
            [
                np.full((1, 11, 11), 7.0),
                generator.integers(0, 2, (20, 11, 11)).astype(float),
                noise + half,
                noise + half[:, None] + half,
                4 * noise,
                np.where(generator.random((8, 11, 11)) < 0.3, 60_000, noise),
            ]
        )
    )


def test_one_round_is_compiled_and_the_simulator_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(torch, "compile", lambda call: compiled.append(call) or call)
    background = BatchBackground(11, torch.device("cpu"))
    before = background._round
    background.compile()
    assert compiled == [before]
    simulator = FieldSimulator(FieldProtocol(), seed=1)
    simulator.compile()
    assert compiled[1:] == [simulator._background._round]
