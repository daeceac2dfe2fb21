import logging

import pytest

from detector_stub.logs import RateLimitedLog, line, set_up


def test_lines_are_an_event_and_its_values() -> None:
    assert line("frames_late", total=3, lag_ms=12.34567) == "frames_late total=3 lag_ms=12.35"
    assert line("rejected", detail="too long", reason="") == "rejected detail='too long' reason=''"


def test_one_event_is_reported_once_an_interval(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    limited = RateLimitedLog(logging.getLogger("limited"), 5.0, lambda: now[0])
    for moment in (0.0, 1.0, 4.9, 5.0, 6.0):
        now[0] = moment
        limited.warning("bad", at=moment)
    limited.warning("other")
    expected = ["bad at=0", "bad at=5 left_out=2", "other"]
    assert [record.getMessage() for record in caplog.records] == expected


def test_lines_go_to_standard_error_once(capsys: pytest.CaptureFixture[str]) -> None:
    package = logging.getLogger("detector_stub")
    before = package.handlers[:], package.propagate, package.level
    try:
        for _ in range(2):
            set_up("warning")
        assert len(package.handlers) == 1
        assert not package.propagate  # the root logger's handlers would write it again
        logging.getLogger("detector_stub.spots").warning("seen")
        logging.getLogger("detector_stub.spots").info("not seen")
    finally:
        package.handlers[:], package.propagate = before[0], before[1]
        package.setLevel(before[2])
    (told,) = capsys.readouterr().err.splitlines()
    assert told.endswith("Z WARNING detector_stub.spots seen")
