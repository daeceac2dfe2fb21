"""The log of detector and simulator: where its lines go, and what is said while they wait."""

import logging

import pytest

from dscsnet.detector_stub.logs import set_up, waiting_line


def test_who_waits_says_what_a_first_start_takes() -> None:
    text = waiting_line(2, 30.0)
    assert text.startswith("waiting_for_subscribers number=2 longest_s=30 note=")
    assert "half a minute" in text


def test_lines_go_to_standard_error_once(capsys: pytest.CaptureFixture[str]) -> None:
    package = logging.getLogger("dscsnet")
    for _ in range(2):
        set_up("warning")
    assert len(package.handlers) == 1
    assert not package.propagate  # the root logger's handlers would write it again
    logging.getLogger("dscsnet.detector_stub.spots").warning("seen")
    logging.getLogger("dscsnet.detector_stub.spots").info("not seen")
    (told,) = capsys.readouterr().err.splitlines()
    assert told.endswith("Z WARNING dscsnet.detector_stub.spots seen")
