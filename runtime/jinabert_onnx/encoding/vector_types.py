"""Float32 vectors in smaller types, and how similar vectors of each type are, in numpy.

Knows nothing of texts, models or files: what int8 and uint8 tell apart is the bundle's, see `limit_for`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.errors import InputError, InputTypeError

from .pooling import Vectors, normalize

AnyVectors = NDArray[Any]  # vectors of any of the types

_STORED: dict[str, type[np.number[Any]]] = {  # what an array of each type is made of
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "uint8": np.uint8,
    "binary": np.int8,
    "ubinary": np.uint8,
}
OUTPUT_DTYPES = tuple(_STORED)

_LARGEST = 127  # of int8, either way: -128 is left out, so that a vector's opposite is its negative
_MIDDLE = 128  # of uint8: where 0 lies
_ROWS = 4096  # of the second operand that are float32 at a time: an index keeps its size while it is searched


def limit_for(limits: Mapping[str, float], normalized: bool, dimensions: int, hidden: int) -> float:
    """Return the largest value that int8 and uint8 tell apart, of vectors cut to `dimensions` of `hidden` channels.

    `limits` are the manifest's `vector_limits`; `normalized` says whether the caller scales to length 1 after the
    cut. Cutting leaves raw values as they are. Scaled to length 1 again, fewer channels hold larger values: by
    sqrt(hidden / dimensions) where all channels are alike, and never more than 1.
    """
    if not normalized:
        return limits["raw"]
    return min(1.0, limits["normalized"] * math.sqrt(hidden / dimensions))


def stored_width(dimensions: int, output_dtype: str) -> int:
    """Return how many numbers `convert` makes of so many channels."""
    return dimensions // 8 if _is_packed(output_dtype) else dimensions


def empty_vectors(dimensions: int, output_dtype: str) -> AnyVectors:
    """Return no vectors, (0, width), of the type and width that `convert` makes."""
    return np.empty((0, stored_width(dimensions, output_dtype)), dtype=_STORED[output_dtype])


def require_convertible(output_dtype: str, dimensions: int) -> None:
    """Refuse what `convert` would refuse of vectors of any values, before a model runs.

    Raises:
        InputError: `output_dtype` is unknown, or is binary or ubinary and 8 does not divide `dimensions`.
    """
    _require_known(output_dtype)
    if _is_packed(output_dtype) and dimensions % 8:
        raise InputError(
            f"{output_dtype} vectors hold 8 dimensions per byte, and {dimensions} is not a multiple of 8; "
            "choose a truncate_dim that is",
            argument="truncate_dim",
        )


def convert(vectors: Vectors, output_dtype: str, limit: float) -> AnyVectors:
    """Convert vectors to another type, each value by itself: neither other rows nor other channels change it.

    Args:
        vectors: float32 (d,) or (n, d).
        output_dtype: one of `OUTPUT_DTYPES`.
            "float32": `vectors` itself.
            "float16": the nearest, to three digits.
            "int8": value / limit * 127, rounded, from -127 to 127; what lies beyond the limit is cut to it. All
                channels have one limit, so dot products are those of float32 but for a factor and the rounding, in any
                index. Sentence-transformers shifts and scales each channel by a range of its own: there they are not.
            "uint8": int8 plus 128: distances are those of int8, dot products are not.
            "ubinary": a bit a value, 1 above 0, eight a byte, the first value in the highest bit: (n, d / 8).
            "binary": ubinary minus 128, as int8. Both are the layout of sentence-transformers.
        limit: the largest value that int8 and uint8 tell apart, of `limit_for`; not used by other types.

    Raises:
        InputError: what `require_convertible` refuses, NaN or infinity, a value too large for float16, or a limit that
            is not a positive float32.
    """
    require_convertible(output_dtype, vectors.shape[-1])
    _require_finite(vectors, "holds NaN or infinity; the model or its input is damaged")
    if output_dtype == "float16":
        return _halve(vectors)
    if output_dtype in ("int8", "uint8"):
        steps = _steps(vectors, limit)
        return steps.astype(np.int8) if output_dtype == "int8" else (steps + _MIDDLE).astype(np.uint8)
    if _is_packed(output_dtype):
        bits = np.packbits(vectors > 0, axis=-1)  # (n, d / 8) uint8
        return bits if output_dtype == "ubinary" else (bits ^ 0x80).view(np.int8)  # minus 128 is the highest bit
    return vectors


def similarity(first: AnyVectors, second: AnyVectors, output_dtype: str) -> Vectors:
    """Compute how similar each vector of `first` is to each of `second`, float32 (n, m), from -1 to 1.

    Cosines, for binary types too: of vectors of -1 and 1 in place of the bits, which is 1 - 2 * (bits that differ) / d,
    where d is 8 times the width of an array. A vector of zeros has similarity 0, but its bits are all -1.

    Args:
        first: (width,) or (n, width), of the type that `convert` makes; for "float32" any floating type.
        second: (width,) or (m, width), of the same type.
        output_dtype: one of `OUTPUT_DTYPES`.

    Raises:
        InputError: `output_dtype` is unknown, or the arrays are not vectors of one width.
        InputTypeError: an array is not of that type.
    """
    rows, columns = (_as_rows(vectors, output_dtype) for vectors in (first, second))
    if rows.shape[1] != columns.shape[1]:
        raise InputError(
            f"vectors of width {rows.shape[1]} and {columns.shape[1]} cannot be compared; use one truncate_dim for both"
        )
    directions = _directions(rows, output_dtype)  # (n, d)
    similarities = np.empty((len(rows), len(columns)), dtype=np.float32)
    for start in range(0, len(columns), _ROWS):
        block = slice(start, start + _ROWS)
        similarities[:, block] = directions @ _directions(columns[block], output_dtype).T
    if _is_packed(output_dtype):
        similarities /= directions.shape[1]  # last: sums of -1 and 1 are exact
    return similarities


def _require_known(output_dtype: str) -> None:
    if output_dtype not in OUTPUT_DTYPES:
        raise InputError(
            f"output_dtype {output_dtype!r} is unknown; use one of {', '.join(OUTPUT_DTYPES)}", argument="output_dtype"
        )


def _is_packed(output_dtype: str) -> bool:
    return output_dtype in ("binary", "ubinary")


def _require_finite(vectors: AnyVectors, complaint: str) -> None:
    finite = np.isfinite(np.atleast_2d(vectors)).all(axis=1)
    if not finite.all():
        raise InputError(f"vector {int(np.argmin(finite))} {complaint}")


def _halve(vectors: Vectors) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):  # said below, with the row
        halves = vectors.astype(np.float16)
    _require_finite(halves, "is beyond float16, which ends at 65504; use float32, or normalize_embeddings")
    return halves


def _steps(vectors: Vectors, limit: float) -> Vectors:
    """Round to whole numbers from -127 to 127."""
    bounds = np.finfo(np.float32)
    if not float(bounds.tiny) <= limit <= float(bounds.max):
        raise InputError(f"limit is {limit}; it must be a positive float32, see limit_for")
    largest = np.float32(limit)
    steps: Vectors = np.rint(np.clip(vectors, -largest, largest) / largest * np.float32(_LARGEST))
    return steps


def _as_rows(vectors: AnyVectors, output_dtype: str) -> AnyVectors:
    """Return (n, width), checked to be of the type."""
    _require_known(output_dtype)
    rows = np.atleast_2d(np.asarray(vectors))
    stored = np.floating if output_dtype == "float32" else _STORED[output_dtype]
    if not np.issubdtype(rows.dtype, stored):
        raise InputTypeError(
            f"vectors are {rows.dtype}, and {output_dtype} ones are {_STORED[output_dtype].__name__}; "
            "name the output_dtype they were made with"
        )
    if rows.ndim != 2:
        raise InputError(f"vectors have shape {list(rows.shape)}; give one (d,), or rows (n, d)")
    return rows


def _directions(rows: AnyVectors, output_dtype: str) -> Vectors:
    """Return (n, d) float32, whose dot products are similarities; for binary types d times as much."""
    if _is_packed(output_dtype):
        # Binary differs from ubinary by the highest bit, in both operands: the products are the same.
        return np.unpackbits(rows.view(np.uint8), axis=1).astype(np.float32) * 2 - 1
    shift = _MIDDLE if output_dtype == "uint8" else 0
    return normalize(rows.astype(np.float32) - np.float32(shift))
