"""ALiBi attention over packed tokens: the operator `jinabert::AlibiAttention`, version 2 of the domain.

Version 1, in `alibi_operator`, is over padded batches. Inputs query, key and value (P, H) and what an
AttentionPlan gives; attributes `slopes`, one a head, and `scale` of the scores; output (P, H). Where scores are
few, all texts and heads are computed at once; else see `windowed_attention`. Bodies in standard operators, so
that any runtime can run them and a native kernel can take their place: nothing else knows them.
"""

from __future__ import annotations

import onnx
from onnxscript import script

from .attention_plan import AttentionPlan, Unpack
from .operators import domain, function_proto, op
from .windowed_attention import WindowedAttention


# Shapes as in `attention_plan`.
@script(domain, default_opset=op)
def DenseAttention(query, key, value, rows, biases, heads):  # type: ignore[no-untyped-def]  # noqa: N802
    """Packed (P, H) each, the query scaled: every text is one block; (I, L, n, d)."""
    queries = op.Transpose(op.Reshape(op.Gather(query, rows), heads), perm=[0, 2, 1, 3])  # (I, n, L, d)
    keys = op.Transpose(op.Reshape(op.Gather(key, rows), heads), perm=[0, 2, 3, 1])  # (I, n, d, L)
    values = op.Transpose(op.Reshape(op.Gather(value, rows), heads), perm=[0, 2, 1, 3])  # (I, n, L, d)
    weights = op.Softmax(op.Add(op.MatMul(queries, keys), biases), axis=-1)
    return op.Transpose(op.MatMul(weights, values), perm=[0, 2, 1, 3])


@script(domain, default_opset=op)
def AlibiAttention(  # type: ignore[no-untyped-def]  # noqa: N802
    query, key, value, positions, rows, back, key_ends, biases, heads, slopes: list[float], scale: float
):
    """Softmax over the keys j of the same text of scale * q_i . k_j - slope |i - j|, times their values."""
    scaled = op.Mul(query, op.Constant(value_float=scale))
    if op.Greater(op.Size(biases), op.Constant(value_int=0)):
        by_row = domain.DenseAttention(scaled, key, value, rows, biases, heads)
    else:
        by_row = domain.WindowedAttention(scaled, key, value, positions, rows, key_ends, slopes=slopes)
    flat = op.Concat(op.Constant(value_ints=[-1]), op.Shape(query, start=1, end=2), axis=0)
    return op.Gather(op.Reshape(by_row, flat), back)  # (P, H)


def packed_functions() -> list[onnx.FunctionProto]:
    """The bodies of this and the plan's operators, for the exported file to carry."""
    operators = (AttentionPlan, DenseAttention, WindowedAttention, AlibiAttention, Unpack)
    return [function_proto(operator) for operator in operators]
