"""ALiBi attention over packed tokens: the operator `jinabert::AlibiAttention`, version 2 of the domain.

Version 1, in `alibi_operator`, is over padded batches. Inputs query, key and value (P, H) and what an
AttentionPlan gives; attributes `slopes`, one per head, their number, and `scale` of the scores; output (P, H).

Few scores are computed for all texts at once; more, for one text after the other, densely where it is short, else
as in `windowed_attention`. Which of the two a text gets depends on its own length only, so that it rounds alike
among any others. Bodies in standard operators, so that any runtime can run them. The file carries AttentionPlan,
AlibiAttention and Unpack with all others written out within; a native kernel can take the place of each of the three.
"""

from __future__ import annotations

import onnx
from onnxscript import script

from .attention_plan import DENSE_TOKENS, AlibiBiases, AttentionPlan, Unpack
from .domain import domain, function_proto, op
from .key_ranges import KeyBlocks, KeyRanges
from .signatures import check_bodies
from .windowed_attention import OtherBlocks, OwnBlocks, WindowedAttention


# Shapes as in `attention_plan`.
@script(domain, default_opset=op)
def DenseAttention(queries, keys, values, biases, flat, num_heads: int, scale: float):  # type: ignore[no-untyped-def]  # noqa: N802
    """Texts (B, L, H) each, of which every token reads every token; (B * L, H), whose shape `flat` is."""
    context, _, _, _ = op.Attention(
        queries, keys, values, biases, q_num_heads=num_heads, kv_num_heads=num_heads, scale=scale
    )
    # Also hides the attention's own output, whose shape onnxruntime infers wrongly and warns of.
    return op.Reshape(context, flat)


@script(domain, default_opset=op)
def TextAttention(query, key, value, positions, begin, end, slopes: list[float], scale: float):  # type: ignore[no-untyped-def]  # noqa: N802
    """One text of N tokens, the rows from `begin` to `end` of query (n, P, d), key and value (n, P + 1, d); (N, H)."""
    first = op.Constant(value_int=0)
    if op.LessOrEqual(op.Size(positions), op.Constant(value_int=DENSE_TOKENS)):
        places = op.Unsqueeze(positions, first)  # (1, N)
        none = op.Less(places, op.Constant(value_float=0.0))
        biases = domain.AlibiBiases(places, none, slopes=slopes)
        one = op.Constant(value_ints=[1])
        by_head, _, _, _ = op.Attention(
            op.Unsqueeze(op.Slice(query, begin, end, one), first),
            op.Unsqueeze(op.Slice(key, begin, end, one), first),
            op.Unsqueeze(op.Slice(value, begin, end, one), first),
            biases,
            scale=scale,
        )  # (1, n, N, d)
        flat = op.Concat(op.Shape(positions), op.Constant(value_ints=[-1]), axis=0)
        context = op.Reshape(op.Transpose(by_head, perm=[0, 2, 1, 3]), flat)
    else:
        context = domain.WindowedAttention(query, key, value, positions, begin, slopes=slopes, scale=scale)
    return context


@script(domain, default_opset=op)
def AttentionByText(query, key, value, positions, texts, slopes: list[float], scale: float):  # type: ignore[no-untyped-def]  # noqa: N802
    """Packed (P, H) each, one text after the other; (P, H), with zeros for padding."""
    zero = op.Constant(value_ints=[0])
    rest = op.Constant(value_ints=[-1])
    by_head = op.Concat(zero, op.Shape(op.Constant(value_floats=slopes)), rest, axis=0)
    size = op.Shape(query, start=1, end=2)
    no_row = op.ConstantOfShape(op.Concat(op.Constant(value_ints=[1]), size, axis=0))  # (1, H)
    queries = op.Transpose(op.Reshape(query, by_head), perm=[1, 0, 2])  # (n, P, d)
    keys = op.Transpose(op.Reshape(op.Concat(key, no_row, axis=0), by_head), perm=[1, 0, 2])  # (n, P + 1, d)
    values = op.Transpose(op.Reshape(op.Concat(value, no_row, axis=0), by_head), perm=[1, 0, 2])
    contexts = op.SequenceEmpty(dtype=1)
    for number in range(op.Squeeze(op.Shape(texts, start=0, end=1))):
        begin, end = op.Split(op.Gather(texts, number), num_outputs=2)  # (1)
        places = op.Slice(positions, begin, end, zero)
        context = domain.TextAttention(queries, keys, values, places, begin, end, slopes=slopes, scale=scale)
        contexts = op.SequenceInsert(contexts, context)
    padding = op.Sub(op.Shape(query, start=0, end=1), op.Shape(positions))
    nothing = op.ConstantOfShape(op.Concat(padding, size, axis=0))
    return op.ConcatFromSequence(op.SequenceInsert(contexts, nothing), axis=0)


@script(domain, default_opset=op)
def AlibiAttention(  # type: ignore[no-untyped-def]  # noqa: N802
    query,
    key,
    value,
    positions,
    texts,
    rows,
    back,
    biases,
    dense,
    even,
    text_shape,
    token_rows,
    slopes: list[float],
    num_heads: int,
    scale: float,
):
    """Softmax over the keys j of the same text of scale * q_i . k_j - slope |i - j|, times their values; (P, H)."""
    if even:
        context = domain.DenseAttention(
            op.Reshape(query, text_shape),
            op.Reshape(key, text_shape),
            op.Reshape(value, text_shape),
            biases,
            token_rows,
            num_heads=num_heads,
            scale=scale,
        )
    else:
        if dense:
            flat = op.Concat(op.Constant(value_ints=[-1]), op.Shape(query, start=1, end=2), axis=0)
            by_row = domain.DenseAttention(
                op.Gather(query, rows),
                op.Gather(key, rows),
                op.Gather(value, rows),
                biases,
                flat,
                num_heads=num_heads,
                scale=scale,
            )
            context = op.Gather(by_row, back)
        else:
            context = domain.AttentionByText(query, key, value, positions, texts, slopes=slopes, scale=scale)
    return context


def packed_functions() -> list[onnx.FunctionProto]:
    """Return the bodies of this, the plan's and the inner operators, to be written out where the file calls them.

    Raises:
        ExportError: a body departs from its signature.
    """
    operators = (
        AttentionPlan, AlibiBiases, DenseAttention, KeyBlocks, KeyRanges, OtherBlocks, OwnBlocks, WindowedAttention,
        TextAttention, AttentionByText, AlibiAttention, Unpack,
    )  # fmt: skip
    bodies = [function_proto(operator) for operator in operators]
    check_bodies(bodies)
    return bodies
