"""What breaks an optimised graph, each a little, for tests that see whether it is found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import onnx
from onnx import helper, numpy_helper

Break = Callable[[onnx.ModelProto], None]


def nested(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes and those of the graphs within them."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nested(inner.node)


def change_a_slope(model: onnx.ModelProto) -> None:
    """Let the steepest head of every attention have a slope that is 1e-3 of itself larger."""
    changed = 0
    for node in nested(model.graph.node):
        for attribute in node.attribute:
            if node.op_type == "AlibiAttention" and attribute.name == "slopes":
                attribute.floats[0] *= 1.001
                changed += 1
    assert changed


def ignore_the_mask(model: onnx.ModelProto) -> None:
    """Let padding count as tokens."""
    (plan,) = [node for node in model.graph.node if node.op_type == "AttentionPlan"]
    one = helper.make_tensor("one", onnx.TensorProto.INT64, [1], [1])
    shape = helper.make_node("Shape", ["attention_mask"], ["mask_shape"])
    ones = helper.make_node("ConstantOfShape", ["mask_shape"], ["mask_of_ones"], value=one)
    plan.input[list(plan.input).index("attention_mask")] = "mask_of_ones"
    for node in (ones, shape):
        model.graph.node.insert(0, node)


def alter_one_weight(model: onnx.ModelProto, layer: int) -> None:
    """Let one weight of a feed-forward be 0.01 larger."""
    node = [node for node in model.graph.node if node.op_type == "GatedFeedForward"][layer]
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[-1])
    values = numpy_helper.to_array(tensor).copy()
    values[3, 5] += np.float32(0.01)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def leave_the_pooler_out(model: onnx.ModelProto) -> None:
    """Let the classifier read the first token itself."""
    *_, pooler, _, classifier = model.graph.node
    assert (pooler.op_type, classifier.op_type) == ("Gemm", "Gemm")
    classifier.input[0] = pooler.input[0]
