"""Query, key and value of a layer in one product: fewer and larger operators.

A pass over the traced graph. Knows nothing of attention.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .graph_values import constant, initializer


def join_projections(model: ir.Model) -> None:
    """Put one product and a split in the place of every three linear layers that read the same value, in place."""
    products: dict[ir.Value, list[ir.Node]] = {}
    for node in model.graph:
        if node.op_type == "MatMul" and node.inputs[0] is not None:
            products.setdefault(node.inputs[0], []).append(node)
    groups = [group for group in products.values() if len(group) == 3]
    for layer, group in enumerate(groups):
        _join(model.graph, f"query_key_value_{layer}", group)


def _join(graph: ir.Graph, name: str, products: list[ir.Node]) -> None:
    sums = [next(iter(node.outputs[0].consumers())) for node in products]  # Add of each bias
    weights = np.concatenate([constant(node.inputs[1]) for node in products], axis=1)  # (H, 3 H)
    biases = np.concatenate([constant(node.inputs[1]) for node in sums])
    weight = initializer(graph, f"{name}.weight", weights)
    product = ir.node("MatMul", [products[0].inputs[0], weight])
    biased = ir.node("Add", [product.outputs[0], initializer(graph, f"{name}.bias", biases)])
    split = ir.node("Split", [biased.outputs[0]], {"axis": -1, "num_outputs": 3}, num_outputs=3)
    graph.insert_before(products[0], [product, biased, split])
    ir.convenience.replace_all_uses_with([node.outputs[0] for node in sums], split.outputs)
    graph.remove([*sums, *products], safe=True)
