"""Typed YAML files: read, checked, and refused with the path to the key at fault."""

import re
from pathlib import Path
from typing import TypeVar

import msgspec

from pipeline.errors import ConfigError

T = TypeVar("T")


def read_yaml(path: Path, kind: type[T]) -> T:
    """Read a YAML file as `kind`; a file with no key gives the defaults.

    Raises:
        ConfigError: the file cannot be read, is no YAML, or a key or value is wrong.
    """
    try:
        values = msgspec.yaml.decode(path.read_bytes())
        return msgspec.convert({} if values is None else values, kind)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text file in UTF-8") from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {explain(error)}") from None


def explain(error: msgspec.DecodeError) -> str:
    """One line, the path to the key first: `join.timeout_ms: expected float, got str`."""
    text = " ".join(str(error).split())
    found = re.fullmatch(r"(?P<what>.*?)(?: - at `\$\.?(?P<key>[^`]*)`)?", text)
    assert found is not None, "the pattern matches any text"
    what, key = found["what"].replace("`", '"'), found["key"]
    what = what.replace("Object contains unknown field", "unknown key")
    if not key:
        return what
    return f"{key}: {what[0].lower()}{what[1:]}"
