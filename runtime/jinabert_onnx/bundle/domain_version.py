"""The version of the `jinabert` operators that an ONNX file was written for. Knows nothing of what they compute."""

from __future__ import annotations

import mmap
from pathlib import Path

from jinabert_onnx.foreign_errors import is_from_reading

from .protobuf import (
    LENGTH_DELIMITED,
    MAX_FIELDS,
    VARINT,
    MalformedError,
    group_fields,
    read_fields,
    read_text,
    single_field,
)

_DOMAIN = "jinabert"
_OPSET_IMPORT, _NAME, _VERSION = 8, 1, 2  # of ONNX's ModelProto, and of the OperatorSetIdProto in it


def read_domain_version(path: Path) -> int | None:
    """Return the version of the `jinabert` domain that the file at `path` imports.

    None where it imports none, and where the file cannot be read: onnxruntime says what is wrong with it.
    """
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _find_version(data)
    except MalformedError:
        return None
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        if not is_from_reading(error):
            raise
        return None


def _find_version(data: mmap.mmap) -> int | None:
    field_budget = iter(range(MAX_FIELDS))
    for number, wire_type, start, stop, _ in read_fields(data, 0, len(data), field_budget):
        if number != _OPSET_IMPORT or wire_type != LENGTH_DELIMITED:
            continue
        grouped = group_fields(read_fields(data, start, stop, field_budget))
        name = single_field(grouped, _NAME, LENGTH_DELIMITED)
        version = single_field(grouped, _VERSION, VARINT)
        if name and version and read_text(data, name[2], name[3]) == _DOMAIN:
            return version[4]
    return None
