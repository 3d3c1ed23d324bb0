"""Attention where a head reads only the keys that can matter: `jinabert::WindowedAttention`, for long texts.

Works on one text, in blocks of queries. Each reads its own block, and the others within the range that `key_ranges`
certifies. With positions counted from the middle of the block, f for a query and e for a key outside of it,

    -m |i - j| = m sign(e_j) f_i - m |e_j|

so that two more channels of the product give scores with their bias, and no matrix of distances is made. A block's
attention to itself, computed before for all blocks at once, stands among the others as a single key: its score is the
logarithm of its weight, in a third channel, its own row and value are zeros, and what it comes to is added afterwards.
Where distances matter, their products with a slope are small and round little. Knows nothing of layers.
"""

from __future__ import annotations

from onnxscript import graph, script

from .domain import domain, op

QUERY_BLOCK = 128  # most queries of a block


# Shapes: N tokens of the text among P, n heads, d head size, I blocks of L queries, J = 2 I blocks of keys, K keys of
# a range.
@script(domain, default_opset=op)
def OtherBlocks(positions, starts, origins, width, begin, own_row):  # type: ignore[no-untyped-def]  # noqa: N802
    """What each block of queries finds outside of itself, from left to right, with one place for the block itself.

    Args:
        positions (N) float.
        starts (I, 1): place of each block, that of its first token.
        origins (I, 1) float: the middle of each block.
        width (1): L.
        begin (1): the text's first row among all.
        own_row (1): the row that stands for the block itself.

    Returns:
        rows (I, N): of the keys; without meaning at the end, where there are no more.
        channels (I, N, 3) float: sign and size of e, and 1 for the block itself.
    """
    two = op.Constant(value_ints=[2])
    one = op.Constant(value_ints=[1])
    last = op.Sub(op.Shape(positions), one)
    places = op.Range(op.Constant(value_int=0), op.Squeeze(op.Shape(positions)), op.Constant(value_int=1))  # (N)
    skipped = op.Mul(op.Cast(op.Greater(places, starts), to=7), op.Sub(width, one))
    tokens = op.Min(op.Add(places, skipped), last)  # (I, N)
    itself = op.Equal(places, starts)
    rows = op.Where(itself, own_row, op.Add(tokens, begin))
    away = op.Unsqueeze(op.Sub(op.Where(itself, origins, op.Gather(positions, tokens)), origins), two)  # (I, N, 1)
    side = op.Sign(away)
    distance = op.Abs(away)
    return rows, op.Concat(side, distance, op.Unsqueeze(op.Cast(itself, to=1), two), axis=2)


@script(domain, default_opset=op)
def OwnBlocks(queries, keys, values, distances, slope):  # type: ignore[no-untyped-def]  # noqa: N802
    """Attention of each block to itself.

    Args:
        queries, keys, values (I, L, d): queries scaled.
        distances (I, L, L) float, infinite to repeated keys.
        slope (): of the head.

    Returns:
        context (I, L, d), and the logarithm of each row's weight (I, L, 1).
    """
    rest = op.Constant(value_ints=[-1])
    products = op.MatMul(queries, op.Transpose(keys, perm=[0, 2, 1]))
    scores = op.Sub(products, op.Mul(distances, slope))  # (I, L, L)
    shares = op.Softmax(scores, axis=-1)
    # The largest share is exp(largest score) / weight.
    log_weight = op.Sub(op.ReduceMax(scores, rest), op.Log(op.ReduceMax(shares, rest)))
    return op.MatMul(shares, values), log_weight


