"""From the numbers of a head's last layer to what it states."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from msgspec.structs import replace  # noqa: E402

from dscsnet.engines.networks.offgrid import OffGridConfig  # noqa: E402
from dscsnet.engines.networks.offgrid.head import Distribution, Head  # noqa: E402
from dscsnet.engines.networks.offgrid.inputs import make_inputs  # noqa: E402

CONFIG = OffGridConfig(
    slots=2,
    unit=8.0,
    reach=2.0,
    position_step=0.5,
    intensity_step=3.0,
    position_sigma=0.1,
    intensity_sigma=0.2,
)
COUNT = [1.0, 2.0, 3.0, 4.0]
#: Existence, x, y, ln counts and three ln sigmas of each slot.
SLOTS = [[0.5, 1.0, -3.0, 2.0, 0.1, -4.2, 2.9], [-0.5, 5.0, -6.0, 0.0, 9.0, -9.0, 0.0]]


def stated(config: OffGridConfig, *, training: bool = False) -> Distribution:
    """What a head states whose last layer gives always the same."""
    head = Head(config, 3, 8, 1).train(training)
    head.leave.weight.data.zero_()
    head.leave.bias.data.copy_(torch.tensor([*COUNT, *SLOTS[0], *SLOTS[1]]))
    crop = torch.ones(1, 11, 11)
    inputs = make_inputs(config, crop, torch.tensor([0.5]), torch.tensor([[0.5, 0.5]]))
    return head(torch.zeros(1, 3), inputs)  # type: ignore[no-any-return]


def test_each_number_has_its_meaning() -> None:
    found = stated(CONFIG)
    assert found.count.tolist() == [COUNT]
    assert found.existence.tolist() == [[0.5, -0.5]]
    assert found.position.tolist() == [[[5.5, 3.5], [7.0, 3.0]]]  # the second at its reach
    np.testing.assert_allclose(
        found.log_intensity.detach(), [[math.log(8) + 6, math.log(8)]], rtol=1e-6
    )
    place, light = math.log(0.1), math.log(0.2)
    np.testing.assert_allclose(
        found.log_sigma.detach(),
        [[[place + 0.1, place - 4.2, light + 2.9], [place + 3.0, place - 4.3, light]]],
        rtol=1e-6,
    )


def test_in_training_targets_may_be_stated_beyond_reach() -> None:
    assert stated(CONFIG, training=True).position.tolist() == [[[5.5, 3.5], [7.5, 2.0]]]


def test_without_a_given_unit_it_begins_with_ten_times_the_crops_own() -> None:
    found = stated(replace(CONFIG, unit=None))
    unit = math.sqrt(1 - 0.5**2)  # of ones with a noise of a half
    expected = [math.log(unit) + 2.3 + 6, math.log(unit) + 2.3]
    np.testing.assert_allclose(found.log_intensity.detach(), [expected], rtol=1e-5)
