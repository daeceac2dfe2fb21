"""The root of the exception tree; every message is one line that says what is wrong."""

#: Characters of a message; what hostile input has to say about itself may be longer.
LONGEST_MESSAGE = 2000


class DscsnetError(Exception):
    """Base of all errors that a user can act on; the command line prints them as one line.

    Messages quote what came from outside, so what would break the line or steer a terminal is
    shown escaped, and a very long one has its middle left out.
    """

    def __str__(self) -> str:
        return one_line(super().__str__())


class ModelError(DscsnetError):
    """A model folder is missing, altered or does not fit its engine."""


class GoldenCheckFailed(ModelError):
    """A runtime does not compute what a model's float64 reference does."""


class InferenceError(DscsnetError):
    """A runtime could not execute a batch."""


def first_line(error: Exception) -> str:
    """What another library's error says first; its type where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def one_line(text: str) -> str:
    """The text as one printable line: line breaks as spaces, other control characters escaped."""
    text = _shortened(text)
    if not text.isprintable():
        text = _shortened("".join(map(_shown, " ".join(text.splitlines()))))
    return text


def _shortened(text: str) -> str:
    half = LONGEST_MESSAGE // 2
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:half]} ... {text[-half:]}"


def _shown(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()
