"""Mutations that keep an input's structure, where plain bytes would hardly get past the parser."""

import io
import json
import random
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import lz4.frame
import msgpack
import yaml
import zstandard

#: Changes bytes as it likes; the fuzzer's own, or `flip_bytes`.
Flip = Callable[[bytes], bytes]
Mutator = Callable[[bytes, random.Random, Flip], bytes]

#: A list as long as this is not made longer: lists of long lists would fill the memory.
LONG_LIST = 20

INTERESTING: tuple[Any, ...] = (
    *(None, True, False, "", "a", "\x00", "\x1b[2J", "\u202e", "a" * 300, b"", b"\xff" * 16),
    *(0, 1, -1, 2, 7, 11, 255, 2**15, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)),
    *(0.0, -0.0, 0.5, 1e-320, 1e18, 1e38, 1e300, float("inf"), float("nan"), -1e300),
    *([], {}, [[]], [0, 0], {"a": 1}),
)


def flip_bytes(data: bytes, chance: random.Random) -> bytes:
    """A few byte-level mutations, for where there is no fuzzer."""
    result = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 8])):
        place = chance.randrange(len(result) + 1)
        action = chance.randrange(5)
        if action == 0 and result:
            result[place % len(result)] ^= 1 << chance.randrange(8)
        elif action == 1:
            result[place:place] = chance.randbytes(chance.choice([1, 4, 30]))
        elif action == 2:
            del result[place : place + chance.choice([1, 4, 30])]
        elif action == 3:
            result[place : place + 4] = b"\xff" * 4
        else:
            result[place:place] = result[: chance.randrange(64)]
    return bytes(result)


def mutate_tree(tree: Any, chance: random.Random, flip: Flip) -> Any:
    """Change one thing somewhere in nested maps, lists and scalars; the input stays as it is."""
    inside = isinstance(tree, dict | list) and tree and chance.random() < 0.85
    if not inside:
        return _mutate_value(tree, chance, flip)
    if isinstance(tree, list):
        return _mutate_list(tree, chance, flip)
    copy = dict(tree)
    key = chance.choice(list(copy))
    action = chance.randrange(10)
    if action == 0:
        del copy[key]
    elif action == 1:
        copy[_text(key, chance, flip)] = copy.pop(key)
    elif action == 2:
        copy[key] = copy[chance.choice(list(copy))]
    else:
        copy[key] = mutate_tree(copy[key], chance, flip)
    return copy


def _mutate_list(items: list[Any], chance: random.Random, flip: Flip) -> list[Any]:
    copy, place = list(items), chance.randrange(len(items))
    action = chance.randrange(8)
    if action == 0:
        del copy[place]
    elif action == 1:
        copy.insert(place, chance.choice(copy))
    elif action == 2:
        copy *= chance.choice([2, 3, 50]) if len(copy) < LONG_LIST else 1
    else:
        copy[place] = mutate_tree(copy[place], chance, flip)
    return copy


def _mutate_value(value: Any, chance: random.Random, flip: Flip) -> Any:
    others: list[Any] = [chance.choice(INTERESTING), [value]]
    if isinstance(value, int) and not isinstance(value, bool):
        others += [value + 1, value - 1, -value, 2 * value, value + 2**32]
    elif isinstance(value, float):
        others += [-value, value * 1e6, value / 1e6, value + 1, value - 1]
    elif isinstance(value, bytes):
        others += [flip(value) for _ in range(4)]
    elif isinstance(value, str):
        others += [_text(value, chance, flip) for _ in range(4)]
    return chance.choice(others)


def _text(value: Any, chance: random.Random, flip: Flip) -> str:
    if chance.random() < 0.3:
        return str(chance.choice(INTERESTING))
    return flip(str(value).encode(errors="replace")).decode(errors="replace")


def _tree_mutator(
    load: Callable[[bytes], Any], dump: Callable[[Any], bytes], structure: float = 0.7
) -> Mutator:
    def mutate(data: bytes, chance: random.Random, flip: Flip) -> bytes:
        if chance.random() > structure:
            return flip(data)
        try:
            tree = load(data)
            for _ in range(chance.choice([1, 1, 2, 4])):
                tree = mutate_tree(tree, chance, flip)
            return dump(tree)
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError, *FOREIGN):
            return flip(data)

    return mutate


