"""What an ONNX file claims of its tensors, checked before onnxruntime allocates or opens anything for it.

A reader of protobuf's wire format that follows only the fields in which tensors can stand, and skips their contents.
Knows nothing of bundles, and does not say that a graph makes sense.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinabert_onnx.errors import BundleError

# Ours have 9,000 fields, and 9 messages inside one another, of which protobuf takes 100.
MAX_FIELDS = 100_000
MAX_DEPTH = 50
MAX_RANK = 16
MAX_ENTRY = 255  # bytes, as of a file's name
SHOWN = 60  # bytes of a tensor's name, in messages

# message -> number of a field -> the message in it, on the way from the file to its tensors
_INSIDE = {
    "model": {7: "graph", 25: "function"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
}
# Protobuf merges those that come twice, so that each alone would not show what onnxruntime sees.
_ONCE = {"model": {7}, "attribute": {5, 6}}
_UNUSED = {
    "model": {20: "training information"},
    "graph": {15: "sparse tensors"},
    "attribute": {22: "sparse tensors", 23: "sparse tensors"},
}

_VARINT, _LENGTH_DELIMITED = 0, 2  # wire types
_FIXED = {1: 8, 5: 4}  # bytes of the others that protobuf still writes
_DIMS, _DATA_TYPE, _NAME, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 1, 2, 8, 9, 13, 14
_TYPED_DATA = (4, 5, 7, 10, 11)  # float_data, int32_data, int64_data, double_data, uint64_data
_EXTERNAL_KEYS = {"location", "offset", "length", "checksum"}

_BITS_BY_TYPES = {
    4: (21, 22, 23),  # uint4, int4, float4
    8: (2, 3, 9, 17, 18, 19, 20, 24),  # uint8, int8, bool, five of float8
    16: (4, 5, 10, 16),  # uint16, int16, float16, bfloat16
    32: (1, 6, 12),  # float32, int32, uint32
    64: (7, 11, 13, 14),  # int64, float64, uint64, complex64
    128: (15,),  # complex128
}
_BITS = {data_type: bits for bits, types in _BITS_BY_TYPES.items() for data_type in types}


class _UnfitError(Exception):
    """What is wrong with the file, in words."""


# number, wire type, where the contents start and stop, and the value of a varint (else 0); plain for speed
_Field = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class _Tensor:
    """What a tensor claims; `raw` is the length of its raw data or None, `typed` the bytes of its typed data."""

    name: str
    dims: tuple[int, ...]
    data_type: int
    is_external: bool
    external: Mapping[str, str]
    raw: int | None
    typed: int


def check_onnx_file(path: Path, weights: Mapping[str, int]) -> None:
    """Check every tensor of the ONNX file at `path`: initializers, and those in attributes, subgraphs and functions.

    `weights` are the files that tensors may lie in: names relative to the directory of `path`, and sizes in bytes.
    Costs time and memory by the number of fields, not by the bytes of the tensors.

    Raises:
        BundleError: cut short or no ONNX file; a tensor lies in another file or outside of its file, or its
            dimensions are not those of its contents.
    """
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            fields = iter(range(MAX_FIELDS))
            for start, stop in _find_tensors(data, fields):
                _check_tensor(_read_tensor(data, start, stop, fields), weights)
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise BundleError(f"{path}: cannot be read ({error}); export or download the bundle again") from error
    except _UnfitError as error:
        raise BundleError(
            f"{path}: not an ONNX file to be trusted ({error}); export the bundle again, or do not use it"
        ) from error


def _find_tensors(data: mmap.mmap, fields: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Where each TensorProto starts and stops; without recursion."""
    pending = [("model", 0, len(data), 0)]
    while pending:
        kind, start, stop, depth = pending.pop()
        if kind == "tensor":
            yield start, stop
            continue
        if depth > MAX_DEPTH:
            raise _UnfitError(f"more than {MAX_DEPTH} messages inside one another")
        inside, unused, seen = _INSIDE[kind], _UNUSED.get(kind, {}), set[int]()
        for number, wire_type, begin, end, _ in _fields(data, start, stop, fields):
            if number in unused:
                raise _UnfitError(f"it holds {unused[number]}, which no graph of ours does")
            if number in inside:
                _require_wire_type(wire_type, _LENGTH_DELIMITED, begin)
                if number in seen and number in _ONCE.get(kind, ()):
                    raise _UnfitError(f"a {kind} holds a {inside[number]} twice")
                seen.add(number)
                pending.append((inside[number], begin, end, depth + 1))


