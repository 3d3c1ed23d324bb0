"""Attention where a head reads only the keys that can matter: `jinabert::WindowedAttention`, for long texts.

Every head of every block of queries reads one contiguous range of keys, certified to leave out no more than
EPSILON of any row's weight:

    score(i, j) = q_i . k_j - m |i - j|, with q scaled by 1 / sqrt(head size); row i has weight sum_j exp(score(i, j))

Works on one text. Keys are taken in blocks J, halves of the blocks of queries, with mean c and radius
r = max |k_j - c|. By Cauchy and Schwarz, with gap(i, J) the distance from i to the nearest key of J and n keys in
J, the weight of block J is at most

    upper(i, J) = exp(q_i . c + |q_i| r - m gap(i, J)) min(n, 2 / (1 - exp(-m)))

(keys at different distances form a geometric series on either side of i). For a block I of queries let
w(J) = n exp(-m d(J)), with d the distance of the middles of I and J and half the extent of both: no query of I is
farther from a key of J. The row's weight is at least

    lower(i) = max(exp(q_i . k_i), Z exp(q_i . sum_J w(J) c_J / Z)), with Z = sum_J w(J)

where the second is by Jensen's inequality, over all keys of J with the weight exp(-m d(J)) each. Blocks are left
out from both ends as long as the sum over the left-out blocks of max_i upper(i, J) / lower(i) stays below half of
EPSILON at each end. Nothing is assumed of the weights: huge scores make wide ranges, never wrong ones.

Rounding: r is raised by 2e-5 of the largest key, several times what floats change in sums of 64 terms, and 2e-3 of
EPSILON is kept back for what they change in distances times slopes. Knows nothing of layers.
"""

from __future__ import annotations

from onnxscript import graph, script

from .operators import domain, op

EPSILON = 1e-7  # most of a row's weight that is left out
MARGIN = 2e-5  # of the largest key, added to every radius
ALLOWED = 0.499 * EPSILON  # at each end
QUERY_BLOCK = 128  # most queries of a block


