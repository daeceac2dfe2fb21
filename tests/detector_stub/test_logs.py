import logging

import pytest

from detector_stub.logs import RateLimitedLog, line, waiting_line


def test_lines_are_an_event_and_its_values() -> None:
    assert line("frames_late", total=3, lag_ms=12.34567) == "frames_late total=3 lag_ms=12.35"
    assert line("rejected", detail="too long", reason="") == "rejected detail='too long' reason=''"


def test_who_waits_says_what_a_first_start_takes() -> None:
    text = waiting_line(2, 30.0)
    assert text.startswith("waiting_for_subscribers number=2 longest_s=30 note=")
    assert "half a minute" in text


def test_one_event_is_reported_once_an_interval(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    limited = RateLimitedLog(logging.getLogger("limited"), 5.0, lambda: now[0])
    for moment in (0.0, 1.0, 4.9, 5.0, 6.0):
        now[0] = moment
        limited.warning("bad", at=moment)
    limited.warning("other")
    expected = ["bad at=0", "bad at=5 left_out=2", "other"]
    assert [record.getMessage() for record in caplog.records] == expected
