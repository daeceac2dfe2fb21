"""Typed YAML files: read, checked, and refused with the path to the key at fault."""

import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dscsnet.engines.files.strict_yaml import YamlError, decode_yaml
from dscsnet.pipeline.errors import ConfigError

T = TypeVar("T")

LONGEST_SHOWN = 60  # letters of a value in an error


def read_yaml(path: str | Path, kind: type[T]) -> T:
    """Read a YAML file as `kind`; a file with no key gives the defaults.

    A part that has a default, given in part, keeps the default of the rest.

    Raises:
        ConfigError: the file cannot be read, is no YAML, or a key or value is wrong.
    """
    try:
        values = decode_yaml(Path(path).read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; check the path") from None
    except YamlError as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        return msgspec.convert({} if values is None else complete(kind, values), kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, values)}") from None


def complete(kind: type[Any], values: Any) -> Any:
    """Values for the struct `kind`, with the defaults that the classes of its parts do not know.

    A channel, for example, has no default endpoint, but that of the frames has one: what is left
    out of a part comes from the part's own default.
    """
    if not isinstance(values, dict):
        return values
    completed = dict(values)
    for field in msgspec.structs.fields(kind):
        key, default = field.encode_name, _default(field)
        if isinstance(default, msgspec.Struct) and isinstance(values.get(key), dict):
            part = complete(type(default), values[key])
            # A class that knows all its defaults needs none; and the file may name another class.
            needs = any(each.required for each in msgspec.structs.fields(default))
            completed[key] = {**msgspec.structs.asdict(default), **part} if needs else part
    return completed


def _default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def explain(error: msgspec.ValidationError, values: Any) -> str:
    """One line, the path to the key first: `join.timeout_ms: expected float >= 0, got -1`."""
    text = " ".join(str(error).split())
    found = re.fullmatch(r"(?P<what>.*?)(?: - at `\$\.?(?P<key>[^`]*)`)?", text)
    assert found is not None, "the pattern matches any text"
    what, key = found["what"].replace("`", '"'), found["key"]
    what = what.replace("Object contains unknown field", "unknown key")
    if what.startswith("Expected") and ", got" not in what:
        what += f", got {_value_at(values, key or '')}"
    if not key:
        return what
    return f"{key}: {what[0].lower()}{what[1:]}"


def _value_at(values: Any, key: str) -> str:
    """What the file says at a path such as `engine.psf_sigma[1]`, cut short where it is long."""
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", key):
        if isinstance(values, dict) and name in values:
            values = values[name]
        elif isinstance(values, list) and index and int(index) < len(values):
            values = values[int(index)]
    text = repr(values)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} ..."
