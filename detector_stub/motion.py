"""Clusters of point targets on the move, in closed form: any frame can be had at once."""

import math

import numpy as np

from dscsnet.detector_stub.scene_config import ClusterSettings
from dscsnet.engines.array_types import Float

PLACING_ATTEMPTS = 200


class Cluster:
    """One cluster; its members turn about its centre and breathe, never below their first distance.

    Args:
        settings: ranges to draw from.
        shape: (height, width) of the frame, px.
        unit_intensity: total counts of a target whose peak signal-to-noise ratio is 1.
        rng: source of randomness.

    Attributes:
        intensity: (n,) total counts of the members, constant in time.
    """

    def __init__(
        self,
        settings: ClusterSettings,
        shape: tuple[int, int],
        unit_intensity: float,
        rng: np.random.Generator,
    ) -> None:
        height, width = shape
        self._settings = settings
        self._low, self._high = _bounds(settings, np.array([width, height], float))
        self._start = rng.uniform(self._low, self._high)
        speed = rng.uniform(settings.min_speed, settings.max_speed)
        heading = rng.uniform(0, 2 * math.pi)
        self._velocity = speed * np.array([math.cos(heading), math.sin(heading)])
        members = int(rng.integers(settings.min_members, settings.max_members + 1))
        self._offsets = place_members(members, settings.radius, settings.min_separation, rng)
        self._rotation = rng.uniform(-settings.rotation, settings.rotation)
        self._phase = rng.uniform(0, 2 * math.pi)
        self.intensity = unit_intensity * _draw_peaks(settings, members, rng)

    def positions(self, frame: int) -> Float:
        """Return where the members are in a frame.

        Returns:
            (n, 2) x and y, px; they may lie outside the frame where the motion is `reenter`.
        """
        travelled = self._start + frame * self._velocity - self._low
        span = self._high - self._low
        if self._settings.motion == "reenter":
            centre = self._low + np.mod(travelled, span)
        else:
            centre = self._low + span - np.abs(np.mod(travelled, 2 * span) - span)
        return centre + self._shape_at(frame)

    def _shape_at(self, frame: int) -> Float:
        turn = frame * self._rotation
        cosine, sine = math.cos(turn), math.sin(turn)
        swing = math.cos(2 * math.pi * frame / self._settings.breathing_period + self._phase)
        stretch = 1 + self._settings.breathing * (1 - swing) / 2
        return stretch * self._offsets @ np.array([[cosine, sine], [-sine, cosine]])


def place_members(
    count: int, radius: float, min_separation: float, rng: np.random.Generator
) -> Float:
    """Draw positions in a disc, at least `min_separation` apart; the disc grows if it is too small.

    Returns:
        (count, 2) x and y about the centre, px.
    """
    while True:
        for _ in range(PLACING_ATTEMPTS):
            distance = radius * np.sqrt(rng.random(count))
            angle = rng.uniform(0, 2 * math.pi, count)
            offsets = np.stack([distance * np.cos(angle), distance * np.sin(angle)], axis=1)
            first, second = np.triu_indices(count, 1)
            gaps = np.linalg.norm(offsets[first] - offsets[second], axis=1)
            if np.all(gaps >= min_separation):
                return offsets
        radius = 1.1 * radius + 0.1 * min_separation


def _bounds(settings: ClusterSettings, size: Float) -> tuple[Float, Float]:
    """Least and greatest x and y of a cluster's centre, px."""
    margin = settings.margin
    if settings.motion == "reenter":
        return np.full(2, -margin), size - 1 + margin
    return np.full(2, margin), size - 1 - margin


def _draw_peaks(settings: ClusterSettings, members: int, rng: np.random.Generator) -> Float:
    """Peak signal-to-noise ratios of the members: (members,), the brightest first."""
    low, high = math.log(settings.min_peak_snr), math.log(settings.max_peak_snr)
    ratios = np.exp(rng.uniform(0, math.log(settings.brightness_ratio), members))
    ratios[0] = 1
    return math.exp(rng.uniform(low, high)) / ratios
