"""A layer of the int8 graph: one operator before `AlibiAttention` and one after it, for each variant.

The bodies call `QuantizedMatMul` and `QuantizedGatedFeedForward`, which are written out within, and add in the order of
the traced encoder. A native kernel can take the place of each of the four, version 3 of the domain. The attribute
`activation` is for such a kernel; in a body the activation is a node.
"""

from __future__ import annotations

import onnx
from onnxscript import script

from .domain import domain, function_proto, op
from .signatures import check_bodies


# Shapes: P rows, H hidden, W inner size. Weights are int8 (K, N) with a scale (N); `smoothing`, biases and norms (H).
@script(domain, default_opset=op)
def QuantizedQueryKeyValue(hidden, smoothing, weight, scale, query_bias):  # type: ignore[no-untyped-def]  # noqa: N802
    """Query, key and value (P, H) of hidden (P, H); weight (H, 3 H)."""
    product = domain.QuantizedMatMul(op.Mul(hidden, smoothing), weight, scale)
    query, key, value = op.Split(product, axis=-1, num_outputs=3)
    return op.Add(query, query_bias), key, value


@script(domain, default_opset=op)
def QuantizedQkPostNormQueryKeyValue(  # type: ignore[no-untyped-def]  # noqa: N802
    hidden,
    smoothing,
    weight,
    scale,
    query_bias,
    key_bias,
    query_norm,
    query_norm_bias,
    key_norm,
    key_norm_bias,
    epsilon: float,
):
    """`QuantizedQueryKeyValue` with biased and normalised keys, and normalised queries."""
    product = domain.QuantizedMatMul(op.Mul(hidden, smoothing), weight, scale)
    query, key, value = op.Split(product, axis=-1, num_outputs=3)
    biased_query = op.Add(query, query_bias)
    biased_key = op.Add(key, key_bias)
    normalized_query = op.LayerNormalization(
        biased_query, query_norm, query_norm_bias, axis=-1, epsilon=epsilon, stash_type=1
    )
    normalized_key = op.LayerNormalization(biased_key, key_norm, key_norm_bias, axis=-1, epsilon=epsilon, stash_type=1)
    return normalized_query, normalized_key, value


@script(domain, default_opset=op)
def QuantizedAfterAttention(  # type: ignore[no-untyped-def]  # noqa: N802
    context,
    hidden,
    token_blocks,
    token_rows,
    output,
    output_scale,
    output_bias,
    attended_norm,
    attended_norm_bias,
    smoothing,
    gate,
    gate_scale,
    up,
    up_scale,
    down,
    down_scale,
    down_bias,
    norm,
    norm_bias,
    epsilon: float,
    activation: str,
):
    """The rest of a layer, of what attention gave and of the layer's input (P, H); (P, H).

    Output (H, H), gate and up (H, W), down (W, H).
    """
    projected = op.Add(domain.QuantizedMatMul(context, output, output_scale), output_bias)
    attended = op.LayerNormalization(
        op.Add(projected, hidden), attended_norm, attended_norm_bias, axis=-1, epsilon=epsilon, stash_type=1
    )
    fed = domain.QuantizedGatedFeedForward(
        attended, token_blocks, token_rows, smoothing, gate, gate_scale, up, up_scale, down, down_scale
    )
    biased = op.Add(fed, down_bias)
    return op.LayerNormalization(op.Add(biased, attended), norm, norm_bias, axis=-1, epsilon=epsilon, stash_type=1)


@script(domain, default_opset=op)
def QuantizedQkPostNormAfterAttention(  # type: ignore[no-untyped-def]  # noqa: N802
    context,
    hidden,
    token_blocks,
    token_rows,
    output,
    output_scale,
    output_bias,
    attended_norm,
    attended_norm_bias,
    middle_norm,
    middle_norm_bias,
    smoothing,
    gate,
    gate_scale,
    up,
    up_scale,
    down,
    down_scale,
    down_bias,
    norm,
    norm_bias,
    epsilon: float,
    activation: str,
):
    """`QuantizedAfterAttention` that adds the layer's input once more, and normalises the sum."""
    projected = op.Add(domain.QuantizedMatMul(context, output, output_scale), output_bias)
    attended = op.LayerNormalization(
        op.Add(projected, hidden), attended_norm, attended_norm_bias, axis=-1, epsilon=epsilon, stash_type=1
    )
    middle = op.LayerNormalization(
        op.Add(hidden, attended), middle_norm, middle_norm_bias, axis=-1, epsilon=epsilon, stash_type=1
    )
    fed = domain.QuantizedGatedFeedForward(
        middle, token_blocks, token_rows, smoothing, gate, gate_scale, up, up_scale, down, down_scale
    )
    biased = op.Add(fed, down_bias)
    return op.LayerNormalization(op.Add(middle, biased), norm, norm_bias, axis=-1, epsilon=epsilon, stash_type=1)


def layer_functions() -> list[onnx.FunctionProto]:
    """Return the bodies of these operators, for the exported file to carry.

    Raises:
        ExportError: a body departs from its signature.
    """
    operators = (
        QuantizedQueryKeyValue, QuantizedQkPostNormQueryKeyValue,
        QuantizedAfterAttention, QuantizedQkPostNormAfterAttention,
    )  # fmt: skip
    bodies = [function_proto(operator) for operator in operators]
    check_bodies(bodies)
    return bodies
