"""The two kinds of simulated crops behind one interface: the published protocol and the field's."""

from dataclasses import dataclass

from msgspec.structs import replace

from dscsnet.pipeline.errors import ConfigError
from dscsnet.tools.simulation.csist import CropProtocol, Simulator
from dscsnet.tools.simulation.feed import FieldRun
from dscsnet.tools.simulation.field import FieldProtocol, FieldSimulator
from dscsnet.tools.simulation.source import VALIDATION_SEED, GivenCrops, Range

#: Noise sigmas at which networks of the published protocol are measured, counts.
VALIDATION_NOISE = (0.0, 1.0, 5.0)


@dataclass(frozen=True)
class CsistSource:
    """Crops of CSIST-100K's protocol and its relatives: one PSF, no background."""

    protocol: CropProtocol

    @property
    def psf_sigma_range(self) -> Range:
        """Within 5 % of the protocol's."""
        sigma = self.protocol.psf_sigma
        return round(0.95 * sigma, 3), round(1.05 * sigma, 3)

    @property
    def intensity_range(self) -> Range:
        """The protocol's."""
        low, high = self.protocol.intensity
        return float(low), float(high)

    @property
    def reach(self) -> None:
        """The network says it."""

    def stream(self, seed: int, *, pool: int | None, device: str = "cpu") -> Simulator:
        """See `CropSource`."""
        if pool is None:
            return Simulator(self.protocol, seed=seed, device=device, exact=True)
        return Simulator(self.protocol, seed=seed, device=device, pool=pool)

    def training(self, seed: int, *, device: str, pool: int, processes: int = 0) -> Simulator:
        """See `CropSource`."""
        if processes:
            raise ConfigError("data processes are for field crops; others are drawn on the device")
        return Simulator(self.protocol, seed=seed + 1, device=device, pool=pool)

    def validation(self, crops: int, *, device: str) -> dict[str, GivenCrops]:
        """Exact draws of so many crops at each noise."""
        return {f"_noise{noise:g}": self._exact(noise, crops, device) for noise in VALIDATION_NOISE}

    def _exact(self, noise: float, crops: int, device: str) -> GivenCrops:
        source = CsistSource(replace(self.protocol, noise=(noise, noise), noise_free=0.0))
        stream = source.stream(VALIDATION_SEED, pool=None, device=device)
        return stream.give(crops, estimate_noise=True)


@dataclass(frozen=True)
class FieldSource:
    """Crops as a real sensor gives them."""

    protocol: FieldProtocol

    @property
    def psf_sigma_range(self) -> Range:
        """The protocol's."""
        return self.protocol.psf_sigma

    @property
    def intensity_range(self) -> None:
        """Any counts."""

    @property
    def reach(self) -> float:
        """From the centre of the crop to the rim of the farthest cluster."""
        return self.protocol.cluster_offset + self.protocol.cluster_radius[1]

    def stream(self, seed: int, *, pool: int | None, device: str = "cpu") -> FieldSimulator:
        """See `CropSource`."""
        return FieldSimulator(self.protocol, seed=seed)

    def training(self, seed: int, *, device: str, pool: int, processes: int = 0) -> FieldRun:
        """See `CropSource`."""
        return FieldRun(self.protocol, seed, processes, device=device)

    def validation(self, crops: int, *, device: str) -> dict[str, GivenCrops]:
        """One set of twice so many crops."""
        return {"": FieldSimulator(self.protocol, seed=VALIDATION_SEED).give(2 * crops)}
