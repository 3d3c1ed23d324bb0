"""From padded batches to packed tokens: linear layers see real tokens only, attention each text by itself.

A pass over the traced graph. The interface stays `input_ids`, `attention_mask` -> `last_hidden_state`; every
node between works on (tokens, hidden), where a text's tokens do not know of its neighbours. Rows of
`last_hidden_state` where the mask is 0 are 0, except the first of a text that has no token at all.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from jinabert_onnx_export.operators.domain import DOMAIN, DOMAIN_VERSION

from .graph_values import initializer, replace

# What attention reads of the plan, and all that the plan gives.
ATTENTION_INPUTS = (
    "positions", "texts", "rows", "back", "biases", "dense", "even", "text_shape", "token_rows"
)  # fmt: skip
PLAN_OUTPUTS = ("source", "tokens", "token_blocks", *ATTENTION_INPUTS)


def pack(model: ir.Model) -> None:
    """Rewrite, in place, a traced encoder with `jinabert::AlibiAttention` over padded batches.

    Requires: each attention's last input is made from `attention_mask`, one Gather reads `input_ids`.
    Ensures: the graph's inputs and output have kept names and types.
    """
    graph = model.graph
    input_ids, attention_mask = graph.inputs
    attentions = [node for node in graph if node.op_type == "AlibiAttention"]
    slopes = attentions[0].attributes["slopes"]
    heads = len(slopes.as_floats())
    head_size = int(graph.outputs[0].shape[-1]) // heads  # type: ignore[arg-type, index]
    attributes = [slopes, ir.AttrInt64("num_heads", heads), ir.AttrFloat32("scale", 1 / math.sqrt(head_size))]
    outputs = [ir.Value(name=name) for name in PLAN_OUTPUTS]
    plan = ir.Node(DOMAIN, "AttentionPlan", [attention_mask], [slopes], outputs=outputs)
    source, tokens, token_blocks, *layout = outputs
    token_rows = layout[-1]
    flat = ir.node("Reshape", [input_ids, initializer(graph, "flat_shape", np.array([-1]))])
    (lookup,) = (use.node for use in input_ids.uses() if use.node is not flat)
    packed = ir.node("Gather", [flat.outputs[0], tokens])
    graph.insert_before(lookup, [plan, flat, packed])
    lookup.replace_input_with(1, packed.outputs[0])
    for node in attentions:
        inputs = [*node.inputs[:3], *layout]
        replace(graph, node, ir.Node(DOMAIN, "AlibiAttention", inputs, attributes))
    for node in [node for node in graph if node.op_type == "GatedFeedForward"]:
        x, *weights = node.inputs
        replace(graph, node, ir.node(node.op_type, [x, token_blocks, token_rows, *weights], domain=DOMAIN))
    _forget_shapes(graph)
    _unpack(graph, source, input_ids)
    graph.opset_imports[DOMAIN] = DOMAIN_VERSION


def _unpack(graph: ir.Graph, source: ir.Value, input_ids: ir.Value) -> None:
    """Put the tokens' rows back into the padded batch, which is the graph's output under its old name."""
    (packed,) = graph.outputs
    padded = ir.Value(name=packed.name, type=packed.type, shape=packed.shape)
    packed.name, packed.shape = "packed_hidden_state", None
    graph.append(ir.node("Unpack", [packed, source, input_ids], domain=DOMAIN, outputs=[padded]))
    graph.outputs[0] = padded


def _forget_shapes(graph: ir.Graph) -> None:
    """Drop what the trace knew of shapes between inputs and output: it is no longer so."""
    for node in graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
