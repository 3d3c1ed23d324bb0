"""Which token of a padded batch goes where: run once, before the layers, as `jinabert::AttentionPlan`.

Real tokens are packed without padding. Attention works on blocks of queries: whole texts, where all scores are
few enough to be computed densely, else at most QUERY_BLOCK tokens of one text. `jinabert::Unpack` puts the
result back. Bodies in standard operators; no constant depends on a length. Knows nothing of scores.
"""

from __future__ import annotations

from onnxscript import script

from .operators import domain, op

QUERY_BLOCK = 128  # queries of one block, where scores are not computed densely
DENSE_SCORES = 512 * 512  # most scores of one head, over all texts, that are computed densely
TOKEN_BLOCK = 512  # most tokens of one block of the feed-forward


# Shapes: B texts, S padded length, T real tokens, P rows (T and padding at the end), H hidden, n heads,
# d head size, I blocks of at most L rows.
@script(domain, default_opset=op)
def AttentionPlan(attention_mask, slopes: list[float]):  # type: ignore[no-untyped-def]  # noqa: N802
    """Where each real token stands, and the blocks of queries with the keys that their texts have.

    Returns:
        source (T): place of each token in the padded batch, flattened. A text whose mask is all 0 keeps its
            first token, so that there is something to compute.
        tokens (P): the same and, at the end, place 0 up to a multiple of the number of blocks of tokens.
        token_blocks (3): the shape of P rows as blocks of tokens.
        positions (T) float: each token's column in the padded batch.
        rows (I, L): the tokens of each block; shorter blocks repeat their last token. Where all is computed
            densely, a block is a text.
        back (P): each token's place in `rows`, flattened; 0 for padding.
        text_blocks (I, 2): first block and end of the text that each block is part of.
        biases (I, n, L, L) float where all is computed densely, minus infinity for repeated tokens; else (0, n, L, L).
        dense, even: whether all is computed densely; and whether packed rows are then blocks as they stand, since all
            texts have one length.
        block_shape (3): (I, L, -1).
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
    text = op.Div(source, sequence)  # (T) which text

    lengths = op.ReduceSum(op.Cast(kept, to=7), one, keepdims=0)  # (B)
    ends = op.CumSum(lengths, first)
    starts = op.Sub(ends, lengths)
    longest = op.ReduceMax(lengths, keepdims=0)
    scores = op.Mul(op.Size(lengths), op.Mul(longest, longest))
    dense = op.LessOrEqual(scores, op.Constant(value_int=DENSE_SCORES))
    most = op.Where(dense, longest, op.Constant(value_int=QUERY_BLOCK))
    blocks = op.Div(op.Sub(op.Add(lengths, most), step), most)  # (B) blocks of each text
    block = op.Div(op.Sub(op.Add(lengths, blocks), step), blocks)  # (B) rows of each of its blocks
    block_ends = op.CumSum(blocks, first)
    block_starts = op.Sub(block_ends, blocks)
    widest = op.ReduceMax(block, keepdims=0)
    width = op.Where(dense, widest, op.Add(widest, op.Mod(widest, op.Constant(value_int=2))))  # L, even in windows

    numbers = op.Range(first, op.ReduceMax(block_ends, keepdims=0), step)  # (I)
    passed = op.LessOrEqual(op.Unsqueeze(block_ends, zero), op.Unsqueeze(numbers, one))  # (I, B)
    owner = op.ReduceSum(op.Cast(passed, to=7), one, keepdims=0)  # (I) which text
    end = op.Gather(ends, owner)
    within = op.Sub(numbers, op.Gather(block_starts, owner))
    start = op.Add(op.Gather(starts, owner), op.Mul(within, op.Gather(block, owner)))
    last = op.Sub(op.Min(op.Add(start, op.Gather(block, owner)), end), step)
    slots = op.Range(first, width, step)  # (L)
    wanted = op.Add(op.Unsqueeze(start, one), slots)  # (I, L)
    rows = op.Min(wanted, op.Unsqueeze(last, one))
    text_blocks = op.Concat(
        op.Unsqueeze(op.Gather(block_starts, owner), one), op.Unsqueeze(op.Gather(block_ends, owner), one), axis=1
    )

    offset = op.Sub(op.Range(first, op.Size(source), step), op.Gather(starts, text))
    rows_a_block = op.Gather(block, text)
    place = op.Add(op.Gather(block_starts, text), op.Div(offset, rows_a_block))
    back = op.Add(op.Mul(place, width), op.Mod(offset, rows_a_block))

    shown = op.Where(dense, op.Size(numbers), first)
    head = op.Slice(rows, zero, op.Unsqueeze(shown, zero), zero)  # (I or 0, L)
    at = op.Gather(positions, head)
    apart = op.Abs(op.Sub(op.Unsqueeze(at, op.Constant(value_ints=[2])), op.Unsqueeze(at, one)))  # (I or 0, L, L)
    repeated = op.Greater(op.Slice(wanted, zero, op.Unsqueeze(shown, zero), zero), head)
    infinity = op.Constant(value_float=float("inf"))
    distances = op.Where(op.Unsqueeze(repeated, one), infinity, apart)
    slope = op.Constant(value_floats=slopes)
    biases = op.Mul(op.Unsqueeze(distances, one), op.Unsqueeze(op.Neg(slope), op.Constant(value_ints=[1, 2])))

    total = op.Size(source)
    full = op.Constant(value_int=TOKEN_BLOCK)
    count = op.Div(op.Sub(op.Add(total, full), step), full)
    token_block = op.Div(op.Sub(op.Add(total, count), step), count)
    padded = op.Mul(count, token_block)
    padding = op.Concat(zero, op.Unsqueeze(op.Sub(padded, total), zero), axis=0)
    token_blocks = op.Concat(op.Unsqueeze(count, zero), op.Unsqueeze(token_block, zero), rest, axis=0)
    token_rows = op.Concat(op.Unsqueeze(padded, zero), rest, axis=0)
    tokens = op.Pad(source, padding)
    back_padded = op.Pad(back, padding)
    even = op.And(dense, op.Equal(padded, op.Size(rows)))
    block_shape = op.Concat(op.Shape(rows), rest, axis=0)
    return (
        source, tokens, token_blocks, positions, rows, back_padded, text_blocks, biases, dense, even, block_shape,
        token_rows,
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
