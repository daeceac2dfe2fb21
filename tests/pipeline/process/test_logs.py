import logging

import pytest

from dscsnet.pipeline.process.logs import RateLimitedLog, line


def test_lines_are_an_event_and_its_values() -> None:
    assert line("frames_late", total=3, lag_ms=12.34567) == "frames_late total=3 lag_ms=12.35"
    assert line("rejected", detail="too long", reason="") == "rejected detail='too long' reason=''"


def test_one_reason_is_reported_once_a_period(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    limited = RateLimitedLog(logging.getLogger("limited"), 5.0, lambda: now[0])
    for moment in (0.0, 1.0, 4.9, 5.0, 6.0):
        now[0] = moment
        limited.event("bad", at=moment)
    limited.warning("other", "once")
    expected = ["bad at=0", "bad at=5 (and 2 more like it)", "other: once"]
    assert [record.getMessage() for record in caplog.records] == expected
