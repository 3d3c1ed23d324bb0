"""Which keys can matter to a block of queries: `jinabert::KeyBlocks` of a text, `jinabert::KeyRanges` of a head.

Every head of every block of queries reads its own block and one contiguous range of keys, certified to leave out no
more than EPSILON of any row's weight:

    score(i, j) = q_i . k_j - m |i - j|, with q scaled by 1 / sqrt(head size); row i has weight sum_j exp(score(i, j))

Keys are taken in blocks J, halves of the blocks of queries, with mean c and radius r = max |k_j - c|. By Cauchy and
Schwarz, with gap(i, J) the distance from i to the nearest key of J and n keys in J, the weight of block J is at most

    upper(i, J) = exp(q_i . c + |q_i| r - m gap(i, J)) min(n, 2 / (1 - exp(-m)))

(keys at different distances form a geometric series on either side of i). For a block I of queries let
w(J) = n exp(-m d(J)), with d the distance of the middles of I and J and half the extent of both: no query of I is
farther from a key of J. The row's weight is at least

    lower(i) = max(own(i), Z exp(q_i . sum_J w(J) c_J / Z)), with Z = sum_J w(J)

where own(i) is the weight of the keys in block I, and the second is by Jensen's inequality, over all keys of J with the
weight exp(-m d(J)) each. Blocks are left out from both ends as long as the sum over the left-out blocks of
max_i upper(i, J) / lower(i) stays below half of EPSILON at each end. Nothing is assumed of the weights: huge scores
make wide ranges, never wrong ones.

Rounding: r is raised by 2e-5 of the largest key, several times what floats change in sums of 64 terms, and 2e-3 of
EPSILON is kept back for what they change in distances times slopes. Knows nothing of values.
"""

from __future__ import annotations

from onnxscript import script

from .domain import domain, op

EPSILON = 1e-7  # most of a row's weight that is left out
MARGIN = 2e-5  # of the largest key, added to every radius
ALLOWED = 0.499 * EPSILON  # at each end


# Shapes: d head size, I blocks of L queries, J = 2 I blocks of keys.
@script(domain, default_opset=op)
def KeyBlocks(tokens, real, at, origins, by_half):  # type: ignore[no-untyped-def]  # noqa: N802
    """What every head needs to know of blocks.

    Args:
        tokens (I, L): of each row; the last block repeats the last token.
        real (I, L) float: 1, or 0 for repeats.
        at (I, L, 1) float: positions.
        origins (I, 1) float: the middle of each block of queries.
        by_half (3): J, L / 2, -1.

    Returns:
        mean_weights (J, 1, L / 2): what a block's keys are multiplied by for their mean.
        log_counts (1, J): logarithm of the number of keys, minus infinity without any.
        reach (I, J): distance that no query of I exceeds to any key of J.
        gap (I, L, J): distance of a query to the nearest key of J.
        begins, ends (J, 1): first token of each block, and the token after its last.
    """
    one = op.Constant(value_ints=[1])
    two = op.Constant(value_ints=[2])
    half = op.Constant(value_float=0.5)
    limits = op.Constant(value_ints=[0, -1])
    real_keys = op.Reshape(real, by_half)  # (J, L / 2, 1)
    counts = op.ReduceSum(real_keys, one)  # (J, 1, 1)
    weights = op.Div(real_keys, op.Max(counts, op.Constant(value_float=1.0)))
    log_counts = op.Log(op.Squeeze(op.Transpose(counts, perm=[1, 2, 0]), one))
    key_tokens = op.Squeeze(op.Gather(op.Reshape(tokens, by_half), limits, axis=1), two)
    begins, last = op.Split(key_tokens, axis=1, num_outputs=2)  # (J, 1)
    key_limits = op.Transpose(op.Gather(op.Reshape(at, by_half), limits, axis=1), perm=[1, 2, 0])
    low, high = op.Split(key_limits, axis=0, num_outputs=2)  # (1, 1, J)
    middle = op.Mul(op.Add(low, high), half)
    extent = op.Mul(op.Sub(high, low), half)
    nearest = op.Sub(op.Abs(op.Sub(at, middle)), extent)  # (I, L, J)
    farthest = op.Abs(op.Sub(at, op.Unsqueeze(origins, two)))  # (I, L, 1)
    from_origins = op.Add(op.Abs(op.Sub(op.Unsqueeze(origins, two), middle)), extent)  # (I, 1, J)
    reach = op.Squeeze(op.Add(from_origins, op.ReduceMax(farthest, one)), one)
    return op.Transpose(weights, perm=[0, 2, 1]), log_counts, reach, op.Relu(nearest), begins, op.Add(last, one)


