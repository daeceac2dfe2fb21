"""What an error says: one printable line that is not too long."""

import pytest

from dscsnet.engines.errors import DscsnetError, first_line


def test_a_message_of_2000_characters_is_whole_and_a_longer_one_lacks_its_middle() -> None:
    whole = "a" * 1000 + "b" * 1000
    assert str(DscsnetError(whole)) == whole
    shortened = str(DscsnetError("a" * 1000 + "-" + "b" * 1000))
    assert shortened == "a" * 1000 + " ... " + "b" * 1000
    # Escapes make it longer than it was.
    escaped = str(DscsnetError("\x1b" * 2000))
    assert escaped.startswith(r"\x1b\x1b")
    assert len(escaped) == 2005


def test_lines_become_one_and_nothing_steers_a_terminal() -> None:
    assert str(DscsnetError("one\r\ntwo\x1b[31m\x00")) == r"one two\x1b[31m\x00"


@pytest.mark.parametrize(
    ("text", "said"), [("first\nsecond", "first"), ("\n  first", "first"), ("  ", "OSError")]
)
def test_of_another_library_s_error_the_first_line(text: str, said: str) -> None:
    assert first_line(OSError(text)) == said
