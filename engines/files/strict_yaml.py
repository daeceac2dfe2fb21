"""YAML text to plain values: bounded, and what YAML would let pass in silence is refused.

The parser below recurses over nested lists without a limit, keeps the last of two equal keys, and
turns words that look like a date or a number into objects or foreign errors. Here nesting and size
are bounded on the parser's events before anything is built, a key stands once, and there are no
types but texts, numbers, true, false and null.
"""

import math
from typing import Any

import yaml

from dscsnet.engines.errors import DscsnetError

MAX_BYTES = 2**20
MAX_NESTING = 32  # lists and maps inside each other
MAX_VALUES = 20_000  # counting what an alias stands for each time

_TAG = "tag:yaml.org,2002:"
_PLAIN = {_TAG + name for name in ("str", "int", "float", "bool", "null", "seq", "map", "merge")}
_DATE = _TAG + "timestamp"
_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class YamlError(DscsnetError):
    """The text is no YAML, or not of the plain kind that is read here."""


def decode_yaml(content: bytes) -> Any:
    """Decode one document; a text without a value gives None. A date stays a text.

    Raises:
        YamlError: one line, with line and column where they are known.
    """
    if len(content) > MAX_BYTES:
        raise YamlError(f"expected at most {MAX_BYTES} bytes, got {len(content)}")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise YamlError("not a text file in UTF-8") from None
    try:
        _check_nesting(text)
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None
            _Walk().check(root, 0)
            return loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise YamlError(_explain(error)) from None


def _check_nesting(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_NESTING:
                raise YamlError(f"{_place(event)}: more than {MAX_NESTING} nested lists and maps")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Walk:
    """Checks a document's nodes, an alias as often as it is used."""

    def __init__(self) -> None:
        self._values = 0

    def check(self, node: yaml.Node, depth: int) -> None:
        """Refuse what is not plain (YamlError)."""
        self._values += 1
        if self._values > MAX_VALUES:
            raise YamlError(f"more than {MAX_VALUES} values, counting what aliases stand for")
        if depth > MAX_NESTING:  # an alias that contains itself
            raise YamlError(f"{_place(node)}: more than {MAX_NESTING} nested lists and maps")
        if node.tag == _DATE:
            node.tag = _TAG + "str"
        if node.tag not in _PLAIN:
            raise YamlError(f"{_place(node)}: the type {node.tag} is not allowed")
        if isinstance(node, yaml.MappingNode):
            self._check_map(node, depth)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self.check(item, depth + 1)
        elif isinstance(node, yaml.ScalarNode):
            _check_scalar(node)

    def _check_map(self, node: yaml.MappingNode, depth: int) -> None:
        keys: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError(f"{_place(key)}: expected a text as key, got a list or map")
            if key.value in keys:
                raise YamlError(f'{_place(key)}: the key "{key.value}" is there twice')
            keys.add(key.value)
            self.check(key, depth + 1)
            self.check(value, depth + 1)


def _check_scalar(node: yaml.ScalarNode) -> None:
    """Refuse a word that looks like a number, and is none that can be used."""
    kind = node.tag.removeprefix(_TAG)
    constructor = yaml.constructor.SafeConstructor()
    try:
        if kind == "int":
            constructor.construct_yaml_int(node)
        elif kind == "float" and not math.isfinite(constructor.construct_yaml_float(node)):
            raise YamlError(f'{_place(node)}: expected a finite number, got "{node.value}"')
        elif kind == "bool":
            constructor.construct_yaml_bool(node)
    except (ValueError, LookupError, OverflowError):
        raise YamlError(f'{_place(node)}: "{node.value}" is no {kind}') from None


def _place(marked: Any) -> str:
    return _line_and_column(marked.start_mark)


def _line_and_column(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _explain(error: yaml.YAMLError) -> str:
    """One line; the words are the parser's, the place in front of them is written as elsewhere."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    words = " ".join(part for part in (error.context, error.problem) if part)
    return f"{_line_and_column(error.problem_mark)}: {' '.join(words.split())}"
