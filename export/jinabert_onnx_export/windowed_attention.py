"""Attention where a head reads only the keys that can matter: `jinabert::WindowedAttention`, for long texts.

Every head of every block of queries reads one contiguous range of keys, certified to leave out no more than
EPSILON of any row's weight:

    score(i, j) = q_i . k_j - m |i - j|, with q scaled by 1 / sqrt(head size); row i has weight sum_j exp(score(i, j))

Keys are taken in blocks J, with centre c and radius r = max |k_j - c|. By Cauchy and Schwarz, with gap(i, J) the
distance from i to the nearest key of J and n keys in J, the weight of block J is at most

    upper(i, J) = exp(q_i . c + |q_i| r - m gap(i, J)) min(n, 2 / (1 - exp(-m)))

(keys at different distances form a geometric series on either side of i). The row's weight is at least

    lower(i) = max(exp(q_i . k_i), sum_J n exp(q_i . c - m (|i - middle of J| + half the extent of J)))

where the sum is by Jensen's inequality, the centre being the mean of the keys. (A short block repeats its last
key: the mean then counts it as often, and n stands for L divided by how often.) A margin for rounding, 2e-5 of
|q_i| times the largest key, is taken off lower(i). Blocks are left out from both
ends as long as the sum over the left-out blocks of max_i upper(i, J) / lower(i) stays below EPSILON / 2 at each
end. Nothing is assumed of the weights: huge scores make wide ranges, never wrong ones.

The certificate costs a batch (blocks of all its texts) x (tokens), so many long texts belong in several batches,
as the runtime makes them. Knows nothing of layers.
"""

from __future__ import annotations

from onnxscript import graph, script

from .operators import domain, op

EPSILON = 1e-7  # most of a row's weight that is left out


