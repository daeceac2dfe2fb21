"""What the publishers say while they wait."""

from dscsnet.detector_stub.logs import waiting_line


def test_who_waits_says_what_a_first_start_takes() -> None:
    text = waiting_line(2, 30.0)
    assert text.startswith("waiting_for_subscribers number=2 longest_s=30 note=")
    assert "half a minute" in text
