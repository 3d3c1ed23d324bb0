"""Which token of a padded batch goes where: run once, before the layers, as `jinabert::AttentionPlan`.

Real tokens are packed without padding. Where scores are few, attention works on whole texts, side by side; else on
one text after the other. `jinabert::Unpack` puts the result back. Bodies in standard operators; no constant depends
on a length. Knows nothing of scores.
"""

from __future__ import annotations

from onnxscript import script

from .domain import domain, op

DENSE_TOKENS = 512  # longest text computed densely; its square: most scores of a head, of texts side by side
TOKEN_BLOCK = 512  # most tokens of one block of the feed-forward


# Shapes: B texts, S padded length, T real tokens, P rows (T and padding at the end), H hidden, n heads,
# d head size, L longest text where texts are computed side by side, else 0.
@script(domain, default_opset=op)
def AlibiBiases(positions, repeated, slopes: list[float]):  # type: ignore[no-untyped-def]  # noqa: N802
    """Minus slope times distance of every two tokens (B, L) of a text, minus infinity for `repeated` keys (B, L).

    (B, n, L, L).
    """
    one = op.Constant(value_ints=[1])
    apart = op.Abs(op.Sub(op.Unsqueeze(positions, op.Constant(value_ints=[2])), op.Unsqueeze(positions, one)))
    distances = op.Where(op.Unsqueeze(repeated, one), op.Constant(value_float=float("inf")), apart)  # (B, L, L)
    negative = op.Neg(op.Constant(value_floats=slopes))
    return op.Mul(op.Unsqueeze(distances, one), op.Unsqueeze(negative, op.Constant(value_ints=[1, 2])))


@script(domain, default_opset=op)
def AttentionPlan(attention_mask, slopes: list[float]):  # type: ignore[no-untyped-def]  # noqa: N802
    """Where each real token stands, and how texts are to be computed.

    Returns:
        source (T): place of each token in the padded batch, flattened. A text whose mask is all 0 keeps its
            first token, so that there is something to compute.
        tokens (P): the same and, at the end, place 0 up to a multiple of the number of blocks of tokens.
        token_blocks (3): the shape of P rows as blocks of tokens.
        positions (T) float: each token's column in the padded batch.
        texts (B, 2): first token and end of each text.
        rows (B, L): the tokens of each text; shorter ones repeat their last token. Empty unless `dense`.
        back (P): each token's place in `rows`, flattened; 0 for padding. Without meaning unless `dense`.
        biases (B, n, L, L) float, minus infinity for repeated tokens. Empty unless `dense`.
        dense, even: whether texts are computed side by side; and whether packed rows are then texts as they stand,
            since all have one length and no padding follows.
        text_shape (3): (B, L, -1).
        token_rows (2): (P, -1).
    """
    zero = op.Constant(value_ints=[0])
    one = op.Constant(value_ints=[1])
    rest = op.Constant(value_ints=[-1])
    first = op.Constant(value_int=0)
    step = op.Constant(value_int=1)
    sequence = op.Shape(attention_mask, start=1, end=2)
    columns = op.Range(first, op.Squeeze(sequence), step)  # (S)
    seen = op.Greater(attention_mask, first)
    empty = op.LessOrEqual(op.ReduceMax(attention_mask, one), first)  # (B, 1)
    kept = op.Or(seen, op.And(empty, op.Equal(columns, first)))  # (B, S)
    source = op.Reshape(op.NonZero(op.Reshape(kept, rest)), rest)  # (T)
    positions = op.Cast(op.Mod(source, sequence), to=1)
    total = op.Size(source)

    lengths = op.ReduceSum(op.Cast(kept, to=7), one)  # (B, 1)
    ends = op.CumSum(lengths, first)
    starts = op.Sub(ends, lengths)
    texts = op.Concat(starts, ends, axis=1)
    longest = op.ReduceMax(lengths, keepdims=0)
    scores = op.Mul(op.Size(lengths), op.Mul(longest, longest))
    dense = op.LessOrEqual(scores, op.Constant(value_int=DENSE_TOKENS * DENSE_TOKENS))
    width = op.Where(dense, longest, first)  # L
    wanted = op.Add(starts, op.Range(first, width, step))  # (B, L)
    last = op.Sub(ends, step)
    rows = op.Min(wanted, last)
    biases = domain.AlibiBiases(op.Gather(positions, rows), op.Greater(wanted, last), slopes=slopes)

    text = op.Div(source, sequence)  # (T) which text
    offset = op.Sub(op.Range(first, total, step), op.Gather(op.Squeeze(starts, one), text))
    back = op.Add(op.Mul(text, width), offset)

    full = op.Constant(value_int=TOKEN_BLOCK)
    count = op.Div(op.Sub(op.Add(total, full), step), full)
    token_block = op.Div(op.Sub(op.Add(total, count), step), count)
    padded = op.Mul(count, token_block)
    padding = op.Concat(zero, op.Unsqueeze(op.Sub(padded, total), zero), axis=0)
    token_blocks = op.Concat(op.Unsqueeze(count, zero), op.Unsqueeze(token_block, zero), rest, axis=0)
    token_rows = op.Concat(op.Unsqueeze(padded, zero), rest, axis=0)
    tokens = op.Pad(source, padding)
    back_padded = op.Pad(back, padding)
    no_padding = op.And(op.Equal(total, op.Size(rows)), op.Equal(padded, total))
    even = op.And(dense, no_padding)
    text_shape = op.Concat(op.Shape(rows), rest, axis=0)
    return (
        source, tokens, token_blocks, positions, texts, rows, back_padded, biases, dense, even, text_shape, token_rows,
    )  # fmt: skip


@script(domain, default_opset=op)
def Unpack(hidden, source, input_ids):  # type: ignore[no-untyped-def]  # noqa: N802
    """Packed rows (P, H) back to the padded batch (B, S, H), with 0 where there is no real token."""
    zero = op.Constant(value_ints=[0])
    rest = op.Constant(value_ints=[-1])
    size = op.Shape(hidden, start=1, end=2)
    flat = op.Reshape(op.Size(input_ids), op.Constant(value_ints=[1]))
    empty = op.ConstantOfShape(op.Concat(flat, size, axis=0))
    real = op.Slice(hidden, zero, op.Shape(source), zero)
    filled = op.ScatterND(empty, op.Unsqueeze(source, rest), real)
    return op.Reshape(filled, op.Concat(op.Shape(input_ids), size, axis=0))
