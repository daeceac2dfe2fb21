"""Bounds of incoming messages, checked on the raw bytes before anything is allocated.

msgpack reserves memory for a list as soon as it reads the announced length, so nested lists of a
few bytes each could claim hundreds of megabytes. This module walks the bytes first.
"""

import msgspec

from dscsnet.pipeline.errors import MessageError

MAX_MAP_ENTRIES = 1024


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The largest message that is accepted; a larger one is rejected with reason "limits".

    Attributes:
        max_header_bytes: bytes of the msgpack map.
        max_frame_bytes: bytes of the pixels.
        max_dimension: height and width of a frame in pixels.
        max_candidates: entries of `detections` and of `spots`.
        max_targets: entries of `targets`.
        max_nesting: maps and lists inside each other, the outermost map being the first.
        max_containers: maps and lists in one message.
        max_string_bytes: bytes of one text or binary value.
    """

    max_header_bytes: int = 4 * 2**20
    max_frame_bytes: int = 64 * 2**20
    max_dimension: int = 16384
    max_candidates: int = 10_000
    max_targets: int = 100_000
    max_nesting: int = 8
    max_containers: int = 1024
    max_string_bytes: int = 65_536

    def __post_init__(self) -> None:
        """Check that every limit is a positive integer."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")


# What follows the first byte of a msgpack item: so many bytes (0xc1, which msgpack does not use, is
# left for the unpacker to refuse) or, negative, a length and then the body.
_STRING, _LIST, _MAP = -1, -2, -3


def _body_table() -> tuple[int, ...]:
    table = [0] * 256
    table[0x80:0x90] = [_MAP] * 16
    table[0x90:0xA0] = [_LIST] * 16
    table[0xA0:0xC0] = range(32)  # short texts, too short to be worth a check
    table[0xC4:0xCA] = [_STRING] * 6  # bin and ext with a length of 1, 2, 4 bytes
    table[0xCA:0xD4] = [4, 8, 1, 2, 4, 8, 1, 2, 4, 8]  # float 32, 64; unsigned and signed integers
    table[0xD4:0xD9] = [2, 3, 5, 9, 17]  # ext of fixed length, with their type byte
    table[0xD9:0xDC] = [_STRING] * 3
    table[0xDC:0xDE] = [_LIST] * 2
    table[0xDE:0xE0] = [_MAP] * 2
    return tuple(table)


_BODY = _body_table()
_LENGTH_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_LENGTH_BYTES |= {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_EXTENSIONS = (0xC7, 0xC8, 0xC9)  # a type byte stands between the length and the body


def _announced_length(data: bytes, position: int, code: int) -> tuple[int, int]:
    """Return the length announced by the item whose first byte was read, and where it goes on."""
    width = _LENGTH_BYTES.get(code)
    if width is None:
        return code & 0x0F, position
    length = int.from_bytes(data[position : position + width], "big")
    return length, position + width + (code in _EXTENSIONS)


def _skip_uniform(data: bytes, position: int, count: int) -> int:
    """Skip `count` scalars of one kind at once, as columns have them; return where they end.

    Where the items differ the position comes back unchanged and they are walked one by one.
    """
    code = data[position]
    if code < 0x80:
        return position + count if data[position : position + count].isascii() else position
    stride = 1 + _BODY[code]
    end = position + stride * count
    if stride < 2 or data[position:end:stride] != data[position : position + 1] * count:
        return position
    return end


def check_bounds(data: bytes, limits: Limits, max_entries: int) -> None:
    """Walk a msgpack map without building it.

    Args:
        data: the map, already known to be no longer than `limits.max_header_bytes`.
        limits: bounds of depth, of the number of containers and of texts.
        max_entries: entries that one list may have.

    Raises:
        MessageError: "limits" where a bound is broken, "header" where the map does not end with
            the bytes.
    """
    try:
        end = _walk(data, limits, max_entries)
    except IndexError:
        end = len(data) + 1
    if end != len(data):
        what = "ends in the middle of its map" if end > len(data) else "goes on after its map"
        raise MessageError("header", f"header: {what}, at byte {min(end, len(data))}")


def _walk(data: bytes, limits: Limits, max_entries: int) -> int:
    """Check the bounds of the first item in `data` and return where it ends."""
    position, containers = 0, 0
    outer: list[int] = []  # items still to come in each list or map around the current one
    items = 1  # items still to come in the current one
    while items or outer:
        if not items:
            items = outer.pop()
            continue
        items -= 1
        code = data[position]
        position += 1
        body = _BODY[code]
        if body >= 0:
            position += body
            continue
        length, position = _announced_length(data, position, code)
        if body == _STRING:
            if length > limits.max_string_bytes:
                raise _too_large("bytes of a text", length, limits.max_string_bytes)
            position += length
            continue
        containers += 1
        outer.append(items)
        most = MAX_MAP_ENTRIES if body == _MAP else max_entries
        if length > most:
            raise _too_large("entries of a list or map", length, most)
        if containers > limits.max_containers:
            raise _too_large("lists and maps", containers, limits.max_containers)
        if len(outer) > limits.max_nesting:
            raise _too_large("nested levels", len(outer), limits.max_nesting)
        items = length * 2 if body == _MAP else length
        if length and body == _LIST:
            skipped = _skip_uniform(data, position, length)
            if skipped > position:
                position, items = skipped, 0
    return position


def _too_large(what: str, got: int, limit: int) -> MessageError:
    return MessageError("limits", f"header: at most {limit} {what} are accepted, got {got}")
