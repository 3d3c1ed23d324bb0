"""Query, key and value of a layer in one product, and without the biases that attention does not need.

A pass over the traced graph. Knows nothing of attention but what a softmax does not see: a key's bias adds the
same to all scores of a row, so it is dropped; a value's bias is added to every context, since a row's weights sum
to 1, so it moves through the output's product into the output's bias.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .graph_pass import GraphPass, nodes_of, require_counts
from .graph_values import floats, initializer, producer, product_after

QUERY, KEY, VALUE = range(3)  # inputs of AlibiAttention


def join_projections(model: ir.Model) -> None:
    """Put one product and a split in the place of the three linear layers before every attention, in place.

    Requires: the feed-forwards are GatedFeedForward nodes, so that the products left are four a layer; each of the
        three is a MatMul and an Add; the attention's output goes through a MatMul and an Add.
    Ensures: two MatMul nodes and one Split a layer, and no others.
    """
    for layer, attention in enumerate(nodes_of(model, "AlibiAttention")):
        _move_biases(model.graph, f"layer_{layer}", attention)
        products = [_product_before(attention, place) for place in (QUERY, KEY, VALUE)]
        _join(model.graph, f"query_key_value_{layer}", products)


def _requires(model: ir.Model) -> None:
    layers = len(nodes_of(model, "AlibiAttention"))
    require_counts(model, {"GatedFeedForward": layers, "MatMul": 4 * layers})


def _ensures(model: ir.Model) -> None:
    layers = len(nodes_of(model, "AlibiAttention"))
    require_counts(model, {"MatMul": 2 * layers, "Split": layers})


JOIN_PROJECTIONS = GraphPass("join_projections", _requires, join_projections, _ensures)


def _move_biases(graph: ir.Graph, name: str, attention: ir.Node) -> None:
    """Drop the key's bias where nothing stands between, and add the value's to the output's."""
    value = _own_sum(attention, VALUE)
    product = product_after(attention)
    (output,) = product.outputs[0].consumers()
    bias = floats(output.inputs[1]) + floats(value.inputs[1]) @ floats(product.inputs[1])
    output.replace_input_with(1, initializer(graph, f"{name}.output_bias", bias))
    _skip(graph, value)
    if producer(attention.inputs[KEY]).op_type == "Add":
        _skip(graph, _own_sum(attention, KEY))


def _own_sum(attention: ir.Node, place: int) -> ir.Node:
    """The Add of a bias that makes one input of an attention, and nothing else.

    Raises:
        ValueError: there is none, or others read it too.
    """
    biased = producer(attention.inputs[place])
    if biased.op_type != "Add" or len(biased.outputs[0].uses()) != 1:
        raise ValueError(f"input {place} of {attention.name} has no bias of its own")
    return biased


def _skip(graph: ir.Graph, biased: ir.Node) -> None:
    """Take an Add out of the graph; what it was added to goes on."""
    ir.convenience.replace_all_uses_with(biased.outputs[0], biased.inputs[0])  # type: ignore[arg-type]
    graph.remove(biased, safe=True)


def _product_before(attention: ir.Node, place: int) -> ir.Node:
    node = producer(attention.inputs[place])
    while node.op_type != "MatMul":
        node = producer(node.inputs[0])
    return node


def _join(graph: ir.Graph, name: str, products: list[ir.Node]) -> None:
    if len({node.inputs[0] for node in products}) != 1:
        raise ValueError(f"the products of {name} read different values")
    weights = np.concatenate([floats(node.inputs[1]) for node in products], axis=1)  # (H, 3 H)
    product = ir.node("MatMul", [products[0].inputs[0], initializer(graph, f"{name}.weight", weights)])
    split = ir.node("Split", [product.outputs[0]], {"axis": -1, "num_outputs": 3}, num_outputs=3)
    graph.insert_before(products[0], [product, split])
    ir.convenience.replace_all_uses_with([node.outputs[0] for node in products], split.outputs)
    graph.remove(products, safe=True)
