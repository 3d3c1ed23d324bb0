"""The pass that puts `jinabert::GatedFeedForward` in the place of every traced feed-forward.

Knows nothing of the rest of the graph.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from jinabert_onnx_export.operators.domain import DOMAIN
from jinabert_onnx_export.operators.feed_forward import ACTIVATIONS

from .graph_values import constant, initializer, producer


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
