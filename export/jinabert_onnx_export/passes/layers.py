"""The pass that puts one operator before every attention of an int8 graph, and one after it, in the place of the rest.

What they compute is in `operators.int8_layers`; the nodes must be those of its bodies, added in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import onnx_ir as ir

from jinabert_onnx_export.operators.domain import DOMAIN, LAYERS_DOMAIN_VERSION
from jinabert_onnx_export.operators.signatures import (
    AFTER_ATTENTION,
    ALIBI_ATTENTION,
    LAYER_SIGNATURES,
    QK_POST_NORM_AFTER_ATTENTION,
    QK_POST_NORM_QUERY_KEY_VALUE,
    QUANTIZED_GATED_FEED_FORWARD,
    QUERY_KEY_VALUE,
    Signature,
)

from .graph_pass import GraphPass, nodes_of, require_counts
from .graph_values import drop_unused, producer, replace
from .packing import require_signatures

Values = dict[str, ir.Value]  # inputs of an operator, by the names of its signature

# Before attention and after it: without norms of queries and keys, and with them.
VARIANTS = (
    (QUERY_KEY_VALUE, AFTER_ATTENTION),
    (QK_POST_NORM_QUERY_KEY_VALUE, QK_POST_NORM_AFTER_ATTENTION),
)
_NORM = "LayerNormalization"


def layer_joining(activation: str) -> GraphPass:
    """Return the pass that joins the nodes of every layer; `activation` is that of its feed-forwards.

    Requires: a quantised graph: two QuantizedMatMul, a Split and a QuantizedGatedFeedForward for each AlibiAttention;
        all layer norms have one epsilon, and are over the last axis.
    Ensures: for each AlibiAttention, whose query, key and value it gives, an operator before it and another after it,
        of one variant, with the inputs of their signatures; none of the nodes required is left. The graph imports the
        version of the domain in which these operators are.
    """
    return GraphPass("join_layers", _requires, partial(_join_layers, activation=activation), _ensures)


def _requires(model: ir.Model) -> None:
    layers = len(nodes_of(model, ALIBI_ATTENTION.name))
    quantized = {"QuantizedMatMul": 2 * layers, QUANTIZED_GATED_FEED_FORWARD.name: layers}
    require_counts(model, quantized | {"Split": layers})
    _epsilon(model)


def _ensures(model: ir.Model) -> None:
    attentions = nodes_of(model, ALIBI_ATTENTION.name)
    before, after = VARIANTS[bool(nodes_of(model, QK_POST_NORM_QUERY_KEY_VALUE.name))]
    gone = ("QuantizedMatMul", QUANTIZED_GATED_FEED_FORWARD.name, "Split")
    none = dict.fromkeys((*gone, *(signature.name for signature in LAYER_SIGNATURES)), 0)
    require_counts(model, none | {before.name: len(attentions), after.name: len(attentions)})
    require_signatures(model, LAYER_SIGNATURES)
    for attention, made in zip(attentions, nodes_of(model, before.name), strict=True):
        _require_same(attention.inputs[:3], made.outputs)


def _join_layers(model: ir.Model, activation: str) -> None:
    epsilon = ir.AttrFloat32("epsilon", _epsilon(model))
    attributes = [epsilon, ir.AttrString("activation", activation)]
    attentions, feed_forwards = (nodes_of(model, each.name) for each in (ALIBI_ATTENTION, QUANTIZED_GATED_FEED_FORWARD))
    for layer, (attention, feed_forward) in enumerate(zip(attentions, feed_forwards, strict=True)):
        normalizes = producer(attention.inputs[0]).op_type == _NORM
        before, after = VARIANTS[normalizes]
        first = _node(before, layer, _before_attention(attention, normalizes), [epsilon] if normalizes else [])
        model.graph.insert_before(attention, first)
        for place, value in enumerate(first.outputs):
            attention.replace_input_with(place, value)
        end = _end_of_layer(feed_forward)
        second = _node(after, layer, _after_attention(end.outputs[0], normalizes), attributes)
        replace(model.graph, end, second)
    drop_unused(model)
    model.graph.opset_imports[DOMAIN] = LAYERS_DOMAIN_VERSION


def _node(signature: Signature, layer: int, values: Values, attributes: list[ir.Attr]) -> ir.Node:
    """Return a node of the operator, whose outputs are named after the layer."""
    outputs = [ir.Value(name=f"layer.{layer}.{name}") for name in signature.outputs]
    return ir.Node(DOMAIN, signature.name, signature.arguments(values), attributes, outputs=outputs)


def _before_attention(attention: ir.Node, normalizes: bool) -> Values:
    """Return what makes query, key and value: the inputs of the operator before `attention`."""
    values: Values = {}
    query, key, value = attention.inputs[:3]
    if normalizes:
        query, values["query_norm"], values["query_norm_bias"] = _inputs(query, _NORM)
        key, values["key_norm"], values["key_norm_bias"] = _inputs(key, _NORM)
        key, values["key_bias"] = _inputs(key, "Add")
    query, values["query_bias"] = _inputs(query, "Add")
    split = producer(value)
    _require_same((query, key, value), split.outputs)
    product, *_ = _inputs(value, "Split")
    smooth, values["weight"], values["scale"] = _inputs(product, "QuantizedMatMul")
    values["hidden"], values["smoothing"] = _inputs(smooth, "Mul")
    return values


def _after_attention(end: ir.Value, adds_twice: bool) -> Values:
    """Return what makes the end of a layer: the inputs of the operator after attention.

    Layers that normalise keys add their input twice, the second time before the norm in the middle.
    """
    values: Values = {}
    total, values["norm"], values["norm_bias"] = _inputs(end, _NORM)
    first, second = _inputs(total, "Add")
    attended, biased = (first, second) if adds_twice else (second, first)
    fed, values["down_bias"] = _inputs(biased, "Add")
    feed_forward = dict(
        zip(QUANTIZED_GATED_FEED_FORWARD.inputs, _inputs(fed, QUANTIZED_GATED_FEED_FORWARD.name), strict=True)
    )
    _require_same([feed_forward.pop("x")], [attended])
    values |= feed_forward
    if adds_twice:
        total, values["middle_norm"], values["middle_norm_bias"] = _inputs(attended, _NORM)
        hidden, attended = _inputs(total, "Add")
    total, values["attended_norm"], values["attended_norm_bias"] = _inputs(attended, _NORM)
    biased, values["hidden"] = _inputs(total, "Add")
    if adds_twice:
        _require_same([hidden], [values["hidden"]])
    product, values["output_bias"] = _inputs(biased, "Add")
    values["context"], values["output"], values["output_scale"] = _inputs(product, "QuantizedMatMul")
    return values


def _end_of_layer(feed_forward: ir.Node) -> ir.Node:
    """Return the layer norm that ends the layer of `feed_forward`."""
    node = feed_forward
    while node.op_type != _NORM:
        (node,) = node.outputs[0].consumers()
    return node


def _inputs(value: ir.Value | None, op_type: str) -> list[ir.Value]:
    """Return the inputs of the `op_type` node that computes `value`.

    Raises:
        ValueError: another node does, or none.
    """
    node = producer(value)
    if node.op_type != op_type:
        raise ValueError(f"{node.op_type} stands where {op_type} was expected")
    return [each for each in node.inputs if each is not None]


def _require_same(found: Sequence[ir.Value | None], expected: Sequence[ir.Value | None]) -> None:
    if list(found) != list(expected):
        names = " and ".join(str(each and each.name) for each in (*found, *expected))
        raise ValueError(f"{names} were expected to be the same")


def _epsilon(model: ir.Model) -> float:
    """Return the epsilon of all layer norms.

    Raises:
        ValueError: they have several, or one is over other axes or in another precision.
    """
    forms = {
        tuple(node.attributes[name].value for name in ("epsilon", "axis", "stash_type"))
        for node in nodes_of(model, _NORM)
    }
    epsilons = sorted(epsilon for epsilon, *form in forms)
    if len(forms) != 1 or any(form != [-1, 1] for _, *form in forms):
        raise ValueError(f"layer norms have several forms, with the epsilons {epsilons}")
    return float(epsilons[0])