# Shapes: N tokens, H hidden, n heads, d head size, I blocks of L queries, J = 2 I blocks of keys.
@script(domain, default_opset=op)
def WindowedAttention(query, key, value, positions, flat, slopes: list[float], scale: float):  # type: ignore[no-untyped-def]  # noqa: N802
    """One text, (N, H) each, with its positions (N); (N, H), of which `flat` is the shape with -1 for N."""
    slope = op.Constant(value_floats=slopes)
    factor = op.Constant(value_float=scale)
    first = op.Constant(value_int=0)
    step = op.Constant(value_int=1)
    half = op.Constant(value_float=0.5)
    margin_share = op.Constant(value_float=MARGIN)
    allowed = op.Constant(value_float=ALLOWED)
    zero = op.Constant(value_ints=[0])
    one = op.Constant(value_ints=[1])
    two = op.Constant(value_ints=[2])
    rest = op.Constant(value_ints=[-1])
    ends = op.Constant(value_ints=[0, -1])

    # Blocks of queries, of one even length; the last repeats the last token.
    total = op.Shape(positions)
    full = op.Constant(value_ints=[QUERY_BLOCK])
    blocks = op.Div(op.Sub(op.Add(total, full), one), full)
    pairs = op.Mul(blocks, two)
    width = op.Mul(op.Div(op.Sub(op.Add(total, pairs), one), pairs), two)  # L
    numbers = op.Range(first, op.Squeeze(total), step)  # (N)
    filled = op.Range(first, op.Squeeze(op.Mul(blocks, width)), step)
    tokens = op.Min(filled, op.Sub(op.Squeeze(total), step))
    rows = op.Reshape(tokens, op.Concat(blocks, width, axis=0))  # (I, L)
    row_positions = op.Gather(positions, rows)
    low, high = op.Split(op.Gather(row_positions, ends, axis=1), axis=1, num_outputs=2)  # (I, 1) first and last
    origins = op.Mul(op.Add(low, high), half)  # (I, 1)
    at = op.Unsqueeze(row_positions, two)  # (I, L, 1)
    from_origin = op.Sub(at, op.Unsqueeze(origins, two))

    # Blocks of keys, of which repeats are none.
    by_half = op.Concat(pairs, rest, axis=0)
    key_rows = op.Reshape(tokens, by_half)  # (J, L / 2)
    real = op.Cast(op.Reshape(op.Equal(tokens, filled), by_half), to=1)
    counts = op.ReduceSum(real, one)  # (J, 1)
    mean_weights = op.Unsqueeze(op.Div(real, op.Max(counts, op.Constant(value_float=1.0))), one)  # (J, 1, L / 2)
    log_counts = op.Transpose(op.Log(counts), perm=[1, 0])  # (1, J) minus infinity for blocks without keys
    key_bounds = op.Gather(op.Gather(positions, key_rows), ends, axis=1)
    key_low, key_high = op.Split(op.Transpose(key_bounds, perm=[1, 0]), axis=0, num_outputs=2)  # (1, J)
    key_begins, key_ends = op.Split(op.Gather(key_rows, ends, axis=1), axis=1, num_outputs=2)  # (J, 1) tokens
    middle = op.Mul(op.Add(key_low, key_high), half)  # (1, J)
    extent = op.Mul(op.Sub(key_high, key_low), half)
    reach = op.Add(op.Add(op.Abs(op.Sub(middle, origins)), extent), op.Mul(op.Sub(high, low), half))  # (I, J)
    gap = op.Relu(op.Sub(op.Abs(op.Sub(at, middle)), extent))  # (I, L, J)

    @graph()
    def attend_head(q_head, k_head, v_head, m):  # type: ignore[no-untyped-def]
        # (N, d) each and the slope
        q_blocks = op.Mul(op.Gather(q_head, rows), factor)  # (I, L, d)
        k_blocks = op.Gather(k_head, key_rows)  # (J, L / 2, d)
        centre = op.MatMul(mean_weights, k_blocks)  # (J, 1, d)
        radius = op.Sqrt(op.ReduceMax(op.ReduceSumSquare(op.Sub(k_blocks, centre), two), one))  # (J, 1, 1)
        largest_key = op.ReduceMax(op.Add(radius, op.Sqrt(op.ReduceSumSquare(centre, two))), keepdims=0)
        centres = op.Squeeze(centre, one)  # (J, d)
        radii = op.Squeeze(op.Add(radius, op.Mul(margin_share, largest_key)), one)  # (J, 1)

        log_weights = op.Sub(log_counts, op.Mul(reach, m))  # (I, J)
        log_total = op.ReduceLogSumExp(log_weights, one)  # (I, 1) log Z
        shares = op.Softmax(log_weights, axis=1)
        typical = op.Unsqueeze(op.MatMul(shares, centres), two)  # (I, d, 1)
        jensen = op.Add(op.MatMul(q_blocks, typical), op.Unsqueeze(log_total, two))  # (I, L, 1)
        itself = op.ReduceSum(op.Mul(q_blocks, op.Reshape(k_blocks, op.Shape(q_blocks))), two)  # (I, L, 1)
        lower = op.Max(itself, jensen)
        q_norm = op.Sqrt(op.ReduceSumSquare(q_blocks, two))  # (I, L, 1)

        # One product gives (q . c + |q| r - lower) / m, from which gaps are taken.
        q_side = op.Concat(q_blocks, q_norm, lower, axis=-1)  # (I, L, d + 2)
        minus_one = op.Expand(op.Constant(value_float=-1.0), op.Shape(radii))
        k_side = op.Transpose(op.Div(op.Concat(centres, radii, minus_one, axis=-1), m), perm=[1, 0])  # (d + 2, J)
        above = op.ReduceMax(op.Sub(op.MatMul(q_side, k_side), gap), one, keepdims=0)  # (I, J)
        sides = op.Div(op.Constant(value_float=2.0), op.Sub(op.Constant(value_float=1.0), op.Exp(op.Neg(m))))
        share = op.Add(op.Mul(above, m), op.Min(log_counts, op.Log(sides)))  # logarithm
        weight = op.Exp(op.Min(share, op.Constant(value_float=1.0)))  # (I, J)
        from_left = op.LessOrEqual(op.CumSum(weight, step), allowed)
        from_right = op.LessOrEqual(op.CumSum(weight, step, reverse=1), allowed)
        left = op.ReduceSum(op.Cast(from_left, to=7), one, keepdims=0)  # (I) blocks of keys left out at the left
        right = op.Sub(op.Sub(pairs, one), op.ReduceSum(op.Cast(from_right, to=7), one, keepdims=0))
        begins = op.Gather(key_begins, left)  # (I, 1)
        finishes = op.Add(op.Gather(key_ends, right), one)

        @graph()
        def attend_block(q_block, row_offsets, origin, begin, finish):  # type: ignore[no-untyped-def]
            window = op.Slice(numbers, begin, finish)  # (keys); gathering is parallel, slicing is not
            key_offsets = op.Mul(op.Sub(op.Gather(positions, window), origin), m)
            distances = op.Abs(op.Sub(row_offsets, key_offsets))  # (L, keys)
            scores = op.Gemm(q_block, op.Gather(k_head, window), distances, beta=-1.0, transB=1)  # (L, keys)
            return op.MatMul(op.Softmax(scores, axis=-1), op.Gather(v_head, window))  # (L, d)

        # Distances are counted from the middle of a block, so that where they matter their products with a slope
        # are small and round little.
        offsets = op.Mul(from_origin, m)  # (I, L, 1)
        return op.Scan(q_blocks, offsets, origins, begins, finishes, body=attend_block, num_scan_inputs=5)

    by_head = op.Concat(zero, op.Shape(slope), rest, axis=0)
    q_heads = op.Transpose(op.Reshape(query, by_head), perm=[1, 0, 2])  # (n, N, d)
    k_heads = op.Transpose(op.Reshape(key, by_head), perm=[1, 0, 2])
    v_heads = op.Transpose(op.Reshape(value, by_head), perm=[1, 0, 2])
    contexts = op.Scan(q_heads, k_heads, v_heads, slope, body=attend_head, num_scan_inputs=4)  # (n, I, L, d)
    joined = op.Reshape(op.Transpose(contexts, perm=[1, 2, 0, 3]), flat)  # (I * L, H)
    return op.Slice(joined, zero, total, zero)
