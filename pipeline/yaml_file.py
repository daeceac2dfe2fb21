"""Typed YAML files: read, checked, and refused with the path to the key at fault."""

import re
from pathlib import Path
from typing import TypeVar

import msgspec

from dscsnet.engines.strict_yaml import YamlError, decode_yaml
from dscsnet.pipeline.errors import ConfigError
from dscsnet.pipeline.sockets.channel import complete_channels

T = TypeVar("T")


def read_yaml(path: Path, kind: type[T]) -> T:
    """Read a YAML file as `kind`; a file with no key gives the defaults.

    A channel given in part keeps the default of the rest.

    Raises:
        ConfigError: the file cannot be read, is no YAML, or a key or value is wrong.
    """
    try:
        values = decode_yaml(path.read_bytes())
        return msgspec.convert({} if values is None else complete_channels(kind, values), kind)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except YamlError as error:
        raise ConfigError(f"{path}: {error}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {explain(error)}") from None


def explain(error: msgspec.ValidationError) -> str:
    """One line, the path to the key first: `join.timeout_ms: expected float, got str`."""
    text = " ".join(str(error).split())
    found = re.fullmatch(r"(?P<what>.*?)(?: - at `\$\.?(?P<key>[^`]*)`)?", text)
    assert found is not None, "the pattern matches any text"
    what, key = found["what"].replace("`", '"'), found["key"]
    what = what.replace("Object contains unknown field", "unknown key")
    if not key:
        return what
    return f"{key}: {what[0].lower()}{what[1:]}"
