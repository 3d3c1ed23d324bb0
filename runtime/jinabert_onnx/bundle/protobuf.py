"""A reader of protobuf's wire format that finds fields and skips their contents.

It allocates nothing by what the bytes claim. Knows no messages: what a field means is for those who read it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping

MAX_FIELDS = 100_000  # in a file; our ONNX files have 9,000

VARINT, LENGTH_DELIMITED = 0, 2  # wire types
_FIXED = {1: 8, 5: 4}  # bytes of the others that protobuf still writes

# number, wire type, where the contents start and stop, and the value of a varint (else 0); plain for speed
Field = tuple[int, int, int, int, int]


class MalformedError(Exception):
    """Says in words what is wrong with a file."""


def read_fields(data: mmap.mmap, start: int, stop: int, field_budget: Iterator[int]) -> Iterator[Field]:
    """Yield the fields of the message `data[start:stop]`.

    `field_budget` is advanced once a field, over a whole file, and runs out where that has too many.

    Raises:
        MalformedError: these bytes are no message, or the file has more than `MAX_FIELDS`.
    """
    position = start
    for _ in field_budget:
        if position == stop:
            return
        tag, begin = read_varint(data, position, stop)
        number, wire_type, value = tag >> 3, tag & 7, 0
        if wire_type == LENGTH_DELIMITED:
            length, begin = read_varint(data, begin, stop)
            position = begin + length
        elif wire_type == VARINT:
            value, position = read_varint(data, begin, stop)
        elif wire_type in _FIXED:
            position = begin + _FIXED[wire_type]
        else:
            raise MalformedError(f"byte {begin}: no field begins like this")
        if position > stop or not 0 < number < 2**29:
            raise MalformedError(
                f"byte {begin}: field {number} of {position - begin} bytes, where {stop - begin} are left"
            )
        yield number, wire_type, begin, position, value
    raise MalformedError(f"more than {MAX_FIELDS} fields")


def read_varint(data: mmap.mmap, position: int, stop: int) -> tuple[int, int]:
    """Read a number of up to 64 bits, seven a byte, lowest first; return it and where it ends.

    Raises:
        MalformedError: it is cut short or larger.
    """
    if position < stop and data[position] < 0x80:  # nearly all
        return data[position], position + 1
    value = 0
    for shift in range(0, 70, 7):
        if position >= stop:
            raise MalformedError(f"byte {position}: cut short within a number")
        byte = data[position]
        position += 1
        if byte < 0x80:
            value |= byte << shift
            if value < 2**64:
                return value, position
            break
        value |= (byte & 0x7F) << shift
    raise MalformedError(f"byte {position}: a number of more than 64 bits")


def read_text(data: mmap.mmap, start: int, stop: int) -> str:
    """Decode `data[start:stop]`; bytes that are not UTF-8 become escapes."""
    return data[start:stop].decode("utf-8", "backslashreplace")


def group_fields(fields: Iterable[Field]) -> dict[int, list[Field]]:
    """Group the fields of a message by their numbers."""
    fields_by_number: dict[int, list[Field]] = {}
    for field in fields:
        fields_by_number.setdefault(field[0], []).append(field)
    return fields_by_number


def single_field(fields_by_number: Mapping[int, list[Field]], number: int, wire_type: int) -> Field | None:
    """Return the field of this number, if there is one; of two, protobuf would take the last.

    Raises:
        MalformedError: there are two, or it is of another wire type.
    """
    if number not in fields_by_number:
        return None
    if len(fields_by_number[number]) > 1:
        raise MalformedError(f"a message holds field {number} twice")
    (field,) = fields_by_number[number]
    require_wire_type(field[1], wire_type, field[2])
    return field


def require_wire_type(wire_type: int, required: int, position: int) -> None:
    """Refuse a field that is written in another way than its message defines.

    Raises:
        MalformedError: it is.
    """
    if wire_type != required:
        raise MalformedError(f"byte {position}: a field is written as type {wire_type} where {required} is meant")
