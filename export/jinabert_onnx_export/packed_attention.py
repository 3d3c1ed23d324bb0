"""ALiBi attention over packed tokens: the operator `jinabert::AlibiAttention`, version 2 of the domain.

Version 1, in `alibi_operator`, is over padded batches. Inputs query, key and value (P, H) and what an
AttentionPlan gives; attributes `slopes`, one a head, their number, and `scale` of the scores; output (P, H). Where
scores are few, all texts and heads are computed at once; else see `windowed_attention`. Bodies in standard
operators, so that any runtime can run them and a native kernel can take their place: nothing else knows them.
"""

from __future__ import annotations

import onnx
from onnxscript import script

from .attention_plan import AttentionPlan, Unpack
from .operators import domain, function_proto, op
from .windowed_attention import WindowedAttention


# Shapes as in `attention_plan`.
@script(domain, default_opset=op)
def DenseAttention(queries, keys, values, biases, flat, num_heads: int, scale: float):  # type: ignore[no-untyped-def]  # noqa: N802
    """Texts (I, L, H) each, of which every token reads every token; (I * L, H), whose shape `flat` is."""
    context, _, _, _ = op.Attention(
        queries, keys, values, biases, q_num_heads=num_heads, kv_num_heads=num_heads, scale=scale
    )
    # Also hides the attention's own output, whose shape onnxruntime infers wrongly and warns of.
    return op.Reshape(context, flat)


@script(domain, default_opset=op)
def AlibiAttention(  # type: ignore[no-untyped-def]  # noqa: N802
    query,
    key,
    value,
    positions,
    rows,
    back,
    text_blocks,
    biases,
    dense,
    even,
    block_shape,
    token_rows,
    slopes: list[float],
    num_heads: int,
    scale: float,
):
    """Softmax over the keys j of the same text of scale * q_i . k_j - slope |i - j|, times their values; (P, H)."""
    if even:
        context = domain.DenseAttention(
            op.Reshape(query, block_shape),
            op.Reshape(key, block_shape),
            op.Reshape(value, block_shape),
            biases,
            token_rows,
            num_heads=num_heads,
            scale=scale,
        )
    else:
        flat = op.Concat(op.Constant(value_ints=[-1]), op.Shape(query, start=1, end=2), axis=0)
        if dense:
            by_row = domain.DenseAttention(
                op.Gather(query, rows),
                op.Gather(key, rows),
                op.Gather(value, rows),
                biases,
                flat,
                num_heads=num_heads,
                scale=scale,
            )
        else:
            by_row = domain.WindowedAttention(
                query, key, value, positions, rows, text_blocks, flat, slopes=slopes, scale=scale
            )
        context = op.Gather(by_row, back)
    return context


def packed_functions() -> list[onnx.FunctionProto]:
    """The bodies of this and the plan's operators, for the exported file to carry."""
    operators = (AttentionPlan, DenseAttention, WindowedAttention, AlibiAttention, Unpack)
    return [function_proto(operator) for operator in operators]
