"""Numbers to bytes: weights, tables and rows of activations, and how much that loses. numpy only.

The bytes of weights are chosen so that no processor saturates. Without the VNNI instructions, x86 kernels add
the products of two neighbouring inputs (2i, 2i+1) in 16 bits; with activations of up to 255 that overflows,
silently, unless |w[2i]| + |w[2i+1]| <= 128 wherever both have the same sign (255 * 128 < 2^15). An output
channel's scale is raised until this holds for all its pairs: about a third above the smallest possible, for
normally distributed weights, where 7-bit weights would need twice that. Every processor then computes the
same integers.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

TABLE_BLOCK = 64  # channels that share a scale in the embedding table

Floats = NDArray[np.float32]
Bytes = NDArray[np.int8]


def quantize_weight(weight: Floats) -> tuple[Bytes, Floats]:
    """Quantise (K, N) to bytes (K, N) and the scale of each output channel (N), with every pair safe."""
    largest = np.abs(weight).max(axis=0)
    scale = np.maximum(np.maximum(largest, _largest_pair(weight)) / 127, np.float32(1e-20))
    # Rounding adds at most a half to each of a pair: 127 becomes 128 at most.
    return np.rint(weight / scale).astype(np.int8), scale.astype(np.float32)


def _largest_pair(weight: Floats) -> Floats:
    """The largest |w[2i]| + |w[2i+1]| of each output channel where both have the same sign."""
    first, second = weight[0::2], weight[1::2]
    sums = np.abs(first[: len(second)] + second)  # of different signs: less than one of them
    return sums.max(axis=0, initial=0.0)  # type: ignore[no-any-return]


def quantize_table(table: Floats) -> tuple[Bytes, NDArray[np.float16]]:
    """Quantise (V, H) to bytes (V, H) and float16 scales of blocks of at most TABLE_BLOCK channels (V, blocks)."""
    rows, hidden = table.shape
    blocks = table.reshape(rows, -1, math.gcd(hidden, TABLE_BLOCK))
    largest = np.abs(blocks).max(axis=2)
    scale = np.maximum(largest / 127, np.finfo(np.float16).tiny).astype(np.float16)
    integers = np.rint(blocks / scale[:, :, None].astype(np.float32)).clip(-127, 127)  # scale may be rounded down
    return integers.astype(np.int8).reshape(rows, hidden), scale


def quantize_rows(rows: Floats) -> Floats:
    """Round each row of (N, K) to bytes and back, as `operators.int8.QuantizeRows` does."""
    largest = np.maximum(np.abs(rows).max(axis=1, keepdims=True), np.float32(1e-20))
    return np.rint(rows / largest * 127) * (largest / 127)  # type: ignore[no-any-return]