def _read_tensor(data: mmap.mmap, start: int, stop: int, fields: Iterator[int]) -> _Tensor:
    found: dict[int, list[_Field]] = {}
    for field in _fields(data, start, stop, fields):
        found.setdefault(field[0], []).append(field)
    raw = _only(found, _RAW_DATA, _LENGTH_DELIMITED)
    place = _only(found, _DATA_LOCATION, _VARINT)
    data_type = _only(found, _DATA_TYPE, _VARINT)
    name = _only(found, _NAME, _LENGTH_DELIMITED)
    return _Tensor(
        name=_text(data, name[2], min(name[3], name[2] + SHOWN)) if name else "",
        dims=_read_dims(data, found.get(_DIMS, [])),
        data_type=data_type[4] if data_type else 0,
        is_external=place is not None and place[4] != 0,
        external=_read_entries(data, found.get(_EXTERNAL_DATA, []), fields),
        raw=raw[3] - raw[2] if raw else None,
        typed=sum(field[3] - field[2] for number in _TYPED_DATA for field in found.get(number, [])),
    )


def _only(found: Mapping[int, list[_Field]], number: int, wire_type: int) -> _Field | None:
    """The field of this number, if there is one; of two, protobuf would take the last."""
    if number not in found:
        return None
    if len(found[number]) > 1:
        raise _UnfitError(f"a tensor holds field {number} twice")
    _require_wire_type(found[number][0][1], wire_type, found[number][0][2])
    return found[number][0]


def _read_dims(data: mmap.mmap, found: list[_Field]) -> tuple[int, ...]:
    """Dimensions stand one a field, or several packed in one."""
    dims: list[int] = []
    for _, wire_type, position, stop, value in found:
        if wire_type == _VARINT:
            dims.append(value)
            continue
        _require_wire_type(wire_type, _LENGTH_DELIMITED, position)
        while position < stop and len(dims) <= MAX_RANK:
            value, position = _varint(data, position, stop)
            dims.append(value)
    if len(dims) > MAX_RANK or any(value >= 2**63 for value in dims):
        raise _UnfitError(f"a tensor has a negative dimension, or more than {MAX_RANK}")
    return tuple(dims)


def _read_entries(data: mmap.mmap, found: list[_Field], fields: Iterator[int]) -> dict[str, str]:
    """Key and value of each entry, its fields 1 and 2."""
    entries: dict[str, str] = {}
    for _, wire_type, start, stop, _ in found:
        _require_wire_type(wire_type, _LENGTH_DELIMITED, start)
        inner: dict[int, list[_Field]] = {}
        for field in _fields(data, start, stop, fields):
            inner.setdefault(field[0], []).append(field)
        key, value = (_only(inner, number, _LENGTH_DELIMITED) for number in (1, 2))
        name = _entry_text(data, key)
        if name in entries or name not in _EXTERNAL_KEYS:
            raise _UnfitError(f"a tensor's external data has an unknown or second entry {name!r}")
        entries[name] = _entry_text(data, value)
    return entries


