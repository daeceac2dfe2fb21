"""The clock of the trial with a wrong one."""

import pytest

from dscsnet.tools.trials import wrong_clock

HOUR, SECOND = 3600 * 10**9, 10**9


@pytest.mark.parametrize(
    ("true", "told"),
    [
        (0, HOUR),
        (SECOND - 1, SECOND - 1 + HOUR),
        (SECOND, SECOND - HOUR),
        (2 * SECOND - 1, 2 * SECOND - 1 - HOUR),
        (2 * SECOND, 2 * SECOND + HOUR),
    ],
)
def test_it_is_an_hour_wrong_either_way(
    monkeypatch: pytest.MonkeyPatch, true: int, told: int
) -> None:
    monkeypatch.setattr(wrong_clock, "_true_ns", lambda: true)
    assert wrong_clock._time_ns() == told
