"""Checks an ONNX file's claims about its tensors before onnxruntime allocates or opens anything for them.

Follows only the fields in which tensors can stand, and skips their contents. Knows nothing of bundles, and does not
check that a graph makes sense.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jinabert_onnx.errors import BundleError
from jinabert_onnx.foreign_errors import is_from_reading

from .protobuf import (
    LENGTH_DELIMITED,
    MAX_FIELDS,
    VARINT,
    Field,
    MalformedError,
    group_fields,
    read_fields,
    read_text,
    read_varint,
    require_wire_type,
    single_field,
)

MAX_DEPTH = 50  # messages inside one another: ours have 9, and protobuf takes 100
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


@dataclass(frozen=True)
class _Tensor:
    """A tensor's claims; `raw` is the length of its raw data or None, `typed` the bytes of its typed data."""

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
            field_budget = iter(range(MAX_FIELDS))
            for start, stop in _find_tensors(data, field_budget):
                _check_tensor(_read_tensor(data, start, stop, field_budget), weights)
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        if not is_from_reading(error):
            raise
        raise BundleError(f"{path}: cannot be read ({error}); export or download the bundle again") from error
    except MalformedError as error:
        raise BundleError(
            f"{path}: not an ONNX file to be trusted ({error}); export the bundle again, or do not use it"
        ) from error


def _find_tensors(data: mmap.mmap, field_budget: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Yield where each TensorProto starts and stops; without recursion."""
    pending = [("model", 0, len(data), 0)]
    while pending:
        kind, start, stop, depth = pending.pop()
        if kind == "tensor":
            yield start, stop
            continue
        if depth > MAX_DEPTH:
            raise MalformedError(f"more than {MAX_DEPTH} messages inside one another")
        inside, unused, seen = _INSIDE[kind], _UNUSED.get(kind, {}), set[int]()
        for number, wire_type, begin, end, _ in read_fields(data, start, stop, field_budget):
            if number in unused:
                raise MalformedError(f"it holds {unused[number]}, which no graph of ours does")
            if number in inside:
                require_wire_type(wire_type, LENGTH_DELIMITED, begin)
                if number in seen and number in _ONCE.get(kind, ()):
                    raise MalformedError(f"a {kind} holds a {inside[number]} twice")
                seen.add(number)
                pending.append((inside[number], begin, end, depth + 1))


def _read_tensor(data: mmap.mmap, start: int, stop: int, field_budget: Iterator[int]) -> _Tensor:
    grouped = group_fields(read_fields(data, start, stop, field_budget))
    raw = single_field(grouped, _RAW_DATA, LENGTH_DELIMITED)
    place = single_field(grouped, _DATA_LOCATION, VARINT)
    data_type = single_field(grouped, _DATA_TYPE, VARINT)
    name = single_field(grouped, _NAME, LENGTH_DELIMITED)
    return _Tensor(
        name=read_text(data, name[2], min(name[3], name[2] + SHOWN)) if name else "",
        dims=_read_dims(data, grouped.get(_DIMS, [])),
        data_type=data_type[4] if data_type else 0,
        is_external=place is not None and place[4] != 0,
        external=_read_entries(data, grouped.get(_EXTERNAL_DATA, []), field_budget),
        raw=raw[3] - raw[2] if raw else None,
        typed=sum(field[3] - field[2] for number in _TYPED_DATA for field in grouped.get(number, [])),
    )


def _read_dims(data: mmap.mmap, fields: list[Field]) -> tuple[int, ...]:
    """Read the dimensions, which stand one a field, or several packed in one."""
    dims: list[int] = []
    for _, wire_type, position, stop, value in fields:
        if wire_type == VARINT:
            dims.append(value)
            continue
        require_wire_type(wire_type, LENGTH_DELIMITED, position)
        while position < stop and len(dims) <= MAX_RANK:
            value, position = read_varint(data, position, stop)
            dims.append(value)
    if len(dims) > MAX_RANK or any(value >= 2**63 for value in dims):
        raise MalformedError(f"a tensor has a negative dimension, or more than {MAX_RANK}")
    return tuple(dims)


def _read_entries(data: mmap.mmap, fields: list[Field], field_budget: Iterator[int]) -> dict[str, str]:
    """Read the key and value of each entry, its fields 1 and 2."""
    entries: dict[str, str] = {}
    for _, wire_type, start, stop, _ in fields:
        require_wire_type(wire_type, LENGTH_DELIMITED, start)
        grouped = group_fields(read_fields(data, start, stop, field_budget))
        key, value = (single_field(grouped, number, LENGTH_DELIMITED) for number in (1, 2))
        name = _entry_text(data, key)
        if name in entries or name not in _EXTERNAL_KEYS:
            raise MalformedError(f"a tensor's external data has an unknown or second entry {name!r}")
        entries[name] = _entry_text(data, value)
    return entries


def _check_tensor(tensor: _Tensor, weights: Mapping[str, int]) -> None:
    where = f"tensor {tensor.name!r}"
    if tensor.data_type not in _BITS:
        raise MalformedError(f"{where} has elements of type {tensor.data_type}, whose size is unknown")
    count = math.prod(tensor.dims)
    size = (count * _BITS[tensor.data_type] + 7) // 8  # bytes
    if tensor.is_external or tensor.external:
        _check_external(tensor, size, weights, where)
    elif tensor.raw is not None:
        if tensor.raw != size or tensor.typed:
            raise MalformedError(f"{where} needs {size} bytes and has {tensor.raw + tensor.typed}")
    elif count > 2 * tensor.typed:  # a byte holds two elements at most, of 4 bits
        raise MalformedError(f"{where} needs {count} elements and has {tensor.typed} bytes")


def _check_external(tensor: _Tensor, size: int, weights: Mapping[str, int], where: str) -> None:
    if not tensor.is_external or tensor.raw is not None or tensor.typed:
        raise MalformedError(f"{where} lies in this file and in another")
    location = tensor.external.get("location", "")
    if location not in weights:
        raise MalformedError(f"{where} lies in {location!r}, which the manifest does not list for this precision")
    offset = _number(tensor.external.get("offset", "0"), where)
    length = _number(tensor.external.get("length", str(size)), where)
    if length != size:
        raise MalformedError(f"{where} needs {size} bytes and takes {length} of {location!r}")
    if offset + length > weights[location]:
        raise MalformedError(f"{where} ends at byte {offset + length} of {location!r}, which has {weights[location]}")


def _number(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise MalformedError(f"{where} has {text!r} where its offset or length should stand")
    return int(text)


def _entry_text(data: mmap.mmap, field: Field | None) -> str:
    if field is None:
        return ""
    _, _, start, stop, _ = field
    if stop - start > MAX_ENTRY:
        raise MalformedError(f"byte {start}: {stop - start} bytes in an entry of a tensor's external data")
    return read_text(data, start, stop)