def _check_tensor(tensor: _Tensor, weights: Mapping[str, int]) -> None:
    where = f"tensor {tensor.name!r}"
    if tensor.data_type not in _BITS:
        raise _UnfitError(f"{where} has elements of type {tensor.data_type}, whose size is unknown")
    count = math.prod(tensor.dims)
    size = (count * _BITS[tensor.data_type] + 7) // 8  # bytes
    if tensor.is_external or tensor.external:
        _check_external(tensor, size, weights, where)
    elif tensor.raw is not None:
        if tensor.raw != size or tensor.typed:
            raise _UnfitError(f"{where} needs {size} bytes and has {tensor.raw + tensor.typed}")
    elif count > 2 * tensor.typed:  # a byte holds two elements at most, of 4 bits
        raise _UnfitError(f"{where} needs {count} elements and has {tensor.typed} bytes")


def _check_external(tensor: _Tensor, size: int, weights: Mapping[str, int], where: str) -> None:
    if not tensor.is_external or tensor.raw is not None or tensor.typed:
        raise _UnfitError(f"{where} lies in this file and in another")
    location = tensor.external.get("location", "")
    if location not in weights:
        raise _UnfitError(f"{where} lies in {location!r}, which the manifest does not list for this precision")
    offset = _number(tensor.external.get("offset", "0"), where)
    length = _number(tensor.external.get("length", str(size)), where)
    if length != size:
        raise _UnfitError(f"{where} needs {size} bytes and takes {length} of {location!r}")
    if offset + length > weights[location]:
        raise _UnfitError(f"{where} ends at byte {offset + length} of {location!r}, which has {weights[location]}")


def _number(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise _UnfitError(f"{where} has {text!r} where its offset or length should stand")
    return int(text)


def _fields(data: mmap.mmap, start: int, stop: int, fields: Iterator[int]) -> Iterator[_Field]:
    """The fields of the message `data[start:stop]`; `fields` runs out where the whole file has too many."""
    position = start
    for _ in fields:
        if position == stop:
            return
        tag, begin = _varint(data, position, stop)
        number, wire_type, value = tag >> 3, tag & 7, 0
        if wire_type == _LENGTH_DELIMITED:
            length, begin = _varint(data, begin, stop)
            position = begin + length
        elif wire_type == _VARINT:
            value, position = _varint(data, begin, stop)
        elif wire_type in _FIXED:
            position = begin + _FIXED[wire_type]
        else:
            raise _UnfitError(f"byte {begin}: no field begins like this")
        if position > stop or not 0 < number < 2**29:
            raise _UnfitError(
                f"byte {begin}: field {number} of {position - begin} bytes, where {stop - begin} are left"
            )
        yield number, wire_type, begin, position, value
    raise _UnfitError(f"more than {MAX_FIELDS} fields")


def _varint(data: mmap.mmap, position: int, stop: int) -> tuple[int, int]:
    """A number of up to 64 bits, seven a byte, lowest first, and where it ends."""
    if position < stop and data[position] < 0x80:  # nearly all
        return data[position], position + 1
    value = 0
    for shift in range(0, 70, 7):
        if position >= stop:
            raise _UnfitError(f"byte {position}: cut short within a number")
        byte = data[position]
        position += 1
        if byte < 0x80:
            value |= byte << shift
            if value < 2**64:
                return value, position
            break
        value |= (byte & 0x7F) << shift
    raise _UnfitError(f"byte {position}: a number of more than 64 bits")


def _require_wire_type(wire_type: int, required: int, position: int) -> None:
    if wire_type != required:
        raise _UnfitError(f"byte {position}: a field is written as type {wire_type} where {required} is meant")


def _entry_text(data: mmap.mmap, field: _Field | None) -> str:
    if field is None:
        return ""
    _, _, start, stop, _ = field
    if stop - start > MAX_ENTRY:
        raise _UnfitError(f"byte {start}: {stop - start} bytes in an entry of a tensor's external data")
    return _text(data, start, stop)


def _text(data: mmap.mmap, start: int, stop: int) -> str:
    return data[start:stop].decode("utf-8", "backslashreplace")
