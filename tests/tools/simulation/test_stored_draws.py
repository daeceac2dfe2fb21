"""What a seed gives stays what it was: the shipped models were trained on it.

Sums over a batch, as they were when they were stored; another release of PyTorch may round
differently, and no more. A change of them is a change of what every later training run sees.
"""

import msgspec
import pytest

torch = pytest.importorskip("torch")

from dscsnet.tools.simulation.background import Backgrounds  # noqa: E402
from dscsnet.tools.simulation.csist import CSIST_SEPARATION, CropProtocol, Simulator  # noqa: E402
from dscsnet.tools.simulation.field import FieldProtocol, FieldSimulator  # noqa: E402
from dscsnet.tools.simulation.source_kinds import CsistSource, FieldSource  # noqa: E402


def sums(values: torch.Tensor) -> list[float]:
    """Mean, standard deviation, and sum of the sizes."""
    values = values.double()
    return [float(each) for each in (values.mean(), values.std(), values.abs().sum())]


def same(found: torch.Tensor, stored: list[float]) -> bool:
    return sums(found) == pytest.approx(stored, rel=2e-4, abs=2e-4)


def test_backgrounds() -> None:
    backgrounds = Backgrounds(11, torch.Generator().manual_seed(3))
    peaky = torch.arange(256) % 3 == 0
    assert same(backgrounds.clouds, [0.0, 0.999997, 1883339.89])
    assert same(backgrounds._clouds(256, peaky), [1.180604, 6.856772, 96669.545])
    assert same(backgrounds._edges(256), [-0.053962, 3.230470, 29180.5819])
    assert same(backgrounds._slopes(256), [0.0, 1.309576, 19292.2469])
    assert same(backgrounds._solids(256), [19.567956, 41.673823, 606137.003])
    whole = backgrounds.draw(256, empty=peaky, structure=0.6)
    assert same(whole, [4.293054, 21.462579, 200472.678])


FIELD = {
    "crops": [60.969880, 450.398360, 4673714.8],
    "noise": [22.542465, 77.103795, 11541.742],
    "psf": [0.668613, 0.129906, 684.6594],
    "x": [4.995468, 0.602922, 23019.118],
    "y": [5.005355, 0.584855, 23064.677],
    "intensity": [641.667501, 2887.384437, 2956803.84],
    "present": [0.281033, 0.449552, 1295.0],
    "true_psf": [0.669838, 0.127334, 685.9136],
    "true_noise": [7.910443, 9.928999, 4050.1470],
}


def test_field_crops() -> None:
    drawn = FieldSimulator(FieldProtocol(), seed=5).draw(512)
    assert [name for name, stored in FIELD.items() if not same(getattr(drawn, name), stored)] == []


PUBLIC = {
    "crops": [6.008140, 30.559613, 145397.0],
    "x": [4.995005, 0.271402, 4995.005],
    "y": [4.995333, 0.265682, 4995.3327],
    "intensity": [145.516605, 114.671432, 145516.605],
    "present": [0.618, 0.486120, 618.0],
    "noise": [0.0, 0.0, 0.0],
}


def test_crops_of_the_public_protocol() -> None:
    drawn = Simulator(CropProtocol(), seed=5, exact=True).draw(200)
    assert [name for name, stored in PUBLIC.items() if not same(getattr(drawn, name), stored)] == []


VALIDATION = {
    "_noise0": (50, [31695.0, 14.4338, 31724.2571]),
    "_noise1": (50, [31779.0, 50.8549, 31724.2571]),
    "_noise5": (50, [32073.0, 244.7059, 31724.2571]),
    "": (80, [633829.41, 1726.9458, 554790.0157]),
}