@script(domain, default_opset=op)
def KeyRanges(queries, keys, own, mean_weights, log_counts, reach, gap, begins, ends, slope):  # type: ignore[no-untyped-def]  # noqa: N802
    """First token and end, (I, 1) each, of the keys that a block of queries has to read in one head.

    Args:
        queries (I, L, d): scaled.
        keys (J, L / 2, d).
        own (I, L, 1): logarithm of each row's weight of the keys in its own block.
        mean_weights, log_counts, reach, gap, begins, ends: of `KeyBlocks`.
        slope (): of the head.
    """
    step = op.Constant(value_int=1)
    one = op.Constant(value_ints=[1])
    two = op.Constant(value_ints=[2])
    allowed = op.Constant(value_float=ALLOWED)
    centre = op.MatMul(mean_weights, keys)  # (J, 1, d)
    radius = op.Sqrt(op.ReduceMax(op.ReduceSumSquare(op.Sub(keys, centre), two), one))  # (J, 1, 1)
    largest = op.ReduceMax(op.Add(radius, op.Sqrt(op.ReduceSumSquare(centre, two))), keepdims=0)
    centres = op.Squeeze(centre, one)  # (J, d)
    radii = op.Squeeze(op.Add(radius, op.Mul(op.Constant(value_float=MARGIN), largest)), one)  # (J, 1)

    log_weights = op.Sub(log_counts, op.Mul(reach, slope))  # (I, J)
    log_total = op.ReduceLogSumExp(log_weights, one)  # (I, 1) log Z
    typical = op.Unsqueeze(op.MatMul(op.Softmax(log_weights, axis=1), centres), two)  # (I, d, 1)
    jensen = op.Add(op.MatMul(queries, typical), op.Unsqueeze(log_total, two))  # (I, L, 1)
    lower = op.Max(own, jensen)
    norms = op.Sqrt(op.ReduceSumSquare(queries, two))  # (I, L, 1)

    # One product gives (q . c + |q| r - lower) / m, from which gaps are taken.
    query_side = op.Concat(queries, norms, lower, axis=-1)  # (I, L, d + 2)
    minus_one = op.Expand(op.Constant(value_float=-1.0), op.Shape(radii))
    key_side = op.Transpose(op.Div(op.Concat(centres, radii, minus_one, axis=-1), slope), perm=[1, 0])  # (d + 2, J)
    above = op.ReduceMax(op.Sub(op.MatMul(query_side, key_side), gap), one, keepdims=0)  # (I, J)
    sides = op.Div(op.Constant(value_float=2.0), op.Sub(op.Constant(value_float=1.0), op.Exp(op.Neg(slope))))
    share = op.Add(op.Mul(above, slope), op.Min(log_counts, op.Log(sides)))  # logarithm
    weight = op.Exp(op.Min(share, op.Constant(value_float=1.0)))  # (I, J)
    from_left = op.LessOrEqual(op.CumSum(weight, step), allowed)
    from_right = op.LessOrEqual(op.CumSum(weight, step, reverse=1), allowed)
    left = op.ReduceSum(op.Cast(from_left, to=7), one, keepdims=0)  # (I) blocks of keys left out at the left
    right = op.ReduceSum(op.Cast(from_right, to=7), one, keepdims=0)
    final = op.Sub(op.Sub(op.Shape(begins, start=0, end=1), one), right)
    return op.Gather(begins, left), op.Gather(ends, final)
