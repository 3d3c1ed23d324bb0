"""The gated feed-forward over blocks of tokens, so that its wide activations stay small and in the cache.

`jinabert::GatedFeedForward` of x (P, H), gate and up (H, W), down (W, H) is `(activation(x gate) * (x up)) down`;
the shapes of x as blocks of tokens, and back, come from the AttentionPlan. Knows nothing of traces.
"""

from __future__ import annotations

import onnx
from onnxscript import graph, script

from .domain import domain, function_proto, op
from .signatures import check_bodies

ACTIVATIONS = ("Gelu", "Relu")


@script(domain, default_opset=op)
def GatedFeedForward(x, token_blocks, token_rows, gate, up, down):  # type: ignore[no-untyped-def]  # noqa: N802
    """(P, H) -> (P, H); the activation is exact GELU."""

    @graph()
    def feed(block):  # type: ignore[no-untyped-def]
        return op.MatMul(op.Mul(op.Gelu(op.MatMul(block, gate)), op.MatMul(block, up)), down)

    return op.Reshape(op.Scan(op.Reshape(x, token_blocks), body=feed, num_scan_inputs=1), token_rows)


def feed_forward_functions(activation: str) -> list[onnx.FunctionProto]:
    """Return the operators' bodies with `activation`, one of ACTIVATIONS, for the exported file to carry.

    Raises:
        ExportError: a body departs from its signature.
    """
    bodies = [with_activation(function_proto(GatedFeedForward), activation)]
    check_bodies(bodies)
    return bodies


def with_activation(function: onnx.FunctionProto, activation: str) -> onnx.FunctionProto:
    """Return the function with `activation` in the place of Gelu."""
    bodies = [attribute.g for node in function.node for attribute in node.attribute if attribute.name == "body"]
    for node in (node for body in bodies for node in body.node if node.op_type == "Gelu"):
        node.op_type = activation
    return function