#: What parsers raise for inputs that are damaged already.
FOREIGN = (
    *(yaml.YAMLError, AttributeError, msgpack.exceptions.UnpackException),
    *(zlib.error, struct.error, EOFError),
)


def _load_msgpack(data: bytes) -> Any:
    return msgpack.unpackb(data, strict_map_key=False)


msgpack_tree = _tree_mutator(_load_msgpack, msgpack.packb)
json_tree = _tree_mutator(json.loads, lambda tree: json.dumps(tree).encode())
yaml_tree = _tree_mutator(
    lambda data: yaml.load(data, yaml.CSafeLoader),
    lambda tree: yaml.dump(tree, Dumper=yaml.CSafeDumper).encode(),
)


def json_lines(data: bytes, chance: random.Random, flip: Flip) -> bytes:
    """One of the lines is mutated as JSON."""
    lines = data.split(b"\n")
    place = chance.randrange(len(lines))
    lines[place] = json_tree(lines[place], chance, flip)
    return b"\n".join(lines)


def members(inner: dict[str, Mutator]) -> Mutator:
    """For inputs that are a msgpack map of files: one of them is mutated by its own mutator."""

    def mutate(data: bytes, chance: random.Random, flip: Flip) -> bytes:
        try:
            files = _load_msgpack(data)
            key = chance.choice(sorted(files))
            files[key] = inner.get(key, just_bytes)(files[key], chance, flip)
            return bytes(msgpack.packb(files))
        except (ValueError, TypeError, LookupError, *FOREIGN):
            return flip(data)

    return mutate


def just_bytes(data: bytes, _chance: random.Random, flip: Flip) -> bytes:
    """Bytes alone."""
    return flip(data)


def message_parts(data: bytes, chance: random.Random, flip: Flip) -> bytes:
    """A msgpack list of message parts, the second of which is a msgpack map."""
    try:
        parts = list(_load_msgpack(data))
        place = chance.choice([0, 1, 1, 1, 1, 2, 3])
        if place >= len(parts):
            parts.append(chance.choice(parts))
        elif place == 1:
            parts[1] = msgpack_tree(parts[1], chance, flip)
        elif chance.random() < 0.1:
            del parts[place]
        else:
            parts[place] = flip(parts[place])
        return bytes(msgpack.packb(parts))
    except (ValueError, TypeError, LookupError, *FOREIGN):
        return flip(data)


def png_chunks(data: bytes, chance: random.Random, flip: Flip) -> bytes:
    """Chunks of a PNG with their checksums put right again."""
    signature, position, chunks = data[:8], 8, []
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        body = data[position + 4 : position + 8 + length]
        chunks.append((body[:4], body[4:]))
        position += 12 + length
    if not chunks or chance.random() < 0.2:
        return flip(data)
    place = chance.randrange(len(chunks))
    name, body = chunks[place]
    change = _recompressed if name == b"IDAT" and chance.random() < 0.5 else _flipped
    body = change(body, flip)
    chunks[place] = (name, body)
    return signature + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def _flipped(body: bytes, flip: Flip) -> bytes:
    return flip(body)


def _recompressed(body: bytes, flip: Flip) -> bytes:
    try:
        return zlib.compress(flip(zlib.decompressobj().decompress(body, 2**16)))
    except zlib.error:
        return flip(body)


