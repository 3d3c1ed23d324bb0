"""The packed fp32 graph to int8: weights and table become bytes, activations are rounded token by token.

A pass; how numbers are rounded is in `int8.rounding` and `int8.smoothing`, the operators are in `operators.int8`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import onnx_ir as ir

from jinabert_onnx_export.int8.activations import LayerActivations
from jinabert_onnx_export.int8.rounding import Floats, quantize_table, quantize_weight
from jinabert_onnx_export.int8.smoothing import best_smoothing
from jinabert_onnx_export.operators.domain import DOMAIN
from jinabert_onnx_export.operators.signatures import GATED_FEED_FORWARD, QUANTIZED_GATED_FEED_FORWARD

from .graph_pass import GraphPass, nodes_of, require_counts
from .graph_values import floats, initializer, producer, product_after, replace

# What a relative rounding error of queries and keys matters, beside one of values: it changes how much is read of
# what, and is different for each token, while all that read a value read its error too.
SCORES = 0.25


def quantization(layers: Sequence[LayerActivations]) -> GraphPass:
    """Return the pass that quantises a packed graph to int8; `layers` is what calibration recorded, one entry a layer.

    Requires: a packed graph of as many layers as `layers` has, whose products are one MatMul for Q, K and V,
        AlibiAttention, one MatMul, GatedFeedForward.
    Ensures: every product of the layers and the embedding table are of bytes; no MatMul or GatedFeedForward is left. A
        classifier's head stays float32.
    """
    return GraphPass(
        "quantize",
        partial(_requires, layers=len(layers)),
        partial(_quantize, activations=layers),
        partial(_ensures, layers=len(layers)),
    )


def _requires(model: ir.Model, layers: int) -> None:
    require_counts(
        model, {"AttentionPlan": 1, "AlibiAttention": layers, GATED_FEED_FORWARD.name: layers, "MatMul": 2 * layers}
    )


def _ensures(model: ir.Model, layers: int) -> None:
    quantized = {"QuantizedMatMul": 2 * layers, QUANTIZED_GATED_FEED_FORWARD.name: layers, "QuantizedEmbedding": 1}
    require_counts(model, quantized | {"MatMul": 0, GATED_FEED_FORWARD.name: 0})


def _quantize(model: ir.Model, activations: Sequence[LayerActivations]) -> None:
    graph = model.graph
    attentions, feed_forwards = nodes_of(model, "AlibiAttention"), nodes_of(model, GATED_FEED_FORWARD.name)
    for index, layer in enumerate(activations):
        projection, context = _products_around(attentions[index])
        _quantize_attention(graph, f"layer.{index}", projection, context, layer)
        _quantize_feed_forward(graph, f"layer.{index}", feed_forwards[index], layer)
    _quantize_embedding(graph)
    graph.opset_imports["com.microsoft"] = 1


def _products_around(attention: ir.Node) -> tuple[ir.Node, ir.Node]:
    """The MatMul that makes Q, K and V, and the one that reads the attention's output."""
    split = producer(attention.inputs[2])  # of V: nothing stands between
    return producer(split.inputs[0]), product_after(attention)


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
    """Return how much an error in Q, K and V matters, (3), of their values side by side (rows, 3 H)."""
    sizes = np.sqrt(np.square(made).reshape(len(made), 3, -1).mean(axis=(0, 2)))
    return np.asarray([SCORES, SCORES, 1] / np.maximum(sizes, 1e-30), np.float32)


def _replace_product(graph: ir.Graph, name: str, product: ir.Node, weight: Floats) -> None:
    """Put a QuantizedMatMul with `weight` in the place of a MatMul."""
    inputs = [product.inputs[0], *_store_bytes(graph, name, weight)]
    replace(graph, product, ir.node("QuantizedMatMul", inputs, domain=DOMAIN))


def _quantize_feed_forward(graph: ir.Graph, name: str, node: ir.Node, activations: LayerActivations) -> None:
    """Quantise the three products; the factors of the wide activations move into `up`."""
    values = dict(zip(GATED_FEED_FORWARD.inputs, node.inputs, strict=True))
    gate, up, down = (floats(values[name]) for name in ("gate", "up", "down"))
    wide = best_smoothing(activations.wide, down)
    up, down = up / wide, down * wide[:, None]
    factors = best_smoothing(activations.feed_forward, np.concatenate([gate, up], axis=1))
    stored = [initializer(graph, f"{name}.feed_forward.smoothing", 1 / factors)]
    for part, weight in (("gate", gate * factors[:, None]), ("up", up * factors[:, None]), ("down", down)):
        stored += _store_bytes(graph, f"{name}.{part}", weight)
    inputs = [values["x"], values["token_blocks"], values["token_rows"], *stored]
    replace(graph, node, ir.node(QUANTIZED_GATED_FEED_FORWARD.name, inputs, domain=DOMAIN))


def _quantize_embedding(graph: ir.Graph) -> None:
    lookup = _lookup_of(graph.inputs[0])
    integers, scale = quantize_table(floats(lookup.inputs[0]))
    stored = [initializer(graph, "embedding.bytes", integers), initializer(graph, "embedding.scale", scale)]
    replace(graph, lookup, ir.node("QuantizedEmbedding", [*stored, lookup.inputs[1]], domain=DOMAIN))


def _lookup_of(input_ids: ir.Value) -> ir.Node:
    """The Gather of words' embeddings: of the packed ids of tokens."""
    (flat,) = (node for node in input_ids.consumers() if node.op_type == "Reshape")
    (packed,) = flat.outputs[0].consumers()
    (lookup,) = packed.outputs[0].consumers()
    return lookup


def _store_bytes(graph: ir.Graph, name: str, weight: Floats) -> list[ir.Value]:
    integers, scale = quantize_weight(weight)
    return [initializer(graph, f"{name}.weight", integers), initializer(graph, f"{name}.scale", scale)]
