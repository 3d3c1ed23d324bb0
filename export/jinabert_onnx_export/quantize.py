"""The packed fp32 graph to int8: weights and table become bytes, activations are rounded token by token.

A pass; what is rounded how is in `rounding` and `smoothing`, the operators are in `int8_operators`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .activations import Activations, LayerActivations
from .graph_values import constant, initializer, producer, replace
from .operators import DOMAIN
from .rounding import Floats, quantize_table, quantize_weight
from .smoothing import best_smoothing


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
    biased = producer(split.inputs[0])
    (context,) = attention.outputs[0].consumers()
    return producer(biased.inputs[0]), context


def _quantize_attention(
    graph: ir.Graph, name: str, projection: ir.Node, context: ir.Node, activations: LayerActivations
) -> None:
    """Quantise both products; the factors of the attention's output move into V, whose channels they are."""
    weight = _floats(projection.inputs[1])  # (H, 3 H)
    (biased,) = projection.outputs[0].consumers()
    bias = _floats(biased.inputs[1])
    output = _floats(context.inputs[1])  # (H, H)
    factors = best_smoothing(activations.context, output)
    hidden = len(factors)
    values = np.concatenate([np.ones(2 * hidden, np.float32), 1 / factors])  # of Q, K and V
    biased.replace_input_with(1, initializer(graph, f"{name}.bias", bias * values))
    _replace_product(graph, f"{name}.query_key_value", projection, weight * values, activations.attention)
    _replace_product(graph, f"{name}.output", context, output * factors[:, None], None)


def _replace_product(graph: ir.Graph, name: str, product: ir.Node, weight: Floats, inputs: Activations | None) -> None:
    """Put a QuantizedMatMul in the place of a MatMul; without `inputs` its factors are 1."""
    factors = np.ones(1, np.float32) if inputs is None else best_smoothing(inputs, weight)
    smoothed = weight * (factors[:, None] if inputs else 1)
    stored = [initializer(graph, f"{name}.smoothing", 1 / factors), *_store_bytes(graph, name, smoothed)]
    replace(graph, product, ir.node("QuantizedMatMul", [product.inputs[0], *stored], domain=DOMAIN))


def _quantize_feed_forward(graph: ir.Graph, name: str, node: ir.Node, activations: LayerActivations) -> None:
    """Quantise the three products; the factors of the wide activations move into `up`."""
    x, token_blocks, token_rows, *weights = node.inputs
    gate, up, down = (_floats(value) for value in weights)
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
    integers, scale = quantize_table(_floats(lookup.inputs[0]))
    stored = [initializer(graph, "embedding.bytes", integers), initializer(graph, "embedding.scale", scale)]
    replace(graph, lookup, ir.node("QuantizedEmbedding", [*stored, lookup.inputs[1]], domain=DOMAIN))


def _store_bytes(graph: ir.Graph, name: str, weight: Floats) -> list[ir.Value]:
    integers, scale = quantize_weight(weight)
    return [initializer(graph, f"{name}.weight", integers), initializer(graph, f"{name}.scale", scale)]


def _floats(value: ir.Value | None) -> Floats:
    return constant(value).astype(np.float32)
