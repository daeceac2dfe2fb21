"""Log lines: what a rate limit lets through, and one JSON object a line."""

import json
import logging
import threading

import pytest

from dscsnet.pipeline.process.logs import JsonFormatter, RateLimitedLog, line

LOGGER = logging.getLogger("test_logs")


def test_one_record_a_reason_and_period(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    limited = RateLimitedLog(LOGGER, period_s=5.0, clock=lambda: now[0])
    for moment, reason in (
        *((0.0, "a"), (0.0, "b"), (1.0, "a"), (4.9, "a"), (5.0, "a"), (5.1, "b")),
        *((9.9, "a"), (10.0, "a"), (15.0, "a")),
    ):
        now[0] = moment
        limited.warning(reason, f"at {moment:g}")
    assert [record.getMessage() for record in caplog.records] == [
        "a: at 0",
        "b: at 0",
        "a: at 5 (and 2 more like it)",
        "b: at 5.1",
        "a: at 10 (and 1 more like it)",
        "a: at 15",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_the_first_record_is_let_through_however_young_the_machine(
    caplog: pytest.LogCaptureFixture,
) -> None:
    limited = RateLimitedLog(LOGGER, period_s=5.0, clock=lambda: 0.0)
    error = ValueError("why")
    limited.error("a", "once", error)
    limited.error("a", "twice", error)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_of_two_threads_one_logs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each waits a moment for the other, who would come as far without the lock."""
    meeting, met = threading.Barrier(2), []

    def monotonic() -> float:
        try:
            meeting.wait(0.2)
            met.append(True)
        except threading.BrokenBarrierError:
            pass
        return 7.0

    limited = RateLimitedLog(LOGGER, clock=monotonic)
    threads = [threading.Thread(target=limited.warning, args=("a", "b")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not met
    assert len(caplog.records) == 1


def test_a_record_as_json() -> None:
    record = logging.LogRecord("node", logging.ERROR, "", 1, "two\n%s", ("lines",), None)
    record.created = 1.5
    text = JsonFormatter().format(record)
    assert "\n" not in text
    assert json.loads(text) == {
        "time": "1970-01-01T00:00:01.500+00:00",
        "level": "error",
        "logger": "node",
        "message": "two\nlines",
    }
    try:
        raise ValueError("why")
    except ValueError as error:
        record.exc_info = (ValueError, error, error.__traceback__)
    assert "ValueError: why" in json.loads(JsonFormatter().format(record))["traceback"]


def test_lines_are_an_event_and_its_values() -> None:
    assert line("frames_late", total=3, lag_ms=12.34567) == "frames_late total=3 lag_ms=12.35"
    assert line("rejected", detail="too long", reason="") == "rejected detail='too long' reason=''"


def test_events_are_limited_likewise(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    limited = RateLimitedLog(LOGGER, 5.0, lambda: now[0])
    for moment in (0.0, 1.0, 4.9, 5.0, 6.0):
        now[0] = moment
        limited.event("bad", at=moment)
    limited.warning("other", "once")
    expected = ["bad at=0", "bad at=5 (and 2 more like it)", "other: once"]
    assert [record.getMessage() for record in caplog.records] == expected
