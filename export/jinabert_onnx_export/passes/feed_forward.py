"""The pass that puts `jinabert::GatedFeedForward` in the place of every traced feed-forward.

Knows nothing of the rest of the graph.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from jinabert_onnx_export.operators.domain import DOMAIN
from jinabert_onnx_export.operators.feed_forward import ACTIVATIONS
from jinabert_onnx_export.operators.signatures import GATED_FEED_FORWARD

from .graph_pass import GraphPass, nodes_of, require_counts
from .graph_values import constant, initializer, producer


def traced_activation(model: ir.Model) -> str:
    """Return the activation of the traced feed-forwards, one of ACTIVATIONS.

    Raises:
        ValueError: there is none, or more than one.
    """
    names = sorted({node.op_type for node in model.graph if node.op_type in ACTIVATIONS})
    if len(names) != 1:
        raise ValueError(f"the feed-forwards' activation is {' and '.join(names) or 'missing'}")
    return names[0]


def block_feed_forward(model: ir.Model) -> None:
    """Put `GatedFeedForward` in the place of every traced feed-forward, in place.

    Requires: an activation for each AlibiAttention, all the same; one product for both halves of a feed-forward, of
        which the activated one may be either.
    Ensures: a GatedFeedForward for each AlibiAttention, of x, gate, up and down: without the shapes that come from
        the plan. No activation is left.
    """
    for layer, node in enumerate(nodes_of(model, traced_activation(model))):
        _replace_feed_forward(model.graph, f"feed_forward_{layer}", node)


def _requires(model: ir.Model) -> None:
    require_counts(model, {traced_activation(model): len(nodes_of(model, "AlibiAttention"))})


def _ensures(model: ir.Model) -> None:
    layers = len(nodes_of(model, "AlibiAttention"))
    require_counts(model, {GATED_FEED_FORWARD.name: layers} | dict.fromkeys(ACTIVATIONS, 0))


BLOCK_FEED_FORWARD = GraphPass("block_feed_forward", _requires, block_feed_forward, _ensures)


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
    feed = ir.node(GATED_FEED_FORWARD.name, [wide.inputs[0], *stored, narrow.inputs[1]], domain=DOMAIN)
    graph.insert_before(narrow, feed)
    ir.convenience.replace_all_uses_with(narrow.outputs, feed.outputs)
    graph.remove([narrow, product, activation, activated, other, wide], safe=True)
