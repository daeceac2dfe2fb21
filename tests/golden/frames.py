"""The frames of the golden answers: stored pixels, so that no simulator has a say in them.

`python -m tests.golden.frames` drew them once, with SciPy's error function and NumPy's generator;
drawn anew with other versions they may differ, and with them every golden answer.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).parent / "frames.npz"

Float = NDArray[np.float64]
#: Offset along x and y from the candidate, px, and total counts.
Target = tuple[float, float, float]


class GoldenFrame(NamedTuple):
    """A frame with what a detector and the sensor's maker say of it.

    Attributes:
        pixels: (height, width) uint16 counts.
        bad: (height, width) bool, pixels known to be bad.
        saturation: counts; NaN where unknown.
        x, y, score, width, height: (n,) candidates, px; boxes of 0 for those that have none.
    """

    pixels: NDArray[np.uint16]
    bad: NDArray[np.bool_]
    saturation: Float
    x: Float
    y: Float
    score: Float
    width: Float
    height: Float


def load_frames() -> dict[str, GoldenFrame]:
    """The stored frames by their names."""
    with np.load(FILE) as file:
        names = sorted({key.split("/")[0] for key in file})
        return {n: GoldenFrame(*(file[f"{n}/{f}"] for f in GoldenFrame._fields)) for n in names}


class _Scene:
    """Clusters on a grid of places, drawn row by row.

    Args:
        sigma: of the PSF along x and y, px.
        columns, rows: of places.
        offset: of the places from their central pixels, px.
    """

    PITCH = 20

    def __init__(
        self,
        sigma: tuple[float, float],
        columns: int,
        rows: int,
        offset: tuple[float, float] = (0.2, -0.3),
    ) -> None:
        self.sigma, self.columns, self.offset = sigma, columns, offset
        shape = (rows * self.PITCH, columns * self.PITCH)
        self.image, self.bad = np.zeros(shape), np.zeros(shape, bool)
        self.candidates: list[tuple[float, float, float, float, float]] = []
        self._place = 0

    def cluster(
        self,
        *targets: Target,
        at: tuple[float, float] | None = None,
        wider: float = 1.0,
        box: tuple[float, float] = (0, 0),
        bad: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Targets about a candidate at the next place, or elsewhere.

        Args:
            wider: the PSF's width there over the frame's.
            bad: bad pixels, from the candidate's own.
        """
        if at is None:
            row, column = divmod(self._place, self.columns)
            self._place += 1
            middle = self.PITCH // 2
            at = (
                column * self.PITCH + middle + self.offset[0],
                row * self.PITCH + middle + self.offset[1],
            )
        x, y = at
        for right, down, counts in targets:
            self.image += counts * np.outer(
                _profile(y + down, self.image.shape[0], self.sigma[1] * wider),
                _profile(x + right, self.image.shape[1], self.sigma[0] * wider),
            )
        for right, down in bad:
            self.bad[round(y) + down, round(x) + right] = True
        # Detectors place candidates to a fraction of a pixel.
        shift_x, shift_y = 0.25 * np.sin(7 * x), 0.15 * np.cos(5 * y)
        self.candidates.append((x + shift_x, y + shift_y, 1.0 + len(targets), *box))

    def frame(
        self, background: tuple[float, float, float], noise: float, seed: int, saturation: float
    ) -> GoldenFrame:
        """With a plane of that level and slopes, some clutter and noise."""
        row, column = np.indices(self.image.shape)
        level, along_x, along_y = background
        clutter = 0.4 * noise * np.sin(column / 9.0) * np.cos(row / 13.0)
        counts = self.image + level + along_x * column + along_y * row + clutter
        counts += noise * np.random.default_rng(seed).normal(size=counts.shape)
        counts[self.bad] = 0
        counts = np.clip(counts, 0, 65535 if np.isnan(saturation) else saturation)
        columns = np.array(self.candidates).T
        return GoldenFrame(
            np.round(counts).astype(np.uint16), self.bad, np.float64(saturation), *columns
        )


def _profile(position: float, size: int, sigma: float) -> Float:
    """Light of a unit target on each pixel along an axis."""
    from scipy.special import erf

    edges = (np.arange(size + 1) - 0.5 - position) / (np.sqrt(2) * sigma)
    result: Float = np.diff(0.5 * erf(edges))
    return result


def _ring(number: int, radius: float, counts: float, turn: float = 0.4) -> list[Target]:
    """Targets of falling brightness, evenly on a circle."""
    angles = turn + 2 * np.pi * np.arange(number) / number
    return [
        (radius * np.cos(a), radius * np.sin(a), counts * (1 - 0.12 * k))
        for k, a in enumerate(angles)
    ]


