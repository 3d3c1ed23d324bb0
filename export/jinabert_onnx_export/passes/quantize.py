"""The packed fp32 graph to int8: weights and table become bytes, activations are rounded token by token.

A pass; what is rounded how is in `rounding` and `smoothing`, the operators are in `int8_operators`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from jinabert_onnx_export.int8.activations import LayerActivations
from jinabert_onnx_export.int8.rounding import Floats, quantize_table, quantize_weight
from jinabert_onnx_export.int8.smoothing import best_smoothing
from jinabert_onnx_export.operators.domain import DOMAIN

from .graph_values import floats, initializer, producer, replace

# What a relative rounding error of queries and keys matters, beside one of values: it changes how much is read of
# what, and is different for each token, while all that read a value read its error too.
SCORES = 0.25


def quantize(model: ir.Model, layers: Sequence[LayerActivations]) -> None:
    """Quantise a packed graph in place; `layers` is what calibration recorded, one entry a layer.

    Requires: the products of a layer are one MatMul for Q, K and V, AlibiAttention, one MatMul, GatedFeedForward.
    """
    graph = model.graph
    attentions = [node for node in graph if node.op_type == "AlibiAttention"]
    feed_forwards = [node for node in graph if node.op_type == "GatedFeedForward"]
    for index, activations in enumerate(layers):
        projection, context = _products_around(attentions[index])
        _quantize_attention(graph, f"layer.{index}", projection, context, activations)
        _quantize_feed_forward(graph, f"layer.{index}", feed_forwards[index], activations)
    _quantize_embedding(graph)
    graph.opset_imports["com.microsoft"] = 1


def _products_around(attention: ir.Node) -> tuple[ir.Node, ir.Node]:
    """The MatMul that makes Q, K and V, and the one that reads the attention's output."""
    split = producer(attention.inputs[2])  # of V: nothing stands between
    (context,) = attention.outputs[0].consumers()
    return producer(split.inputs[0]), context


def _quantize_attention(
    graph: ir.Graph, name: str, projection: ir.Node, context: ir.Node, activations: LayerActivations
) -> None:
    """Quantise both products; the factors of the attention's output move into V, whose channels they are."""
    weight = floats(projection.inputs[1])  # (H, 3 H)
    output = floats(context.inputs[1])  # (H, H)
    factors = best_smoothing(activations.context, output)
    hidden = len(factors)
    matters = np.repeat(_shares(activations.attention.sample @ weight), hidden)
    smoothing = best_smoothing(activations.attention, weight * matters, typical=True)
    weight = weight * np.concatenate([np.ones(2 * hidden, np.float32), 1 / factors])
    smooth = ir.node(
        "Mul", [projection.inputs[0], initializer(graph, f"{name}.query_key_value.smoothing", 1 / smoothing)]
    )
    graph.insert_before(projection, smooth)
    projection.replace_input_with(0, smooth.outputs[0])
    _replace_product(graph, f"{name}.query_key_value", projection, weight * smoothing[:, None])
    _replace_product(graph, f"{name}.output", context, output * factors[:, None])


def _shares(made: Floats) -> Floats:
    """What an error in Q, K and V matters, (3), of their values side by side (rows, 3 H)."""
    sizes = np.sqrt(np.square(made).reshape(len(made), 3, -1).mean(axis=(0, 2)))
    return np.asarray([SCORES, SCORES, 1] / np.maximum(sizes, 1e-30), np.float32)


def _replace_product(graph: ir.Graph, name: str, product: ir.Node, weight: Floats) -> None:
    """Put a QuantizedMatMul with `weight` in the place of a MatMul."""
    inputs = [product.inputs[0], *_store_bytes(graph, name, weight)]
    replace(graph, product, ir.node("QuantizedMatMul", inputs, domain=DOMAIN))


def _quantize_feed_forward(graph: ir.Graph, name: str, node: ir.Node, activations: LayerActivations) -> None:
    """Quantise the three products; the factors of the wide activations move into `up`."""
    x, token_blocks, token_rows, *weights = node.inputs
    gate, up, down = (floats(value) for value in weights)
    wide = best_smoothing(activations.wide, down)
    up, down = up / wide, down * wide[:, None]
    factors = best_smoothing(activations.feed_forward, np.concatenate([gate, up], axis=1))
    stored = [initializer(graph, f"{name}.feed_forward.smoothing", 1 / factors)]
    for part, weight in (("gate", gate * factors[:, None]), ("up", up * factors[:, None]), ("down", down)):
        stored += _store_bytes(graph, f"{name}.{part}", weight)
    inputs = [x, token_blocks, token_rows, *stored]
    replace(graph, node, ir.node("QuantizedGatedFeedForward", inputs, domain=DOMAIN))


def _quantize_embedding(graph: ir.Graph) -> None:
    (lookup,) = (node for node in graph if node.op_type == "Gather" and node.inputs[0].is_initializer())  # type: ignore[union-attr]
    integers, scale = quantize_table(floats(lookup.inputs[0]))
    stored = [initializer(graph, "embedding.bytes", integers), initializer(graph, "embedding.scale", scale)]
    replace(graph, lookup, ir.node("QuantizedEmbedding", [*stored, lookup.inputs[1]], domain=DOMAIN))


def _store_bytes(graph: ir.Graph, name: str, weight: Floats) -> list[ir.Value]:
    integers, scale = quantize_weight(weight)
    return [initializer(graph, f"{name}.weight", integers), initializer(graph, f"{name}.scale", scale)]