def zip_members(data: bytes, chance: random.Random, flip: Flip) -> bytes:
    """A zip archive, one member of which is mutated, with its checksum put right again."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = {name: archive.read(name) for name in archive.namelist()[:20]}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, *FOREIGN):
        return flip(data)
    if not files or chance.random() < 0.2:
        return flip(data)
    name = chance.choice(sorted(files))
    action = chance.randrange(8)
    if action == 0:
        del files[name]
    elif action == 1:
        files[_text(name, chance, flip)] = files.pop(name)
    elif action == 2:
        files[name] = files[chance.choice(sorted(files))]
    else:
        files[name] = npy_header(files[name], chance, flip)
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two members of one name
        with zipfile.ZipFile(written, "w", chance.choice([0, 8])) as archive:
            for each, content in files.items():
                archive.writestr(each.replace("\x00", "0") or "0", content)
    return written.getvalue()


_SHAPES = ("(5,)", "()", "(0,)", "(2, 3)", "(1, 4, 4)", "(-1, 4)", "(2, 0, 3)", "(999999999999,)")
_TYPES = ("<f4", ">f8", "|b1", "<u2", ">u2", "<i8", "<c8", "|O", "<U4", "|S3", "|V8", "<m8", "<f2")


def npy_header(data: bytes, chance: random.Random, flip: Flip) -> bytes:
    """An array file whose header is given another shape or type; else bytes."""
    if not data.startswith(b"\x93NUMPY\x01\x00") or chance.random() < 0.4:
        return flip(data)
    (length,) = struct.unpack_from("<H", data, 8)
    header = data[10 : 10 + length].decode("latin1")
    if chance.random() < 0.5:
        header = re.sub(r"\([^)]*\)", chance.choice(_SHAPES), header, count=1)
    else:
        header = re.sub(r"'[<>|][^']*'", f"'{chance.choice(_TYPES)}'", header, count=1)
    text = header.encode("latin1")
    return data[:8] + struct.pack("<H", len(text)) + text + data[10 + length :]


def typed_file(data: bytes, chance: random.Random, flip: Flip) -> bytes:
    """A file after one byte that chooses its kind, mutated as what it is."""
    kind, content = data[:1], data[1:]
    if content.startswith(b"\x89PNG"):
        return kind + png_chunks(content, chance, flip)
    if content.startswith(b"\x93NUMPY"):
        return kind + npy_header(content, chance, flip)
    return (kind or b"\x00") + flip(content)


_MCAP_MAGIC = b"\x89MCAP0\r\n"
_MCAP_CHUNK, _MCAP_CHUNK_HEAD = 6, struct.Struct("<QQQI")


def mcap_records(data: bytes, chance: random.Random, flip: Flip) -> bytes:
    """Records of an MCAP file; those inside a chunk, too, which is then unpacked and unchecked."""
    if not data.startswith(_MCAP_MAGIC) or chance.random() < 0.2:
        return flip(data)
    records = _split_records(data[len(_MCAP_MAGIC) :])
    return _MCAP_MAGIC + _join_records(_mutate_records(records, chance, flip)) + _MCAP_MAGIC


def _split_records(data: bytes) -> list[tuple[int, bytes]]:
    records, position = [], 0
    while position + 9 <= len(data):
        opcode, length = struct.unpack_from("<BQ", data, position)
        records.append((opcode, data[position + 9 : position + 9 + length]))
        position += 9 + length
    return records


def _join_records(records: list[tuple[int, bytes]]) -> bytes:
    return b"".join(struct.pack("<BQ", opcode, len(body)) + body for opcode, body in records)


def _mutate_records(
    records: list[tuple[int, bytes]], chance: random.Random, flip: Flip
) -> list[tuple[int, bytes]]:
    if not records:
        return [(chance.randrange(16), flip(b""))]
    copy, place = list(records), chance.randrange(len(records))
    opcode, body = copy[place]
    action = chance.randrange(10)
    if action == 0:
        del copy[place]
    elif action == 1:
        copy.insert(place, chance.choice(copy))
    elif action == 2:
        copy[place] = (chance.randrange(16), body)
    elif opcode == _MCAP_CHUNK and action < 8:
        copy[place] = (opcode, _mutate_chunk(body, chance, flip))
    else:
        copy[place] = (opcode, flip(body))
    return copy


def _mutate_chunk(body: bytes, chance: random.Random, flip: Flip) -> bytes:
    try:
        start, end, _size, _crc = _MCAP_CHUNK_HEAD.unpack_from(body)
        (length,) = struct.unpack_from("<I", body, _MCAP_CHUNK_HEAD.size)
        place = _MCAP_CHUNK_HEAD.size + 4 + length
        packing = body[_MCAP_CHUNK_HEAD.size + 4 : place]
        data = body[place + 8 :]
        if packing == b"zstd":
            data = zstandard.ZstdDecompressor().decompress(data, max_output_size=2**16)
        elif packing == b"lz4":
            data = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=2**16)
    except (struct.error, zstandard.ZstdError, RuntimeError, ValueError):
        return flip(body)
    data = _join_records(_mutate_records(_split_records(data), chance, flip))
    head = _MCAP_CHUNK_HEAD.pack(start, end, len(data), 0)
    return head + bytes(4) + struct.pack("<Q", len(data)) + data