# Shapes as in `attention_plan`.
@script(domain, default_opset=op)
def WindowedAttention(query, key, value, positions, rows, key_ends, slopes: list[float]):  # type: ignore[no-untyped-def]  # noqa: N802
    """Packed (P, H) each, the query scaled, following an AttentionPlan; (I, L, n, d)."""
    slope = op.Constant(value_floats=slopes)
    first = op.Constant(value_int=0)
    step = op.Constant(value_int=1)
    zero = op.Constant(value_ints=[0])
    one = op.Constant(value_ints=[1])
    two = op.Constant(value_ints=[2])
    rest = op.Constant(value_ints=[-1])
    count = op.Shape(rows, start=0, end=1)
    width = op.Shape(rows, start=1, end=2)
    ends = op.Constant(value_ints=[0, -1])
    row_positions = op.Gather(positions, rows)  # (I, L)
    bounds = op.Gather(row_positions, ends, axis=1)  # (I, 2) position of each block's first and last token
    low, high = op.Split(bounds, axis=1, num_outputs=2)  # (I, 1)
    origins = op.Mul(op.Add(low, high), op.Constant(value_float=0.5))  # (I, 1)
    middle = op.Transpose(origins, perm=[1, 0])  # (1, I)
    extent = op.Transpose(op.Mul(op.Sub(high, low), op.Constant(value_float=0.5)), perm=[1, 0])  # (1, I)
    text = op.Slice(key_ends, zero, one, one)  # (I, 1) the first token of a text tells which it is
    foreign = op.Not(op.Equal(text, op.Transpose(text, perm=[1, 0])))  # (I, I)
    row_width = op.Cast(op.Squeeze(width), to=1)
    block_ends = op.Gather(rows, ends, axis=1)  # (I, 2)
    row_counts = op.Sub(op.Slice(block_ends, one, two, one), op.Slice(block_ends, zero, one, one))
    repeats = op.Sub(row_width, op.Cast(row_counts, to=1))  # (I, 1) how often the last token stands in its block
    keys_at_least = op.Transpose(op.Log(op.Div(row_width, repeats)), perm=[1, 0])  # (1, I)
    minus_infinity = op.Constant(value_float=float("-inf"))
    infinity = op.Constant(value_float=float("inf"))
    at = op.Unsqueeze(row_positions, two)  # (I, L, 1)
    from_middle = op.Abs(op.Sub(at, middle))  # (I, L, I)
    gap = op.Relu(op.Sub(from_middle, extent))  # from a token to the nearest key of a block
    reach = op.Where(op.Unsqueeze(foreign, one), infinity, op.Add(from_middle, extent))

    @graph()
    def attend_head(q_head, k_head, v_head, m):  # type: ignore[no-untyped-def]
        # (P, d) each and the slope
        q_blocks = op.Gather(q_head, rows)  # (I, L, d)
        k_blocks = op.Gather(k_head, rows)
        centre = op.ReduceMean(k_blocks, one)  # (I, 1, d)
        radius = op.Sqrt(op.ReduceMax(op.ReduceSumSquare(op.Sub(k_blocks, centre), two, keepdims=0), one))  # (I, 1)
        q_norm = op.Sqrt(op.ReduceSumSquare(q_blocks, two))  # (I, L, 1)
        to_centre = op.MatMul(q_blocks, op.Transpose(op.Squeeze(centre, one), perm=[1, 0]))  # (I, L, I)
        spread = op.Mul(q_norm, op.Transpose(radius, perm=[1, 0]))  # (I, L, I)
        same = op.ReduceSum(op.Mul(q_blocks, k_blocks), two)  # (I, L, 1) score of a token with itself
        jensen = op.Sub(op.Add(to_centre, keys_at_least), op.Mul(m, reach))
        lower = op.Max(same, op.ReduceLogSumExp(jensen, two))  # (I, L, 1)
        # What rounding can change in a product of norms: about 64 terms of 6e-8 each, taken generously.
        largest_key = op.ReduceMax(op.Add(radius, op.Sqrt(op.ReduceSumSquare(centre, two, keepdims=0))), keepdims=0)
        rounding = op.Mul(q_norm, op.Mul(op.Constant(value_float=2e-5), largest_key))
        sides = op.Div(op.Constant(value_float=2.0), op.Sub(op.Constant(value_float=1.0), op.Exp(op.Neg(m))))
        upper = op.Sub(op.Add(to_centre, spread), op.Mul(m, gap))
        above = op.ReduceMax(op.Sub(upper, op.Sub(lower, rounding)), one, keepdims=0)  # (I, I)
        share = op.Add(above, op.Log(op.Min(sides, row_width)))  # logarithm
        own_share = op.Where(foreign, minus_infinity, share)
        weight = op.Exp(op.Min(own_share, op.Constant(value_float=1.0)))  # (I, I)
        allowed = op.Constant(value_float=EPSILON / 2)
        from_left = op.LessOrEqual(op.CumSum(weight, step), allowed)
        from_right = op.LessOrEqual(op.CumSum(weight, step, reverse=1), allowed)
        left = op.ReduceSum(op.Cast(from_left, to=7), one, keepdims=0)  # (I) blocks left out at the left
        right = op.Sub(op.Sub(count, one), op.ReduceSum(op.Cast(from_right, to=7), one, keepdims=0))
        key_first = op.Gather(op.Gather(block_ends, first, axis=1), left)  # (I)
        key_last = op.Add(op.Gather(op.Gather(block_ends, step, axis=1), right), step)
        k_columns = op.Transpose(k_head, perm=[1, 0])

        @graph()
        def attend_block(q_block, row_offsets, origin, start, end):  # type: ignore[no-untyped-def]
            begin = op.Unsqueeze(start, zero)
            finish = op.Unsqueeze(end, zero)
            scores = op.MatMul(q_block, op.Slice(k_columns, begin, finish, one))  # (L, keys)
            key_offsets = op.Mul(op.Sub(op.Slice(positions, begin, finish), origin), m)  # (keys)
            biased = op.Sub(scores, op.Abs(op.Sub(row_offsets, key_offsets)))
            return op.MatMul(op.Softmax(biased, axis=-1), op.Slice(v_head, begin, finish, zero))  # (L, d)

        # Distances are counted from the middle of a block, so that where they matter their products with a slope
        # are small and round little.
        offsets = op.Mul(op.Sub(at, op.Unsqueeze(origins, two)), m)  # (I, L, 1)
        return op.Scan(q_blocks, offsets, origins, key_first, key_last, body=attend_block, num_scan_inputs=5)

    by_head = op.Concat(zero, op.Shape(slope), rest, axis=0)
    q_heads = op.Transpose(op.Reshape(query, by_head), perm=[1, 0, 2])  # (n, P, d)
    k_heads = op.Transpose(op.Reshape(key, by_head), perm=[1, 0, 2])
    v_heads = op.Transpose(op.Reshape(value, by_head), perm=[1, 0, 2])
    contexts = op.Scan(q_heads, k_heads, v_heads, slope, body=attend_head, num_scan_inputs=4)  # (n, I, L, d)
    return op.Transpose(contexts, perm=[1, 2, 0, 3])
