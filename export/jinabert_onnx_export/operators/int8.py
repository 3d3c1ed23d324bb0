"""The int8 operators: each token is quantised by itself, so its result does not depend on its neighbours.

A row x is quantised to unsigned bytes around 128 with its own scale, max |x| / 127; weights are signed bytes
with a scale an output channel. The products are onnxruntime's `MatMulIntegerToFloat`, and a row's scale is
multiplied back afterwards. Bodies in operators that stock onnxruntime runs on a CPU. Knows nothing of how
weights become bytes (`int8.rounding`).
"""

from __future__ import annotations

import onnx
from onnxscript import graph, script

from .domain import contrib, domain, function_proto, op
from .feed_forward import with_activation
from .signatures import check_bodies

STEP = 1 / 127  # of a row divided by its largest absolute value
MIDDLE = onnx.helper.make_tensor("middle", onnx.TensorProto.UINT8, [], [128])


@script(domain, default_opset=op)
def QuantizeRows(x):  # type: ignore[no-untyped-def]  # noqa: N802
    """(P, K) -> bytes (P, K) around 128 and the largest absolute value of each row (P, 1)."""
    # A row of zeros becomes any bytes, which its size of 0 turns into zeros again.
    largest = op.ReduceMax(op.Abs(x), op.Constant(value_ints=[-1]))
    # Multiplying a row by the reciprocal takes half of the time of dividing it.
    divided = op.Mul(x, op.Reciprocal(largest))
    # onnxruntime's own: 1.23 has no kernel for the QuantizeLinear of opset 23.
    return contrib.QuantizeLinear(divided, op.Constant(value_float=STEP), op.Constant(value=MIDDLE)), largest


@script(domain, default_opset=op)
def QuantizedMatMul(x, weight, scale):  # type: ignore[no-untyped-def]  # noqa: N802
    """The product of x (P, K) and a weight, int8 (K, N) with a scale (N)."""
    rows, largest = domain.QuantizeRows(x)
    step = op.Constant(value_float=STEP)
    return op.Mul(contrib.MatMulIntegerToFloat(rows, weight, step, scale, op.Constant(value=MIDDLE)), largest)


@script(domain, default_opset=op)
def QuantizedGatedFeedForward(x, token_blocks, token_rows, smoothing, gate, gate_scale, up, up_scale, down, down_scale):  # type: ignore[no-untyped-def]  # noqa: N802
    """`GatedFeedForward` of x * smoothing; the row scale of `up` is multiplied back after `down` only."""
    step = op.Constant(value_float=STEP)
    middle = op.Constant(value=MIDDLE)

    @graph()
    def feed(block):  # type: ignore[no-untyped-def]
        rows, largest = domain.QuantizeRows(op.Mul(block, smoothing))
        gated = op.Gelu(op.Mul(contrib.MatMulIntegerToFloat(rows, gate, step, gate_scale, middle), largest))
        wide = op.Mul(gated, contrib.MatMulIntegerToFloat(rows, up, step, up_scale, middle))
        wide_rows, wide_largest = domain.QuantizeRows(wide)
        narrow = contrib.MatMulIntegerToFloat(wide_rows, down, step, down_scale, middle)
        return op.Mul(narrow, op.Mul(wide_largest, largest))

    return op.Reshape(op.Scan(op.Reshape(x, token_blocks), body=feed, num_scan_inputs=1), token_rows)


@script(domain, default_opset=op)
def QuantizedEmbedding(table, scale, ids):  # type: ignore[no-untyped-def]  # noqa: N802
    """Rows of an int8 table (V, H) with a float16 scale for each block of channels (V, blocks); ids (P) -> (P, H)."""
    rows = op.Gather(table, ids)
    scales = op.Cast(op.Gather(scale, ids), to=1)  # (P, blocks)
    rest = op.Constant(value_ints=[-1])
    blocks = op.Reshape(op.Cast(rows, to=1), op.Concat(op.Shape(scales), rest, axis=0))  # (P, blocks, channels)
    return op.Reshape(op.Mul(blocks, op.Unsqueeze(scales, rest)), op.Shape(rows))


def int8_functions(activation: str) -> list[onnx.FunctionProto]:
    """Return the bodies of these operators, to be written out where the exported file calls them.

    Raises:
        ExportError: a body departs from its signature.
    """
    feed_forward = with_activation(function_proto(QuantizedGatedFeedForward), activation)
    bodies = [
        function_proto(QuantizeRows),
        function_proto(QuantizedMatMul),
        function_proto(QuantizedEmbedding),
        feed_forward,
    ]
    check_bodies(bodies)
    return bodies
