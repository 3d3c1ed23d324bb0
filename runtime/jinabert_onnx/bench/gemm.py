"""An ONNX file of one matrix product, written by hand: the runtime has no package that writes such files.

Only the few fields of the format's protocol buffers that one node needs. Knows nothing of models or clocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

_TYPES = {"float32": 1, "uint8": 2, "int8": 3}  # numbers of element types in ONNX
_IR_VERSION, _OPSET = 9, 18
_BYTES = 2  # the wire type of texts, bytes and messages

Array = NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.int8]


def product_file(operator: str, domain: str, inputs: Iterable[str], rows: Array, weights: Mapping[str, Array]) -> bytes:
    """Return a model with the input "rows", of the shape and type of `rows`, and the output "product", float32.

    `inputs` are the operator's inputs in order: "rows", and names of `weights`.
    """
    node = [_field(1, name.encode()) for name in inputs]
    node += [_field(2, b"product"), _field(4, operator.encode()), _field(7, domain.encode())]
    graph = [
        _field(1, b"".join(node)),
        _field(2, b"product"),
        *(_field(5, _tensor(name, value)) for name, value in weights.items()),
        _field(11, _value("rows", str(rows.dtype), rows.shape)),
        _field(12, _value("product", "float32", None)),
    ]
    model = [
        _number(1, _IR_VERSION),
        _field(7, b"".join(graph)),
        _field(8, _number(2, _OPSET)),
        _field(8, _field(1, b"com.microsoft") + _number(2, 1)),
    ]
    return b"".join(model)


def _tensor(name: str, value: Array) -> bytes:
    dimensions = b"".join(_number(1, size) for size in value.shape)
    kind = _number(2, _TYPES[str(value.dtype)])
    return dimensions + kind + _field(8, name.encode()) + _field(9, np.ascontiguousarray(value).tobytes())


def _value(name: str, kind: str, shape: tuple[int, ...] | None) -> bytes:
    """An input or output; without a shape, any."""
    tensor = _number(1, _TYPES[kind])
    if shape is not None:
        tensor += _field(2, b"".join(_field(1, _number(1, size)) for size in shape))
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
