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
from jinabert_onnx_export.operators.signatures import (
    ALIBI_ATTENTION,
    ATTENTION_PLAN,
    GATED_FEED_FORWARD,
    PACKED_SIGNATURES,
    UNPACK,
)

from .graph_pass import GraphPass, nodes_of, require_counts
from .graph_values import initializer, replace

Plan = dict[str, ir.Value]  # what the AttentionPlan gives, by the names of its signature

_PADDED_ATTENTION_INPUTS = ("query", "key", "value", "key_mask")
_UNPACKED_FEED_FORWARD_INPUTS = ("x", "gate", "up", "down")


def pack(model: ir.Model) -> None:
    """Rewrite, in place, a traced encoder with `jinabert::AlibiAttention` over padded batches.

    Requires: inputs `input_ids` and `attention_mask` and one output; each AlibiAttention has query, key, value and a
        mask made from `attention_mask`, each GatedFeedForward x, gate, up and down; one Gather reads `input_ids`.
    Ensures: one AttentionPlan and one Unpack; every node of the packed operators has the inputs and outputs of its
        signature, those of the plan in their places. The graph's inputs and output have kept names and types.
    """
    graph = model.graph
    input_ids, attention_mask = graph.inputs
    slopes = nodes_of(model, ALIBI_ATTENTION.name)[0].attributes["slopes"]
    plan_node, plan = _make_plan(attention_mask, slopes)
    _gather_tokens(graph, plan_node, plan, input_ids)
    _pack_attentions(model, plan, slopes)
    _pack_feed_forwards(model, plan)
    _forget_shapes(graph)
    _unpack(graph, plan, input_ids)
    graph.opset_imports[DOMAIN] = DOMAIN_VERSION


def _requires(model: ir.Model) -> None:
    names = [value.name for value in model.graph.inputs]
    if names != ["input_ids", "attention_mask"] or len(model.graph.outputs) != 1:
        raise ValueError(f"the graph has the inputs {names} and {len(model.graph.outputs)} outputs")
    attentions = nodes_of(model, ALIBI_ATTENTION.name)
    if not attentions:
        raise ValueError(f"there is no {ALIBI_ATTENTION.name}")
    require_counts(model, {GATED_FEED_FORWARD.name: len(attentions)})
    _require_inputs(attentions, _PADDED_ATTENTION_INPUTS)
    _require_inputs(nodes_of(model, GATED_FEED_FORWARD.name), _UNPACKED_FEED_FORWARD_INPUTS)


def _require_inputs(nodes: list[ir.Node], names: tuple[str, ...]) -> None:
    for node in nodes:
        if len(node.inputs) != len(names):
            raise ValueError(f"{node.op_type} has {len(node.inputs)} inputs where {', '.join(names)} were expected")


def _ensures(model: ir.Model) -> None:
    require_counts(model, {ATTENTION_PLAN.name: 1, UNPACK.name: 1})
    (plan_node,) = nodes_of(model, ATTENTION_PLAN.name)
    require_signatures(model, dict(zip(ATTENTION_PLAN.outputs, plan_node.outputs, strict=True)))


def require_signatures(model: ir.Model, plan: Plan) -> None:
    """Check every node of a packed operator against its signature, and that it reads `plan` where it must.

    Raises:
        ValueError: a node has more or fewer inputs or outputs, or another value where one of the plan belongs.
    """
    for signature in PACKED_SIGNATURES:
        for node in nodes_of(model, signature.name):
            if (len(node.inputs), len(node.outputs)) != (len(signature.inputs), len(signature.outputs)):
                raise ValueError(f"{node.op_type} has {len(node.inputs)} inputs and {len(node.outputs)} outputs")
            for name, value in zip(signature.inputs, node.inputs, strict=True):
                if name in plan and value is not plan[name]:
                    raise ValueError(f"input {name} of {node.op_type} is not that of {ATTENTION_PLAN.name}")


PACK = GraphPass("pack", _requires, pack, _ensures)


def _make_plan(attention_mask: ir.Value, slopes: ir.Attr) -> tuple[ir.Node, Plan]:
    """Return a node of the AttentionPlan, and its outputs by name."""
    plan = {name: ir.Value(name=name) for name in ATTENTION_PLAN.outputs}
    inputs = ATTENTION_PLAN.arguments({"attention_mask": attention_mask})
    return ir.Node(DOMAIN, ATTENTION_PLAN.name, inputs, [slopes], outputs=list(plan.values())), plan


def _gather_tokens(graph: ir.Graph, plan_node: ir.Node, plan: Plan, input_ids: ir.Value) -> None:
    """Look up the embeddings of real tokens only: the plan, and a Gather of their ids, go before the lookup."""
    flat = ir.node("Reshape", [input_ids, initializer(graph, "flat_shape", np.array([-1]))])
    (lookup,) = (use.node for use in input_ids.uses() if use.node is not flat)
    packed = ir.node("Gather", [flat.outputs[0], plan["tokens"]])
    graph.insert_before(lookup, [plan_node, flat, packed])
    lookup.replace_input_with(1, packed.outputs[0])


def _pack_attentions(model: ir.Model, plan: Plan, slopes: ir.Attr) -> None:
    """Put the packed operator in the place of every padded one."""
    heads = len(slopes.as_floats())
    head_size = int(model.graph.outputs[0].shape[-1]) // heads  # type: ignore[arg-type, index]
    attributes = [slopes, ir.AttrInt64("num_heads", heads), ir.AttrFloat32("scale", 1 / math.sqrt(head_size))]
    for node in nodes_of(model, ALIBI_ATTENTION.name):
        padded = dict(zip(_PADDED_ATTENTION_INPUTS, node.inputs, strict=True))
        inputs = ALIBI_ATTENTION.arguments({**padded, **plan})
        replace(model.graph, node, ir.Node(DOMAIN, ALIBI_ATTENTION.name, inputs, attributes))


def _pack_feed_forwards(model: ir.Model, plan: Plan) -> None:
    """Give every feed-forward the shapes of blocks of tokens."""
    for node in nodes_of(model, GATED_FEED_FORWARD.name):
        unpacked = dict(zip(_UNPACKED_FEED_FORWARD_INPUTS, node.inputs, strict=True))
        inputs = GATED_FEED_FORWARD.arguments({**unpacked, **plan})
        replace(model.graph, node, ir.node(GATED_FEED_FORWARD.name, inputs, domain=DOMAIN))


def _unpack(graph: ir.Graph, plan: Plan, input_ids: ir.Value) -> None:
    """Put the tokens' rows back into the padded batch, which is the graph's output under its old name."""
    (packed,) = graph.outputs
    padded = ir.Value(name=packed.name, type=packed.type, shape=packed.shape)
    packed.name, packed.shape = "packed_hidden_state", None
    inputs = UNPACK.arguments({"hidden": packed, "input_ids": input_ids, **plan})
    graph.append(ir.node(UNPACK.name, inputs, domain=DOMAIN, outputs=[padded]))
    graph.outputs[0] = padded


def _forget_shapes(graph: ir.Graph) -> None:
    """Drop what the trace knew of shapes between inputs and output: it is no longer so."""
    for node in graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
