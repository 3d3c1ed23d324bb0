"""The ONNX operator `jinabert::AlibiAttention`, with a body in standard operators that every runtime inlines.

Inputs query, key, value (batch, sequence, hidden) and key_mask, bool (batch, sequence); attribute `slopes`,
one per head; output (batch, sequence, hidden). The same arithmetic as `encoder.alibi.alibi_attention`. No constant
depends on a length. A faster body, or a native kernel, can take this one's place: nothing else knows it.
"""

from __future__ import annotations

from typing import Any

import onnx
from onnxscript import graph, opset23, script
from onnxscript.values import Opset

DOMAIN = "jinabert"
DOMAIN_VERSION = 1
QUERY_BLOCK = 128  # most queries at a time; 64 to 256 are equally fast, and memory grows with it

op: Any = opset23  # the operators' own types do not know that shapes are int64


# The names in the script become names in the exported file. Shapes: B batch, S sequence, H hidden,
# n heads, d head size, blocks * block = S rounded up by less than `blocks` rows of padding.
@script(Opset(DOMAIN, DOMAIN_VERSION), default_opset=op)
def AlibiAttention(query, key, value, key_mask, slopes: list[float]):  # type: ignore[no-untyped-def]  # noqa: N802
    """ALiBi attention of every query over the visible keys."""
    slope = op.Constant(value_floats=slopes)
    heads = op.Shape(slope)
    zero = op.Constant(value_ints=[0])
    one = op.Constant(value_ints=[1])
    rest = op.Constant(value_ints=[-1])
    batch = op.Shape(query, start=0, end=1)
    sequence = op.Shape(query, start=1, end=2)
    hidden = op.Shape(query, start=2, end=3)
    by_head = op.Concat(zero, zero, heads, rest, axis=0)
    keys = op.Transpose(op.Reshape(key, by_head), perm=[0, 2, 3, 1])  # (B, n, d, S)
    values = op.Transpose(op.Reshape(value, by_head), perm=[0, 2, 1, 3])  # (B, n, S, d)

    full_block = op.Constant(value_ints=[QUERY_BLOCK])
    blocks = op.Div(op.Sub(op.Add(sequence, full_block), one), full_block)
    block = op.Div(op.Sub(op.Add(sequence, blocks), one), blocks)
    padded_sequence = op.Mul(blocks, block)
    head_size = op.Cast(op.Div(hidden, heads), to=1)
    scaled = op.Mul(query, op.CastLike(op.Reciprocal(op.Sqrt(head_size)), query))
    padding = op.Concat(zero, op.Sub(padded_sequence, sequence), axis=0)
    padded = op.Pad(scaled, padding, None, one)  # (B, blocks * block, H)
    by_block = op.Concat(batch, blocks, block, heads, rest, axis=0)
    queries = op.Transpose(op.Reshape(padded, by_block), perm=[1, 0, 3, 2, 4])  # (blocks, B, n, block, d)

    first = op.Constant(value_int=0)
    step = op.Constant(value_int=1)
    block_length = op.Squeeze(block)
    starts = op.Mul(op.Range(first, op.Squeeze(blocks), step), block_length)  # (blocks)
    rows = op.Unsqueeze(op.Range(first, block_length, step), rest)  # (block, 1)
    columns = op.Unsqueeze(op.Range(first, op.Squeeze(sequence), step), zero)  # (1, S)
    offsets = op.Sub(columns, rows)  # (block, S)
    negative_slopes = op.Unsqueeze(op.Neg(slope), op.Constant(value_ints=[1, 2]))  # (n, 1, 1)
    visible = op.Unsqueeze(key_mask, op.Constant(value_ints=[1, 2]))  # (B, 1, 1, S)
    lowest = op.Constant(value_float=-3.4028234663852886e38)
    joined = op.Concat(zero, zero, rest, axis=0)

    @graph()
    def attend(query_block, start):  # type: ignore[no-untyped-def]
        scores = op.Cast(op.MatMul(query_block, keys), to=1)  # (B, n, block, S) float32
        distances = op.Cast(op.Abs(op.Sub(offsets, start)), to=1)  # (block, S)
        biased = op.Add(scores, op.Mul(negative_slopes, distances))
        weights = op.Softmax(op.Where(visible, biased, lowest), axis=-1)
        context = op.MatMul(op.CastLike(weights, values), values)  # (B, n, block, d)
        return op.Reshape(op.Transpose(context, perm=[0, 2, 1, 3]), joined)  # (B, block, H)

    contexts = op.Scan(queries, starts, body=attend, num_scan_inputs=2)  # (blocks, B, block, H)
    merged = op.Reshape(op.Transpose(contexts, perm=[1, 0, 2, 3]), op.Concat(batch, padded_sequence, hidden, axis=0))
    return op.Slice(merged, zero, sequence, one)  # (B, S, H)


def attention_function() -> onnx.FunctionProto:
    """Return the operator's portable body, in standard operators, for the exported file to carry."""
    return AlibiAttention.to_function_proto()
