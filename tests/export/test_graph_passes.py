"""The operators' signatures and the conditions of passes: whatever departs from them is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import pytest
from conftest import trace_golden
from jinabert_onnx_export import ExportError
from jinabert_onnx_export.operators.feed_forward import feed_forward_functions
from jinabert_onnx_export.operators.int8 import int8_functions
from jinabert_onnx_export.operators.int8_layers import layer_functions
from jinabert_onnx_export.operators.packed_attention import packed_functions
from jinabert_onnx_export.operators.signatures import ALIBI_ATTENTION, INT8_SIGNATURES, PACKED_SIGNATURES, check_bodies
from jinabert_onnx_export.passes.feed_forward import BLOCK_FEED_FORWARD
from jinabert_onnx_export.passes.graph_pass import GraphPass, run_passes
from jinabert_onnx_export.passes.layers import layer_joining
from jinabert_onnx_export.passes.optimize import FP32_PASSES
from jinabert_onnx_export.passes.packing import PACK
from jinabert_onnx_export.passes.projections import JOIN_PROJECTIONS
from jinabert_onnx_export.passes.quantize import quantization


@pytest.fixture
def traced() -> ir.Model:
    model = ir.from_proto(trace_golden("plain-4h")[1])
    model.functions.clear()
    return model


def test_every_signature_has_a_body() -> None:
    bodies = [*packed_functions(), *feed_forward_functions("Gelu"), *int8_functions("Gelu"), *layer_functions()]
    assert {signature.name for signature in (*PACKED_SIGNATURES, *INT8_SIGNATURES)} <= {body.name for body in bodies}


def test_a_body_with_two_inputs_exchanged_is_refused() -> None:
    (attention,) = (body for body in packed_functions() if body.name == ALIBI_ATTENTION.name)
    attention.input[3], attention.input[4] = attention.input[4], attention.input[3]
    with pytest.raises(ExportError, match="body of AlibiAttention takes query, key, value, texts, positions"):
        check_bodies([attention])


def test_a_body_without_an_output_is_refused() -> None:
    (plan,) = (body for body in packed_functions() if body.name == "AttentionPlan")
    del plan.output[-1]
    with pytest.raises(ExportError, match="AttentionPlan has 11 outputs, its signature 12"):
        check_bodies([plan])


def test_a_missing_argument_is_named() -> None:
    with pytest.raises(ValueError, match="AlibiAttention has no value for its input value, positions"):
        ALIBI_ATTENTION.arguments(dict.fromkeys(set(ALIBI_ATTENTION.inputs) - {"value", "positions"}, 0))


@pytest.mark.parametrize(
    ("before", "refused"),
    [
        ((), JOIN_PROJECTIONS),
        ((), PACK),
        ((BLOCK_FEED_FORWARD,), BLOCK_FEED_FORWARD),
        ((BLOCK_FEED_FORWARD,), quantization([])),
        (FP32_PASSES, JOIN_PROJECTIONS),
        (FP32_PASSES, PACK),
        (FP32_PASSES, quantization([])),
        (FP32_PASSES, layer_joining("Gelu")),
    ],
    ids=lambda value: value.name if isinstance(value, GraphPass) else "-".join(each.name for each in value),
)
def test_a_pass_out_of_its_order_is_refused(
    traced: ir.Model, before: tuple[GraphPass, ...], refused: GraphPass
) -> None:
    with pytest.raises(ExportError, match=f"cannot run {refused.name} ") as caught:
        run_passes(traced, (*before, refused))
    for graph_pass in before:
        assert graph_pass.name in str(caught.value).rpartition("after: ")[2]


def exchange_places(model: ir.Model) -> None:
    """Give an attention two values of the plan in each other's places."""
    attention = next(node for node in model.graph if node.op_type == "AlibiAttention")
    rows, back = attention.inputs[5:7]
    attention.replace_input_with(5, back)
    attention.replace_input_with(6, rows)


def drop_split(model: ir.Model) -> None:
    """Lose the node that parts queries, keys and values."""
    split = next(node for node in model.graph if node.op_type == "Split")
    ir.convenience.replace_all_uses_with(split.outputs, [split.inputs[0]] * 3)  # type: ignore[list-item]
    model.graph.remove(split, safe=True)


@pytest.mark.parametrize(
    ("graph_pass", "damage", "reason"),
    [
        (PACK, exchange_places, "input rows of AlibiAttention is not that of AttentionPlan"),
        (JOIN_PROJECTIONS, drop_split, "the graph has 1 Split nodes where 2 were expected"),
    ],
    ids=["pack", "join_projections"],
)
def test_a_result_that_is_not_ensured_is_refused(
    traced: ir.Model, graph_pass: GraphPass, damage: Callable[[ir.Model], None], reason: str
) -> None:
    """A pass whose rewriting is followed by damage: its own condition finds it, and says where."""

    def rewrite_badly(model: ir.Model) -> None:
        graph_pass.rewrite(model)
        damage(model)

    before = FP32_PASSES[: FP32_PASSES.index(graph_pass)]
    bad = GraphPass(graph_pass.name, graph_pass.requires, rewrite_badly, graph_pass.ensures)
    with pytest.raises(ExportError, match=f"{graph_pass.name} left an unexpected graph .{reason}.*block_feed_forward"):
        run_passes(traced, (*before, bad))
