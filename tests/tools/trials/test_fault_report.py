"""One row of the faults' table, and which faults are borne."""

import pytest

from dscsnet.tools.trials.fault_report import cells, is_sound
from dscsnet.tools.trials.faults import Deed, Fault, Outcome


def outcome(recovery_s: float = 0.5, silent: int = 0, broken: tuple[str, ...] = ()) -> Outcome:
    deed = Deed("waited", recovery_s)
    dropped = {"timeout": 2, "overload": 5}
    fault = Fault("none", "none", lambda *_: deed)
    return Outcome(fault, deed, 9, 8, dropped, 3, silent, (1.4, 2.6), list(broken))


def test_reasons_come_in_the_order_of_their_names() -> None:
    assert cells(outcome(broken=("out of order",))) == [
        *("none", "waited; out of order", "9", "8", "5 overload, 2 timeout", "3", "0", "0.50"),
        "1 to 3",
    ]


@pytest.mark.parametrize(
    ("changes", "sound"),
    [
        ({"recovery_s": 2.0}, True),
        ({"recovery_s": 2.01}, False),
        ({"silent": 1}, False),
        ({"broken": ("out of order",)}, False),
    ],
)
def test_flow_is_back_within_two_seconds_without_loss(changes: dict, sound: bool) -> None:
    assert is_sound(outcome(**changes)) == sound