@script(domain, default_opset=op)
def WindowedAttention(query, key, value, positions, begin, slopes: list[float], scale: float):  # type: ignore[no-untyped-def]  # noqa: N802
    """One text of N tokens at `positions` (N), whose first is row `begin` (1); (N, n * d).

    Query (n, P, d), key and value (n, P + 1, d), of which the last row is 0.
    """
    slope = op.Constant(value_floats=slopes)
    factor = op.Constant(value_float=scale)
    first = op.Constant(value_int=0)
    step = op.Constant(value_int=1)
    half = op.Constant(value_float=0.5)
    zero = op.Constant(value_ints=[0])
    one = op.Constant(value_ints=[1])
    two = op.Constant(value_ints=[2])
    rest = op.Constant(value_ints=[-1])

    # Blocks of queries, of one even length; the last repeats the last token.
    total = op.Shape(positions)
    full = op.Constant(value_ints=[QUERY_BLOCK])
    blocks = op.Div(op.Sub(op.Add(total, full), one), full)
    pairs = op.Mul(blocks, two)
    half_width = op.Div(op.Sub(op.Add(total, pairs), one), pairs)
    width = op.Mul(half_width, two)  # L
    by_block = op.Concat(blocks, width, axis=0)
    filled = op.Reshape(op.Range(first, op.Squeeze(op.Mul(blocks, width)), step), by_block)
    tokens = op.Min(filled, op.Sub(total, one))  # (I, L)
    real = op.Equal(tokens, filled)
    row_positions = op.Gather(positions, tokens)
    low, high = op.Split(op.Gather(row_positions, op.Constant(value_ints=[0, -1]), axis=1), axis=1, num_outputs=2)
    origins = op.Mul(op.Add(low, high), half)  # (I, 1)
    at = op.Unsqueeze(row_positions, two)  # (I, L, 1)
    apart = op.Abs(op.Sub(at, op.Unsqueeze(row_positions, one)))  # (I, L, L)
    distances = op.Where(op.Unsqueeze(real, one), apart, op.Constant(value_float=float("inf")))
    by_half = op.Concat(pairs, half_width, rest, axis=0)
    mean_weights, log_counts, reach, gap, key_begins, key_ends = domain.KeyBlocks(
        tokens, op.Cast(real, to=1), at, origins, by_half
    )
    starts = op.Gather(tokens, zero, axis=1)  # (I, 1)
    others, key_channels = domain.OtherBlocks(positions, starts, origins, width, begin, op.Shape(query, start=1, end=2))
    minus_one = op.Expand(op.Constant(value_float=-1.0), op.Shape(at))
    query_channels = op.Concat(op.Sub(at, op.Unsqueeze(origins, two)), minus_one, axis=2)  # (I, L, 2)
    rows = op.Add(tokens, begin)
    # Shapes with which the outputs of inner graphs get ranks that onnxruntime 1.23 does not find for itself.
    in_blocks = op.Concat(by_block, rest, axis=0)
    flat = op.Concat(width, rest, axis=0)
    queries = op.Mul(op.Gather(query, rows, axis=1), factor)  # (n, I, L, d)

    @graph()
    def attend_head(q_blocks, k_head, v_head, m):  # type: ignore[no-untyped-def]
        k_blocks = op.Gather(k_head, rows)
        own_context, own_weight = domain.OwnBlocks(q_blocks, k_blocks, op.Gather(v_head, rows), distances, m)
        key_blocks = op.Reshape(k_blocks, by_half)  # (J, L / 2, d)
        left, right = domain.KeyRanges(
            q_blocks, key_blocks, own_weight, mean_weights, log_counts, reach, gap, key_begins, key_ends, m
        )
        # As places among the others, with the block's own.
        begins = op.Min(left, starts)
        ends = op.Max(op.Sub(op.Add(right, one), width), op.Add(starts, one))
        own_places = op.Sub(starts, begins)

        @graph()
        def attend_block(q_block, block_others, channels, range_begin, range_end, own_place):  # type: ignore[no-untyped-def]
            window = op.Slice(block_others, range_begin, range_end)  # (K); gathering is parallel, slicing is not
            keys = op.Concat(op.Gather(k_head, window), op.Slice(channels, range_begin, range_end), axis=1)
            weights = op.Softmax(op.Gemm(q_block, keys, transB=1), axis=-1)  # (L, K)
            own_share = op.Reshape(op.Gather(weights, own_place, axis=1), flat)  # (L, 1)
            return own_share, op.Reshape(op.MatMul(weights, op.Gather(v_head, window)), flat)  # (L, d)

        extended = op.Concat(q_blocks, op.Mul(query_channels, m), own_weight, axis=-1)  # (I, L, d + 3)
        own_shares, context = op.Scan(
            extended, others, key_channels, begins, ends, own_places, body=attend_block, num_scan_inputs=6
        )
        return op.Reshape(op.Add(context, op.Mul(own_shares, own_context)), in_blocks)

    contexts = op.Scan(queries, key, value, slope, body=attend_head, num_scan_inputs=4)  # (n, I, L, d)
    joined = op.Reshape(op.Transpose(contexts, perm=[1, 2, 0, 3]), op.Concat(op.Mul(blocks, width), rest, axis=0))
    return op.Slice(joined, zero, total, zero)  # of (I * L, n * d)
