"""From padded batches to packed tokens: linear layers see real tokens only, attention each text by itself.

A pass over the traced graph. The interface stays `input_ids`, `attention_mask` -> `last_hidden_state`; every
node between works on (tokens, hidden), where a text's tokens do not know of its neighbours. Rows of
`last_hidden_state` where the mask is 0 are 0, except the first of a text that has no token at all.

A classifier, which may take `token_type_ids` too, gives `logits`. They come from the first token that the mask shows,
and after the attention of the last layer nothing is computed of the others: (texts, hidden).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from jinabert_onnx_export.encoder.trace import INPUTS, LOGITS, OUTPUT, TOKEN_TYPES
from jinabert_onnx_export.operators.domain import DOMAIN, DOMAIN_VERSION
from jinabert_onnx_export.operators.signatures import (
    ALIBI_ATTENTION,
    ATTENTION_PLAN,
    GATED_FEED_FORWARD,
    PACKED_SIGNATURES,
    UNPACK,
    Signature,
)

from .graph_pass import GraphPass, nodes_of, require_counts
from .graph_values import constant, initializer, replace

Plan = dict[str, ir.Value]  # what the AttentionPlan gives, by the names of its signature

_PADDED_ATTENTION_INPUTS = ("query", "key", "value", "key_mask")
_UNPACKED_FEED_FORWARD_INPUTS = ("x", "gate", "up", "down")


def pack(model: ir.Model) -> None:
    """Rewrite, in place, a traced encoder with `jinabert::AlibiAttention` over padded batches.

    Requires: inputs `input_ids` and `attention_mask` and one output; each AlibiAttention has query, key, value and a
        mask made from `attention_mask`, each GatedFeedForward x, gate, up and down; one Gather reads `input_ids`. Of a
        classifier: perhaps `token_type_ids`, which one Gather reads; a Slice of first tokens for each value that the
        last layer reads after its attention, and one Gather of them at the end.
    Ensures: one AttentionPlan, one Unpack unless it is a classifier; every node of the packed operators has the inputs
        and outputs of its signature, those of the plan in their places (but for a classifier's last GatedFeedForward,
        which has one row a text). The graph's inputs and output have kept names and types.
    """
    graph = model.graph
    input_ids, attention_mask, *token_types = graph.inputs
    slopes = nodes_of(model, ALIBI_ATTENTION.name)[0].attributes["slopes"]
    plan_node, plan = _make_plan(attention_mask, slopes)
    _gather_tokens(graph, plan_node, plan, [input_ids, *token_types])
    _pack_attentions(model, plan, slopes)
    _pack_feed_forwards(model, plan)
    _forget_shapes(graph)
    if _is_classifier(model):
        _keep_first_tokens(model, plan_node, plan)
    else:
        _unpack(graph, plan, input_ids)
    graph.opset_imports[DOMAIN] = DOMAIN_VERSION


def _is_classifier(model: ir.Model) -> bool:
    return model.graph.outputs[0].name == LOGITS


def _requires(model: ir.Model) -> None:
    names = tuple(value.name for value in model.graph.inputs)
    outputs = [value.name for value in model.graph.outputs]
    interfaces = [(INPUTS, [OUTPUT]), (INPUTS, [LOGITS]), ((*INPUTS, TOKEN_TYPES), [LOGITS])]
    if (names, outputs) not in interfaces:
        raise ValueError(f"the graph has the inputs {', '.join(map(str, names))} and the outputs {outputs}")
    attentions = nodes_of(model, ALIBI_ATTENTION.name)
    if not attentions:
        raise ValueError(f"there is no {ALIBI_ATTENTION.name}")
    require_counts(model, {GATED_FEED_FORWARD.name: len(attentions), "Slice": 2 if _is_classifier(model) else 0})
    _require_inputs(attentions, _PADDED_ATTENTION_INPUTS)
    _require_inputs(nodes_of(model, GATED_FEED_FORWARD.name), _UNPACKED_FEED_FORWARD_INPUTS)


def _require_inputs(nodes: list[ir.Node], names: tuple[str, ...]) -> None:
    for node in nodes:
        if len(node.inputs) != len(names):
            raise ValueError(f"{node.op_type} has {len(node.inputs)} inputs where {', '.join(names)} were expected")


def _ensures(model: ir.Model) -> None:
    require_counts(model, {ATTENTION_PLAN.name: 1, UNPACK.name: 0 if _is_classifier(model) else 1, "Slice": 0})
    require_signatures(model, PACKED_SIGNATURES)


def require_signatures(model: ir.Model, signatures: Sequence[Signature]) -> None:
    """Check every node of these operators against its signature, and that it reads the plan where it must.

    A stored shape may stand where one of the plan does: that of rows which are no packed tokens.

    Raises:
        ValueError: a node has more or fewer inputs or outputs, or another value where one of the plan belongs.
    """
    (plan_node,) = nodes_of(model, ATTENTION_PLAN.name)
    plan: Plan = dict(zip(ATTENTION_PLAN.outputs, plan_node.outputs, strict=True))
    for signature in signatures:
        for node in nodes_of(model, signature.name):
            if (len(node.inputs), len(node.outputs)) != (len(signature.inputs), len(signature.outputs)):
                raise ValueError(f"{node.op_type} has {len(node.inputs)} inputs and {len(node.outputs)} outputs")
            for name, value in zip(signature.inputs, node.inputs, strict=True):
                stored = value is not None and value.is_initializer()
                if name in plan and value is not plan[name] and not stored:
                    raise ValueError(f"input {name} of {node.op_type} is not that of {ATTENTION_PLAN.name}")


PACK = GraphPass("pack", _requires, pack, _ensures)


def _make_plan(attention_mask: ir.Value, slopes: ir.Attr) -> tuple[ir.Node, Plan]:
    """Return a node of the AttentionPlan, and its outputs by name."""
    plan = {name: ir.Value(name=name) for name in ATTENTION_PLAN.outputs}
    inputs = ATTENTION_PLAN.arguments({"attention_mask": attention_mask})
    return ir.Node(DOMAIN, ATTENTION_PLAN.name, inputs, [slopes], outputs=list(plan.values())), plan


def _gather_tokens(graph: ir.Graph, plan_node: ir.Node, plan: Plan, padded: list[ir.Value]) -> None:
    """Look up the embeddings of real tokens only: the plan, and a Gather of ids, go before the lookup of each input."""
    flat_shape = initializer(graph, "flat_shape", np.array([-1]))
    before = [plan_node]
    for ids in padded:
        (lookup,) = ids.consumers()
        flat = ir.node("Reshape", [ids, flat_shape])
        packed = ir.node("Gather", [flat.outputs[0], plan["tokens"]])
        graph.insert_before(lookup, [*before, flat, packed])
        lookup.replace_input_with(1, packed.outputs[0])
        before = []


def _pack_attentions(model: ir.Model, plan: Plan, slopes: ir.Attr) -> None:
    """Put the packed operator in the place of every padded one."""
    heads = len(slopes.as_floats())
    head_size = _hidden_size(model) // heads
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


def _hidden_size(model: ir.Model) -> int:
    down = nodes_of(model, GATED_FEED_FORWARD.name)[0].inputs[-1]  # (W, H), the last with and without a plan
    return int(constant(down).shape[1])


def _keep_first_tokens(model: ir.Model, plan_node: ir.Node, plan: Plan) -> None:
    """Let the last layer go on, after its attention, with the packed row of each text's first token alone."""
    graph, hidden = model.graph, _hidden_size(model)
    column = initializer(graph, "first_column", np.array(0))
    first = ir.node("Gather", [plan["texts"], column], {"axis": 1})  # (texts)
    graph.insert_after(plan_node, first)
    for node in nodes_of(model, "Slice"):
        replace(graph, node, ir.node("Gather", [node.inputs[0], first.outputs[0]]))
    feed_forward = nodes_of(model, GATED_FEED_FORWARD.name)[-1]
    for name, shape in (("token_blocks", [1, -1, hidden]), ("token_rows", [-1, hidden])):
        place = GATED_FEED_FORWARD.inputs.index(name)
        feed_forward.replace_input_with(place, initializer(graph, f"first_{name}", np.array(shape)))
    # The trace takes them out of (batch, 1, hidden) at last.
    (squeeze,) = (node for node in nodes_of(model, "Gather") if _axis(node) == 1 and node is not first)
    ir.convenience.replace_all_uses_with(squeeze.outputs[0], squeeze.inputs[0])  # type: ignore[arg-type]
    graph.remove(squeeze, safe=True)


def _axis(node: ir.Node) -> int:
    return node.attributes["axis"].as_int() if "axis" in node.attributes else 0


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
