"""Read and make the constants of a graph; what the passes over it share."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass


def constant(value: ir.Value | None) -> NDArray[np.generic]:
    """Return the content of a stored value.

    Raises:
        ValueError: it is computed, not stored.
    """
    if value is None or value.const_value is None:
        raise ValueError(f"{value} is not a constant")
    return value.const_value.numpy()


def floats(value: ir.Value | None) -> NDArray[np.float32]:
    """Return the content of a stored value, in float32.

    Raises:
        ValueError: it is computed, not stored.
    """
    return constant(value).astype(np.float32)


def producer(value: ir.Value | None) -> ir.Node:
    """Return the node that computes `value`.

    Raises:
        ValueError: it is an input or stored.
    """
    node = None if value is None else value.producer()
    if node is None:
        raise ValueError(f"{value} is not computed by any node")
    return node


def product_after(attention: ir.Node) -> ir.Node:
    """Return the MatMul that reads what `attention` gives, or only the first tokens' rows of it.

    Raises:
        ValueError: there are several readers.
    """
    (node,) = attention.outputs[0].consumers()
    while node.op_type != "MatMul":
        (node,) = node.outputs[0].consumers()
    return node


def initializer(graph: ir.Graph, name: str, content: NDArray[np.generic]) -> ir.Value:
    """Store `content` in the graph under `name`."""
    tensor = ir.tensor(np.asarray(content, order="C"), name=name)  # which leaves a scalar one
    value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(content.shape), type=ir.TensorType(tensor.dtype))
    graph.register_initializer(value)
    return value


def replace(graph: ir.Graph, old: ir.Node, new: ir.Node) -> None:
    """Put `new` where `old` stands; `old` leaves the graph."""
    graph.insert_before(old, new)
    ir.convenience.replace_all_uses_with(old.outputs, new.outputs)
    graph.remove(old, safe=True)


def drop_unused(model: ir.Model) -> None:
    """Remove nodes and stored values that nothing reads."""
    RemoveUnusedNodesPass()(model)
    graph = model.graph
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
