"""The paper's own figures (Tables I and II, CSIST-100K, c = 3) for the methods that are here, too.

They were measured on that data set, which the simulator only stands in for, after 250 epochs of
80,000 crops. GMAC are those of one crop: the paper's column counts a batch of 64.
"""

from dataclasses import dataclass

from dscsnet.engines.networks.config import NetworkConfig
from dscsnet.engines.networks.dista_net import DISTANetConfig
from dscsnet.engines.networks.ista_net import ISTANetConfig, ISTANetPlusConfig
from dscsnet.engines.networks.registry import GridNetworkConfig
from dscsnet.engines.networks.srcnn import SRCNNConfig
from dscsnet.tools.measures.average_precision import AveragePrecision

BATCH = 64


@dataclass(frozen=True)
class Published:
    """One row of the paper's tables; parameters in millions, None where it gives none."""

    precision: AveragePrecision
    parameters: float | None = None
    gmac: float | None = None


def _row(
    cso_map: float,
    by_distance: tuple[float, ...],
    parameters: float | None = None,
    gigaflops: float | None = None,
) -> Published:
    gmac = None if gigaflops is None else gigaflops / BATCH
    return Published(AveragePrecision(cso_map, by_distance), parameters, gmac)


ISTA = _row(7.46, (0.01, 0.31, 2.39, 9.46, 25.14))

_NETWORKS: dict[type, Published] = {
    SRCNNConfig: _row(29.06, (0.23, 4.10, 21.65, 49.95, 69.39), 0.019, 1.345),
    ISTANetConfig: _row(45.16, (0.41, 7.71, 40.57, 82.58, 94.53), 0.171, 12.77),
    # The row that the paper calls ISTA-Net++: its 0.337 M parameters and 24.33 G are those of nine
    # stages of ISTA-Net+. The row called ISTA-Net+ repeats figures of another data set.
    ISTANetPlusConfig: _row(46.06, (0.42, 7.66, 41.58, 84.46, 96.17), 0.337, 24.33),
    DISTANetConfig: _row(45.94, (0.38, 7.54, 41.26, 84.03, 96.35), 2.179, 35.10),
}

#: DSCSNet by its modules: dynamic convolution, reorganisation, threshold generator.
_ABLATION: dict[tuple[bool, bool, bool], Published] = {
    (True, True, True): _row(46.36, (0.44, 7.93, 41.50, 85.40, 96.54), 6.23, 40.70),
    (False, False, False): _row(43.64, (0.40, 7.93, 38.80, 79.27, 91.80)),
    (False, True, True): _row(44.90, (0.41, 7.42, 39.98, 83.32, 93.44)),
    # As printed; the mean of the five values is 45.35.
    (True, False, True): _row(44.35, (0.40, 7.51, 40.37, 83.85, 94.61)),
    (True, True, False): _row(45.94, (0.39, 7.62, 41.31, 84.60, 95.80)),
}


def published(config: GridNetworkConfig) -> Published | None:
    """The paper's figures for a network, whatever its size; None for c other than 3, or no row."""
    if config.upsampling != 3:
        return None
    if isinstance(config, NetworkConfig):
        modules = (config.dynamic_convolution, config.reorganization, config.threshold_generator)
        return _ABLATION.get(modules)
    return _NETWORKS.get(type(config))
