"""The layers of the int8 graph: two operators each, whose bodies give what the same nodes gave one by one."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from conftest import GOLDENS, ragged, stock_session, trace_golden
from jinabert_onnx_export import ExportError
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.encoder.trace import trace
from jinabert_onnx_export.int8.activations import LayerActivations, record_activations
from jinabert_onnx_export.operators.domain import called_from
from jinabert_onnx_export.operators.int8 import int8_functions
from jinabert_onnx_export.operators.packed_attention import packed_functions
from jinabert_onnx_export.operators.signatures import (
    AFTER_ATTENTION,
    QK_POST_NORM_AFTER_ATTENTION,
    QK_POST_NORM_QUERY_KEY_VALUE,
    QUERY_KEY_VALUE,
    Signature,
)
from jinabert_onnx_export.passes.graph_pass import run_passes
from jinabert_onnx_export.passes.graph_values import drop_unused
from jinabert_onnx_export.passes.layers import layer_joining
from jinabert_onnx_export.passes.optimize import FP32_PASSES, optimize
from jinabert_onnx_export.passes.quantize import quantization
from onnx import numpy_helper
from support.broken_graphs import nested
from support.pair_goldens import CROSS_ENCODERS

PLAIN = (QUERY_KEY_VALUE, AFTER_ATTENTION)
QK_POST_NORM = (QK_POST_NORM_QUERY_KEY_VALUE, QK_POST_NORM_AFTER_ATTENTION)
FORMS = {  # operators of a layer, and the activation
    "plain-4h": (PLAIN, "Gelu"),
    "plain-6h-reglu": (PLAIN, "Relu"),
    "qk-post-norm-12h": (QK_POST_NORM, "Gelu"),
    "reranker-12h": (PLAIN, "Gelu"),
    "classifier-3-4h": (PLAIN, "Gelu"),
}
BATCHES = ((1,), (16,), (3, 50, 20), (128,) * 8, (513,), (700, 1, 300), (1,) * 40)
LEVELS = onnxruntime.GraphOptimizationLevel


@cache
def traced_encoder(name: str) -> tuple[JinaBertEncoder, onnx.ModelProto]:
    if not (CROSS_ENCODERS / name).exists():
        return trace_golden(name)
    encoder = open_checkpoint(CROSS_ENCODERS / name).load_encoder()
    return encoder, trace(encoder)


@cache
def calibrated(name: str) -> list[LayerActivations]:
    return record_activations(traced_encoder(name)[0], [ragged([length], 300)[0][0] for length in (7, 60)])


@cache
def joined(name: str) -> onnx.ModelProto:
    """The int8 graph as it is exported."""
    return optimize(traced_encoder(name)[1], calibrated(name))


def quantised(name: str) -> ir.Model:
    """The int8 graph before its layers are joined."""
    model = ir.from_proto(traced_encoder(name)[1])
    model.functions.clear()
    run_passes(model, (*FP32_PASSES, quantization(calibrated(name))))
    return model


def node_by_node(name: str) -> onnx.ModelProto:
    """The same graph without operators for layers: as it was exported in version 2 of the domain."""
    model = quantised(name)
    drop_unused(model)
    proto = ir.to_proto(model)
    proto.functions.extend(called_from(proto, [*packed_functions(), *int8_functions(FORMS[name][1])]))
    return proto


def feeds(session: onnxruntime.InferenceSession, lengths: tuple[int, ...]) -> dict[str, np.ndarray]:
    ids, mask = ragged(lengths, 300)
    mask[0, 2:200:3] = 0
    every = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids % 2}
    return {value.name: every[value.name] for value in session.get_inputs()}


@pytest.mark.parametrize("level", [LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_ALL], ids=["plain", "optimised"])
@pytest.mark.parametrize("name", FORMS)
def test_outputs_are_to_the_bit_those_of_the_nodes_one_by_one(name: str, level: LEVELS) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    expected, session = (stock_session(model, options) for model in (node_by_node(name), joined(name)))
    for lengths in BATCHES:
        given = feeds(session, lengths)
        np.testing.assert_array_equal(session.run(None, given)[0], expected.run(None, given)[0], str(lengths))


def nodes_of(name: str, signature: Signature) -> list[dict[str, str]]:
    """The inputs, by name, of every node of an operator."""
    nodes = [node for node in joined(name).graph.node if node.op_type == signature.name]
    return [dict(zip(signature.inputs, node.input, strict=True)) for node in nodes]


@pytest.mark.parametrize("name", FORMS)
def test_a_layer_is_attention_between_two_operators(name: str) -> None:
    (before, after), _ = FORMS[name]
    encoder = traced_encoder(name)[0]
    kinds = [node.op_type for node in joined(name).graph.node if node.domain == "jinabert"]
    layers = [before.name, "AlibiAttention", after.name] * len(encoder.encoder.layer)
    ends = [] if (CROSS_ENCODERS / name).exists() else ["Unpack"]
    assert kinds == ["AttentionPlan", "QuantizedEmbedding", *layers, *ends]
    linear = {"MatMul", "Mul", "Split", "Gelu", "Relu"}
    assert not linear & {node.op_type for node in joined(name).graph.node}


@pytest.mark.parametrize("name", FORMS)
def test_weights_are_stored_and_have_the_shapes_of_the_layer(name: str) -> None:
    """Bytes (K, N) with a float32 scale for each of N; smoothing, biases and norms are float32 (H)."""
    stored = {each.name: numpy_helper.to_array(each) for each in joined(name).graph.initializer}
    config = open_checkpoint(next(path for path in (GOLDENS / name, CROSS_ENCODERS / name) if path.exists())).config
    hidden, inner = config.hidden_size, config.intermediate_size
    shapes = {"weight": (hidden, 3 * hidden), "output": (hidden, hidden), "gate": (hidden, inner)}
    shapes |= {"up": (hidden, inner), "down": (inner, hidden)}
    computed = {"hidden", "context", "token_blocks", "token_rows"}
    for signature in FORMS[name][0]:
        for inputs in nodes_of(name, signature):
            for key in set(inputs) - computed:
                array, product = stored[inputs[key]], key.removesuffix("_scale").replace("scale", "weight")
                if key in shapes:
                    assert (array.dtype, array.shape) == (np.int8, shapes[key])
                else:
                    width = shapes[product][1] if product != key else hidden
                    assert (array.dtype, array.shape) == (np.float32, (width,)), key


@pytest.mark.parametrize("name", FORMS)
def test_attributes_tell_epsilon_and_activation(name: str) -> None:
    (before, after), activation = FORMS[name]
    for node in joined(name).graph.node:
        found = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        if node.op_type == after.name:
            assert found == {"epsilon": np.float32(1e-12), "activation": activation.encode()}
        elif node.op_type == before.name:
            assert found == ({"epsilon": np.float32(1e-12)} if before is QK_POST_NORM_QUERY_KEY_VALUE else {})
    (body,) = (function for function in joined(name).functions if function.name == after.name)
    assert {node.op_type for node in nested(body.node)} & {"Gelu", "Relu"} == {activation}


@pytest.mark.parametrize("name", FORMS)
def test_version_3_of_the_domain_is_of_files_with_such_layers(name: str) -> None:
    fp32 = optimize(traced_encoder(name)[1])
    for model, version in ((joined(name), 3), (fp32, 2)):
        imports = [model.opset_import, *(function.opset_import for function in model.functions)]
        assert {entry.version for each in imports for entry in each if entry.domain == "jinabert"} == {version}
        for function in model.functions:
            used = {node.domain for node in nested(function.node)}
            assert "jinabert" not in used
            assert used <= {entry.domain for entry in function.opset_import}


@pytest.mark.parametrize("name", [name for name in FORMS if (CROSS_ENCODERS / name).exists()])
def test_a_classifiers_last_layer_goes_on_with_first_tokens_alone(name: str) -> None:
    """Its context and input are gathered, one row a text, and its shapes are stored."""
    model = joined(name)
    by_output = {output: node for node in model.graph.node for output in node.output}
    *others, last = nodes_of(name, AFTER_ATTENTION)
    gathers = [by_output[last[key]] for key in ("context", "hidden")]
    assert [node.op_type for node in gathers] == ["Gather", "Gather"]
    assert by_output[gathers[0].input[0]].op_type == "AlibiAttention"
    assert gathers[0].input[1] == gathers[1].input[1]
    stored = {each.name for each in model.graph.initializer}
    assert {last["token_blocks"], last["token_rows"]} <= stored
    for inputs in others:
        assert (inputs["token_blocks"], inputs["token_rows"]) == ("token_blocks", "token_rows")


def exchange_sum(model: ir.Model) -> None:
    """Add the residual first."""
    (feed_forward, *_) = (node for node in model.graph if node.op_type == "QuantizedGatedFeedForward")
    (biased,) = feed_forward.outputs[0].consumers()
    (total,) = biased.outputs[0].consumers()
    first, second = total.inputs
    total.replace_input_with(0, second)
    total.replace_input_with(1, first)


def change_epsilon(model: ir.Model) -> None:
    node = next(node for node in model.graph if node.op_type == "LayerNormalization")
    node.attributes["epsilon"] = ir.AttrFloat32("epsilon", 1e-5)


def skip_norm(model: ir.Model) -> None:
    """Let attention's output go into the feed-forward as it is."""
    feed_forward = next(node for node in model.graph if node.op_type == "QuantizedGatedFeedForward")
    norm = feed_forward.inputs[0].producer()  # type: ignore[union-attr]
    assert norm is not None
    feed_forward.replace_input_with(0, norm.inputs[0])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (exchange_sum, "join_layers failed .LayerNormalization stands where Add was expected"),
        (change_epsilon, "cannot run join_layers .layer norms have several forms, with the epsilons"),
        (skip_norm, "join_layers failed .*were expected to be the same"),
    ],
)
@pytest.mark.parametrize("name", ["plain-4h", "qk-post-norm-12h"])
def test_other_nodes_than_those_of_the_bodies_are_refused(
    name: str, damage: Callable[[ir.Model], None], reason: str
) -> None:
    model = quantised(name)
    damage(model)
    with pytest.raises(ExportError, match=reason):
        run_passes(model, [layer_joining("Gelu")])