def test_every_run_is_measured_by_the_same_crops() -> None:
    """Crops, noise and intensity in all."""
    found = CsistSource(CropProtocol()).validation(50, device="cpu")
    found |= FieldSource(FieldProtocol()).validation(40, device="cpu")
    assert list(found) == list(VALIDATION)
    for name, given in found.items():
        number, stored = VALIDATION[name]
        assert len(given.crops) == number
        columns = (given.crops, given.noise, given.intensity)
        assert [float(each.double().sum()) for each in columns] == pytest.approx(stored, rel=2e-4)


CLUSTERS = CropProtocol(
    placement="cluster",
    noise=(1.0, 5.0),
    noise_free=0.3,
    neighbour=0.3,
    empty=0.2,
    brightness_ratio=3.0,
    intensity=(100, 900),
    min_separation=0.5,
)
OF_CLUSTERS = {
    "crops": [12.4309, 66.889, 492428.0],
    "x": [5.0096, 0.6049, 7514.3856],
    "y": [4.9927, 0.6033, 7489.0267],
    "intensity": [285.068, 420.4579, 427601.9676],
    "present": [0.4693, 0.4992, 704.0],
    "noise": [1.6469, 1.4605, 494.0735],
}
#: The second batch of a pool that its moves have changed.
OF_A_POOL = {
    "crops": [5.7968, 29.3969, 140283.0],
    "x": [5.0028, 0.2612, 5002.8418],
    "y": [5.0082, 0.2601, 5008.1852],
    "intensity": [140.364, 115.3354, 140364.0209],
    "present": [0.598, 0.4905, 598.0],
}


def test_clusters_noise_and_neighbours() -> None:
    drawn = Simulator(CLUSTERS, seed=6, exact=True).draw(300)
    found = {name: same(getattr(drawn, name), stored) for name, stored in OF_CLUSTERS.items()}
    assert [name for name, alike in found.items() if not alike] == []
    given = Simulator(CLUSTERS, seed=8, pool=200).give(100, estimate_noise=True)
    assert same(given.noise, [2.1241, 1.3982, 212.4124])
    light, noise, psf = Simulator(CLUSTERS, seed=8, pool=200).start_crops(50)
    assert same(light, [9.9277, 56.1001, 60062.7076])
    assert (light.shape, noise.shape, psf.shape) == ((50, 11, 11), (50,), (50, 2))


def test_positions_of_a_pool_and_its_moves() -> None:
    simulator = Simulator(CropProtocol(), seed=7, pool=200)
    simulator.draw(200)
    drawn = simulator.draw(200)
    found = {name: same(getattr(drawn, name), stored) for name, stored in OF_A_POOL.items()}
    assert [name for name, alike in found.items() if not alike] == []


#: Of each setting what is just allowed, and what is not.
BOUNDS: list[tuple[str, float, list[float]]] = [
    ("crop_size", 3, [2]),
    ("psf_sigma", 1e-9, [0]),
    ("empty", 1.0, [-0.001, 1.001]),
    ("cluster_offset", 0.0, [-0.001]),
    ("min_separation", 0.0, [-0.001]),
    ("brightness_ratio", 1.0, [0.999]),
    ("noise_free", 1.0, [-0.001, 1.001]),
    ("neighbour", 1.0, [-0.001, 1.001]),
    ("field_size", 1, [0]),
]


@pytest.mark.parametrize(("name", "allowed", "beyond"), BOUNDS)
def test_bounds_of_a_crop_protocol(name: str, allowed: float, beyond: list[float]) -> None:
    assert getattr(msgspec.convert({name: allowed}, CropProtocol), name) == allowed
    for value in beyond:
        with pytest.raises(msgspec.ValidationError, match=rf"\$\.{name}"):
            msgspec.convert({name: value}, CropProtocol)


def test_the_defaults_are_csist_100k() -> None:
    """One to five targets of 220 to 250 counts in the central pixel."""
    assert list(msgspec.structs.astuple(CropProtocol())) == [
        *(11, 0.5, (1, 5), 0.0, "pixel", (0.3, 2.0), 1.0, CSIST_SEPARATION, (220, 250), 1.0),
        *((0, 0), 0.0, 0.0, 7, True),
    ]