def _draw_field() -> GoldenFrame:
    """Everything that a real sensor may show; PSF 0.6 px, noise 6 counts."""
    scene = _Scene((0.6, 0.6), 6, 5)
    scene.cluster()  # a false alarm
    scene.cluster((0.2, -0.1, 60))  # faint
    scene.cluster((-0.3, 0.25, 900))
    scene.cluster((0.1, 0.3, 9000))
    scene.cluster((-0.35, 0.1, 700), (0.4, -0.2, 500))  # close
    scene.cluster((-0.9, -0.6, 2500), (0.8, 0.7, 900))
    scene.cluster((-0.3, 0.0, 300), (0.3, 0.1, 160))  # close and faint
    scene.cluster(*_ring(3, 0.9, 1500))
    scene.cluster(*_ring(3, 0.6, 500))
    scene.cluster(*_ring(4, 1.2, 1500))
    scene.cluster(*_ring(5, 1.4, 2500))
    scene.cluster(*_ring(5, 0.9, 900))
    scene.cluster(*_ring(7, 1.5, 2500))  # more than any model has slots for
    scene.cluster(*_ring(9, 1.9, 900))
    scene.cluster((0.2, 0.1, 2500), wider=1.4)  # the PSF is not the told one
    scene.cluster((-0.4, 0.2, 2500), (0.5, -0.1, 2000), wider=1.25)
    scene.cluster((0.2, 0.1, 1200), wider=0.75)
    scene.cluster((0.3, 0.2, 1800), bad=[(0, 0), (2, 1)])
    scene.cluster((-0.4, 0.0, 1800), (0.6, 0.5, 1500), bad=[(1, 0), (-3, -2), (-3, -3)])
    scene.cluster((0.1, 0.1, 30000))  # saturates
    scene.cluster((-0.5, 0.1, 15000), (0.7, 0.4, 3000))
    scene.cluster(*_ring(4, 3.5, 1500), box=(12, 7))  # a blob: several crops
    scene.cluster((-1.5, 0.2, 1000), (2.0, -0.3, 800), (0.3, 2.4, 600), box=(9, 9))
    # Two candidates a crop apart whose fields overlap, and two that share a crop.
    scene.cluster((0, 0, 1200), (2.4, 0.1, 800), at=(109.0, 70.2))
    scene.cluster((0.2, 0.3, 900), at=(113.8, 70.6))
    scene.cluster((0, 0, 1000), at=(30.2, 90.4))
    scene.cluster((0, 0, 700), at=(31.6, 90.9))
    scene.cluster((0.1, -0.2, 1100), at=(0.6, 45.3))  # at the edges
    scene.cluster((0.0, 0.2, 900), (-1.0, 0.6, 500), at=(118.0, 98.4))
    scene.cluster((0.1, 0.1, 700), at=(60.4, 1.2))
    return scene.frame((900.0, 0.4, -0.25), 6.0, 11, 4095.0)


def _draw_scene() -> GoldenFrame:
    """PSF 0.5 px, noise 4 counts; clusters within 3 px, nothing else."""
    scene = _Scene((0.5, 0.5), 4, 4)
    for number in (1, 2, 3, 4, 5):
        scene.cluster(*_ring(number, 1.3, 3000, turn=0.2 * number))
        scene.cluster(*_ring(number, 0.8, 600, turn=0.3 * number))
    scene.cluster()
    scene.cluster((0.3, -0.2, 45))
    scene.cluster((0.3, -0.2, 100), (-1.0, 0.8, 60))
    scene.cluster((-0.2, 0.1, 20000))
    scene.cluster((2.2, -1.9, 800), (-2.4, 1.7, 500))
    scene.cluster((-0.45, 0.0, 800), (0.05, 0.4, 500), (1.9, -0.2, 80))
    return scene.frame((300.0, -0.3, 0.2), 4.0, 12, np.nan)


def _draw_csist() -> GoldenFrame:
    """CSIST-100K's protocol: 1 to 5 targets of 220 to 250 counts in the central pixel."""
    scene = _Scene((0.5, 0.5), 4, 3, offset=(0, 0))
    for number in (1, 2, 3, 4, 5):
        scene.cluster(*_ring(number, 0.3, 248, turn=0.2 * number))
        scene.cluster(*[(x, y, 222 + 20 * abs(x)) for x, y, _ in _ring(number, 0.42, 1, turn=1.0)])
    scene.cluster()
    scene.cluster((0.1, 0.2, 110))
    return scene.frame((40.0, 0.0, 0.0), 0.3, 13, np.nan)


def _draw_elliptical() -> GoldenFrame:
    """PSF 0.55 by 0.8 px, noise 5 counts."""
    scene = _Scene((0.55, 0.8), 4, 2)
    scene.cluster((0.2, -0.1, 2000))
    scene.cluster((0.0, 0.3, 120))
    scene.cluster((-0.5, 0.2, 1000), (0.6, -0.3, 800))
    scene.cluster((0.1, -0.6, 1000), (-0.1, 0.7, 800))
    scene.cluster(*_ring(3, 1.2, 1500))
    scene.cluster(*_ring(4, 1.5, 2500))
    scene.cluster()
    scene.cluster(*_ring(5, 1.7, 2500))
    return scene.frame((500.0, 0.2, 0.3), 5.0, 14, np.nan)


def main() -> None:
    """Draw the frames and store them."""
    frames = {
        "csist": _draw_csist(),
        "elliptical": _draw_elliptical(),
        "field": _draw_field(),
        "scene": _draw_scene(),
    }
    arrays = {
        f"{name}/{field}": value
        for name, frame in frames.items()
        for field, value in frame._asdict().items()
    }
    np.savez_compressed(FILE, **arrays)


if __name__ == "__main__":
    main()
