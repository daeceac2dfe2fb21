"""A simulated infrared scene whose targets are known: sky, drifting clouds, sensor, clusters.

Frame k depends on the configuration, its seed and k alone, so a run can start at any frame.
Pixel convention: x is the column, y the row; integers are pixel centres.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dscsnet.detector_stub.clutter import DriftingTexture, power_law_texture
from dscsnet.detector_stub.motion import Cluster
from dscsnet.detector_stub.scene_config import SceneConfig, SensorSettings
from dscsnet.engines.array_types import Float
from dscsnet.engines.imaging import EXTENT_SIGMAS, central_fraction, gaussian_profile

# What a random generator is for, beside the seed: streams that do not touch each other.
CLOUDS, PATTERN, CLUSTERS, NOISE = range(4)


@dataclass(frozen=True)
class ClusterTable:
    """The clusters in a frame, columns of equal length.

    Attributes:
        id: (n,) int, the cluster's number in the scene.
        x, y: (n,) float64, centre of light of its members in the frame, px.
        count: (n,) int, its members in the frame.
    """

    id: NDArray[np.int64]
    x: Float
    y: Float
    count: NDArray[np.int64]


@dataclass(frozen=True)
class Truth:
    """What is in a frame; the first four are columns, one entry a target whose centre is in it.

    Attributes:
        cluster: (n,) int, number of the target's cluster in the scene.
        x, y: (n,) float64, px.
        intensity: (n,) float64, total counts above background.
        noise_sigma: standard deviation in time of a pixel at the mean background, counts.
        frame_id: number of the frame.
    """

    cluster: NDArray[np.int64]
    x: Float
    y: Float
    intensity: Float
    noise_sigma: float
    frame_id: int

    def clusters(self) -> ClusterTable:
        """Return one entry a cluster that has a member in the frame."""
        numbers, place, count = np.unique(self.cluster, return_inverse=True, return_counts=True)
        light = np.bincount(place, self.intensity, len(numbers))
        x = np.bincount(place, self.intensity * self.x, len(numbers)) / light
        y = np.bincount(place, self.intensity * self.y, len(numbers)) / light
        return ClusterTable(numbers, x, y, count)


@dataclass(frozen=True)
class SceneFrame:
    """A frame, (height, width) uint16 counts, and its truth."""

    pixels: NDArray[np.uint16]
    truth: Truth


class Scene:
    """A scene, from which any frame can be had.

    Args:
        config: its settings.

    Attributes:
        full_scale: count at which a pixel saturates.
        noise_sigma: standard deviation in time of a pixel at the mean background, counts.
        bad_pixels: (height, width) bool, the dead and hot ones.
        clusters: the clusters, by number.
    """

    def __init__(self, config: SceneConfig) -> None:
        self._config = config
        self._shape = (config.height, config.width)
        self.full_scale = 2**config.sensor.bits - 1
        self._sky = _sky_profile(config)
        clouds = config.clouds
        texture = power_law_texture(clouds.texture_size, clouds.exponent, self._random(CLOUDS))
        self._clouds = DriftingTexture(texture * np.float32(clouds.contrast), self._shape)
        self._pattern = _FixedPattern(config.sensor, self._shape, self._random(PATTERN))
        self.bad_pixels = self._pattern.dead | self._pattern.hot
        self.noise_sigma = math.sqrt(_variance(config.sensor, float(self._sky.mean())))
        self.clusters = self._draw_clusters()

    def frame(self, frame_id: int) -> SceneFrame:
        """Return frame `frame_id`, counted from 0; the same bytes whenever it is asked for.

        Raises:
            ValueError: `frame_id` is negative.
        """
        if frame_id < 0:
            raise ValueError(f"frame_id must be at least 0, got {frame_id}")
        counts = self._pattern.apply(self.radiance(frame_id))
        self._add_noise(counts, frame_id)
        np.clip(np.rint(counts, out=counts), 0, self.full_scale, out=counts)
        pixels = counts.astype(np.uint16)
        pixels[self._pattern.hot] = self.full_scale
        pixels[self._pattern.dead] = 0
        return SceneFrame(pixels, self.truth(frame_id))

    def radiance(self, frame_id: int) -> NDArray[np.float32]:
        """Return sky, clouds and targets before the sensor: (height, width) float32, counts."""
        clouds = self._config.clouds
        image = self._clouds.shifted(clouds.drift_x * frame_id, clouds.drift_y * frame_id)
        image = image + self._sky
        settings = self._config.clusters
        for cluster in self.clusters:
            position = cluster.positions(frame_id)
            _add_targets(
                image, position, cluster.intensity, settings.psf_sigma_x, settings.psf_sigma_y
            )
        return image

    def truth(self, frame_id: int) -> Truth:
        """Return what is in frame `frame_id`, without rendering it."""
        position = [cluster.positions(frame_id) for cluster in self.clusters]
        x, y = np.concatenate([np.zeros((0, 2)), *position]).T
        intensity = np.concatenate([np.zeros(0), *(c.intensity for c in self.clusters)])
        number = np.repeat(np.arange(len(self.clusters)), [len(p) for p in position])
        height, width = self._shape
        inside = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
        return Truth(
            number[inside], x[inside], y[inside], intensity[inside], self.noise_sigma, frame_id
        )

    def _random(self, *purpose: int) -> np.random.Generator:
        return np.random.Generator(np.random.SFC64([self._config.seed, *purpose]))

    def _draw_clusters(self) -> list[Cluster]:
        settings, rng = self._config.clusters, self._random(CLUSTERS)
        fraction = central_fraction(settings.psf_sigma_x, settings.psf_sigma_y)
        # a scene without noise still has signals: the ratio is then one to a count
        unit = (self.noise_sigma or 1.0) / fraction
        return [Cluster(settings, self._shape, unit, rng) for _ in range(settings.count)]

    def _add_noise(self, counts: NDArray[np.float32], frame_id: int) -> None:
        """Add read and shot noise; the latter as a Gaussian, right for hundreds of electrons."""
        sensor = self._config.sensor
        if sensor.read_noise == 0 and sensor.electrons_per_count is None:
            return
        noise = _standard_normal(counts.shape, [self._config.seed, NOISE, frame_id])
        if sensor.electrons_per_count is None:
            noise *= np.float32(sensor.read_noise)
        else:
            variance = np.maximum(counts, 0)
            variance *= np.float32(1 / sensor.electrons_per_count)
            variance += np.float32(sensor.read_noise**2)
            noise *= cv2.sqrt(variance, variance)
        counts += noise


class _FixedPattern:
    """Gain, offset and defects of the pixels, drawn once."""

    def __init__(
        self, sensor: SensorSettings, shape: tuple[int, int], rng: np.random.Generator
    ) -> None:
        self._gain = _normal(rng, shape, sensor.gain_sigma, 1)
        offset = _normal(rng, shape, sensor.offset_sigma)
        self._offset = offset + _normal(rng, (1, shape[1]), sensor.column_sigma)
        blemished = rng.permutation(shape[0] * shape[1])
        self.dead = np.zeros(shape, bool)
        self.hot = np.zeros(shape, bool)
        self.dead.flat[blemished[: sensor.dead_pixels]] = True
        self.hot.flat[blemished[sensor.dead_pixels :][: sensor.hot_pixels]] = True

    def apply(self, radiance: NDArray[np.float32]) -> NDArray[np.float32]:
        counts = radiance * self._gain
        counts += self._offset
        return counts


def _standard_normal(shape: tuple[int, ...], seed: list[int]) -> NDArray[np.float32]:
    """Noise of one frame: OpenCV's generator takes a third of NumPy's time."""
    # the generator belongs to the thread: seeded and used here, nothing comes between
    cv2.setRNGSeed(int(np.random.SeedSequence(seed).generate_state(1)[0] >> 1))
    noise = np.empty(shape, np.float32)
    cv2.randn(noise, 0, 1)
    return noise


def _normal(
    rng: np.random.Generator, shape: tuple[int, int], sigma: float, mean: float = 0
) -> NDArray[np.float32]:
    return np.float32(sigma) * rng.standard_normal(shape, dtype=np.float32) + np.float32(mean)


def _sky_profile(config: SceneConfig) -> NDArray[np.float32]:
    """Level of each row, (height, 1) float32, counts."""
    sky = config.sky
    depth = np.linspace(0, 1, config.height)[:, None] ** sky.exponent
    return (sky.top + (sky.bottom - sky.top) * depth).astype(np.float32)


def _variance(sensor: SensorSettings, level: float) -> float:
    """Variance in time of a pixel at a level, both in counts."""
    shot = 0 if sensor.electrons_per_count is None else level / sensor.electrons_per_count
    return sensor.read_noise**2 + shot


def _add_targets(
    image: NDArray[np.float32], position: Float, intensity: Float, sigma_x: float, sigma_y: float
) -> None:
    """Add targets to the image in place, all on the window that they share."""
    reach = np.ceil(EXTENT_SIGMAS * np.array([sigma_x, sigma_y]) + 1)
    left, top = np.maximum(np.floor(position.min(0) - reach), 0).astype(int)
    right, bottom = np.ceil(position.max(0) + reach).astype(int) + 1
    window = image[top : max(bottom, 0), left : max(right, 0)]
    if window.size:
        columns = gaussian_profile(position[:, 0], window.shape[1], sigma_x, left)
        rows = gaussian_profile(position[:, 1], window.shape[0], sigma_y, top)
        window += (intensity[:, None] * rows).T @ columns
