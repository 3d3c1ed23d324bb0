"""The gated feed-forward over blocks of tokens, so that its wide activations stay small and in the cache.

`jinabert::GatedFeedForward` of x (P, H), gate and up (H, W), down (W, H) is `(activation(x gate) * (x up)) down`;
the shapes of x as blocks of tokens, and back, come from the AttentionPlan. A pass puts it in the place of the
traced nodes. Knows nothing of the rest.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
from onnxscript import graph, script

from jinabert_onnx_export.operators.domain import DOMAIN, domain, function_proto, op

from .graph_values import constant, initializer, producer

ACTIVATIONS = ("Gelu", "Relu")


@script(domain, default_opset=op)
def GatedFeedForward(x, token_blocks, token_rows, gate, up, down):  # type: ignore[no-untyped-def]  # noqa: N802
    """(P, H) -> (P, H); the activation is exact GELU."""

    @graph()
    def feed(block):  # type: ignore[no-untyped-def]
        return op.MatMul(op.Mul(op.Gelu(op.MatMul(block, gate)), op.MatMul(block, up)), down)

    return op.Reshape(op.Scan(op.Reshape(x, token_blocks), body=feed, num_scan_inputs=1), token_rows)


def feed_forward_functions(activation: str) -> list[onnx.FunctionProto]:
    """The operators' bodies with `activation`, one of ACTIVATIONS, for the exported file to carry."""
    return [with_activation(function_proto(GatedFeedForward), activation)]


def with_activation(function: onnx.FunctionProto, activation: str) -> onnx.FunctionProto:
    """The function with `activation` in the place of Gelu."""
    bodies = [attribute.g for node in function.node for attribute in node.attribute if attribute.name == "body"]
    for node in (node for body in bodies for node in body.node if node.op_type == "Gelu"):
        node.op_type = activation
    return function


def block_feed_forward(model: ir.Model) -> str:
    """Put `GatedFeedForward` in the place of every traced feed-forward, in place; its activation is returned.

    Requires: the traced form, one product for both halves, of which the activated one may be either.
    """
    activations = [node for node in model.graph if node.op_type in ACTIVATIONS]
    for layer, node in enumerate(activations):
        _replace_feed_forward(model.graph, f"feed_forward_{layer}", node)
    (activation,) = {node.op_type for node in activations}
    return activation


def _replace_feed_forward(graph: ir.Graph, name: str, activation: ir.Node) -> None:
    activated = producer(activation.inputs[0])  # Slice
    wide = producer(activated.inputs[0])  # MatMul
    (product,) = activation.outputs[0].consumers()  # Mul
    (other,) = (producer(value) for value in product.inputs if value is not activation.outputs[0])
    (narrow,) = product.outputs[0].consumers()  # MatMul
    weight = constant(wide.inputs[1])  # (H, 2 W)
    halves = np.split(weight, 2, axis=1)
    gate, up = halves if constant(activated.inputs[1])[0] == 0 else halves[::-1]
    stored = [initializer(graph, f"{name}.gate", gate), initializer(graph, f"{name}.up", up)]
    feed = ir.node("GatedFeedForward", [wide.inputs[0], *stored, narrow.inputs[1]], domain=DOMAIN)
    graph.insert_before(narrow, feed)
    ir.convenience.replace_all_uses_with(narrow.outputs, feed.outputs)
    graph.remove([narrow, product, activation, activated, other, wide], safe=True)
