"""What training and export ask of simulated crops, of whichever protocol they are.

`CropSource` is that interface; `tools/simulation/source_kinds.py` holds its two kinds, and a
training configuration says which of them its crops are of (`TrainConfig.source`).
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from dscsnet.engines.engine import CropBatch

#: Seed of the crops that a training is measured by, and of those that some networks start from.
VALIDATION_SEED = 77

#: Relative error of a noise estimate from the 72 pixels of a crop's border.
NOISE_ERROR = 1 / 12

Range = tuple[float, float]


class GivenCrops(NamedTuple):
    """Crops as an off-grid network is given them, and their truth; B crops, T targets at most.

    Attributes:
        crops: (B, n, n) float32 counts above background.
        noise: (B,) noise sigma with that of rounding, counts.
        psf: (B, 2) PSF sigma along x and y that the network is told, px.
        x, y: (B, T) crop px; the crop's centre where absent.
        intensity: (B, T) total counts; 0 where absent.
        present: (B, T) bool.
    """

    crops: Tensor
    noise: Tensor
    psf: Tensor
    x: Tensor
    y: Tensor
    intensity: Tensor
    present: Tensor

    def to(self, device: torch.device | str) -> "GivenCrops":
        """The same on another device; page-locked ones are fetched while others go on."""
        return GivenCrops(*(value.to(device, non_blocking=True) for value in self))

    def batch(self) -> CropBatch:
        """As an engine takes them; every pixel is usable."""
        pixels, noise, psf = (value.numpy().astype(np.float32) for value in self[:3])
        return CropBatch(pixels, np.ones(pixels.shape, bool), noise, psf)


class CropStream(Protocol):
    """Batches of one protocol, one after another; its seed fixes them all."""

    def give(self, batch: int, *, estimate_noise: bool = False) -> GivenCrops:
        """The next `batch` crops.

        Args:
            estimate_noise: give the noise with the error of an estimate, as a network meets it;
                a simulation that estimates it like the node does so always.
        """


class TrainingCrops(CropStream, Protocol):
    """The crops that a network is trained with, from its start on.

    Attributes:
        at_once: batches are drawn on the device and, but for the first, without waiting for it.
    """

    at_once: bool

    @property
    def generator(self) -> torch.Generator:
        """What all draws are made with."""

    def compile(self) -> None:
        """Compile what of a draw gets faster by it."""

    def start_crops(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        """Light alone to fit a network's start to, at most `number` crops.

        Returns:
            (B, n, n) counts, (B,) noise sigma of the sensor, counts, and (B, 2) PSF sigma, px.
        """

    def state(self) -> dict[str, Any]:
        """What it takes to go on with the same crops."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a stored state."""


class CropSource(Protocol):
    """One protocol of simulated crops."""

    @property
    def psf_sigma_range(self) -> Range:
        """PSF sigmas that a model of these crops is for, px."""

    @property
    def intensity_range(self) -> Range | None:
        """Total counts of its targets; None: any."""

    @property
    def reach(self) -> float | None:
        """Targets lie within this of the crop's centre, px, each axis; None: not limited here."""

    def stream(self, seed: int, *, pool: int | None, device: str = "cpu") -> CropStream:
        """Crops that a network has not seen.

        Args:
            pool: see `csist.Simulator`; None: exact draws. Other simulations keep what they need.
            device: where crops are made if the simulation can.
        """

    def training(self, seed: int, *, device: str, pool: int, processes: int = 0) -> TrainingCrops:
        """The crops of a run.

        Args:
            seed: of the run.
            device: of the network, where crops are made if the simulation can.
            processes: that draw crops beside this one; 0: it draws its own. With some, a run that
                goes on draws other crops than one that was not interrupted.

        Raises:
            ConfigError: there are processes for a simulation that needs none.
        """

    def validation(self, crops: int, *, device: str) -> dict[str, GivenCrops]:
        """Sets of always the same crops that networks are measured by.

        Returns:
            By what is added to the names of their figures; of one set "".
        """
