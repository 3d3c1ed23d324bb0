"""The packed graph for CPUs: torch's embeddings at any length and mask, padding that is 0, and only our operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
import torch
from conftest import GOLDENS, ragged, stock_session, trace_golden
from hypothesis import given, settings
from hypothesis import strategies as st
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder import trace
from jinabert_onnx_export.encoder.config import JinaBertConfig
from jinabert_onnx_export.encoder.model import JinaBertEncoder, Variant
from jinabert_onnx_export.operators.attention_plan import DENSE_TOKENS
from jinabert_onnx_export.passes.optimize import optimize
from onnx import TensorProto, numpy_helper
from support.broken_graphs import nested

NAMES = ("plain-4h", "plain-12h", "plain-6h-reglu", "qk-post-norm-12h")
TOLERANCE = 3e-5  # of values near 1, through all layers; torch in float32 is no closer to torch in float64
VOCABULARY = 400

Run = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Packed:
    """An encoder, its traced graph, and the packed one in a stock session without any of the runtime's options."""

    encoder: JinaBertEncoder
    traced: onnx.ModelProto
    model: onnx.ModelProto
    run: Run

    def torch(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """What torch gives for the real tokens of each text alone, without the padding at its end."""
        outputs = []
        for row_ids, row_mask in zip(ids, mask, strict=True):
            end = np.append(np.flatnonzero(row_mask > 0), 0).max() + 1
            text = [torch.from_numpy(row[None, :end]) for row in (row_ids, row_mask)]
            with torch.inference_mode():
                outputs.append(self.encoder(*text)[0].numpy()[row_mask[:end] > 0])
        return np.concatenate(outputs)


def pack(encoder: JinaBertEncoder, traced: onnx.ModelProto) -> Packed:
    model = optimize(traced)
    session = stock_session(model)
    return Packed(
        encoder, traced, model, lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
    )


@pytest.fixture(scope="module", params=NAMES)
def packed(request: pytest.FixtureRequest) -> Packed:
    return pack(*trace_golden(request.param))


def random_ids(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(shape).integers(VOCABULARY, size=shape)


def assert_is_torchs(packed: Packed, ids: np.ndarray, mask: np.ndarray, tolerance: float = TOLERANCE) -> None:
    """Real tokens are torch's and padding is 0; of a text without any token, all but the first token's row are 0."""
    output, real = packed.run(ids, mask), mask > 0
    assert output.shape == (*mask.shape, packed.encoder.embeddings.word_embeddings.embedding_dim)
    assert output.dtype == np.float32
    assert np.isfinite(output).all()
    np.testing.assert_allclose(output[real], packed.torch(ids, mask), rtol=0, atol=tolerance)
    assert output[real].any(axis=-1).all()
    padding = ~real
    padding[~real.any(axis=1), 0] = False
    assert not output[padding].any()


@pytest.mark.parametrize("length", [1, 2, 127, 128, 129, 511, 512, 513, 640, 1025, 2048])
def test_one_text_of_any_length_is_torchs(packed: Packed, length: int) -> None:
    assert_is_torchs(packed, *ragged([length]))


@pytest.mark.parametrize(
    "lengths",
    [
        (3, 1),
        (128, 129, 127),
        (127, *(128,) * 7),  # as many tokens as 8 x 128 after padding, but not even
        (*(128,) * 7, 127),
        (199, 200, 200),
        (*(63,) * 7, *(64,) * 57),
        (128,) * 8,
        (700, 1, 300),  # one text after the other, the first in windows
        (1500, 900),
        (1, 2, 600, 2, 1),
        (1,) * 40,
        (90,) * 8,
        (181,) * 8,  # the most that is computed densely
        (182,) * 8,  # and the least that is not
        (512, 1),
    ],
    ids=lambda lengths: f"{len(lengths)}-of-{max(lengths)}",
)
def test_batches_are_torchs(packed: Packed, lengths: tuple[int, ...]) -> None:
    assert_is_torchs(packed, *ragged(lengths))


def holes_in_a_short_batch() -> np.ndarray:
    mask = np.ones((3, 150), np.int64)
    mask[0, 5:100:3] = 0
    mask[1, 1:149] = 0
    mask[2, 120:] = 0
    return mask


def holes_past_512_tokens() -> np.ndarray:
    mask = np.ones((2, 1200), np.int64)
    mask[0, 5:1100:3] = 0
    mask[1, 300:1000] = 0
    return mask


def left_padding(length: int) -> np.ndarray:
    return (np.arange(length) >= np.array([[length - 1], [length // 2], [0], [7]])).astype(np.int64)


def an_empty_row_among_others(length: int) -> np.ndarray:
    mask = np.ones((3, length), np.int64)
    mask[1] = 0
    mask[2, length // 3 :] = 0
    return mask


def values_other_than_one() -> np.ndarray:
    """Torch's form of the model sees what is above 0."""
    mask = np.ones((2, 60), np.int64)
    mask[0, 3:9], mask[0, 20:30], mask[1, 40:] = 7, -1, -5
    return mask


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(holes_in_a_short_batch(), id="holes"),
        pytest.param(holes_past_512_tokens(), id="holes-past-512"),
        pytest.param(left_padding(40), id="left-padding"),
        pytest.param(left_padding(530), id="left-padding-past-512"),
        pytest.param(an_empty_row_among_others(30), id="an-empty-row"),
        pytest.param(an_empty_row_among_others(600), id="an-empty-row-past-512"),
        pytest.param(np.array([[0] * 599 + [1], [1] * 600]), id="one-token-far-from-the-start"),
        pytest.param(values_other_than_one(), id="values-other-than-one"),
    ],
)
def test_masks_of_other_clients_are_torchs(packed: Packed, mask: np.ndarray) -> None:
    assert_is_torchs(packed, random_ids(mask.shape), mask)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 20), (1, 700), (2, 600)])
def test_a_batch_without_any_token_is_finite(packed: Packed, shape: tuple[int, int]) -> None:
    assert_is_torchs(packed, random_ids(shape), np.zeros(shape, np.int64))


@given(st.data())
@settings(max_examples=5, deadline=None)
def test_any_mask_is_torchs(packed: Packed, data: st.DataObject) -> None:
    """Random texts, each with a stretch of real tokens of which some are left out."""
    rows = data.draw(st.integers(1, 3), "rows")
    columns = data.draw(st.integers(1, 700), "columns")
    mask = np.zeros((rows, columns), np.int64)
    for row in mask:
        start, end = sorted(data.draw(st.tuples(*[st.integers(0, columns)] * 2), "stretch"))
        kept = data.draw(st.sampled_from([0.1, 0.9, 1.0]), "kept")
        row[start:end] = np.random.default_rng(start).random(end - start) < kept
    assert_is_torchs(packed, random_ids(mask.shape), mask)


@pytest.mark.parametrize("lengths", [(1, 3, 127, 130), (1, 129, 640, 300)], ids=["dense", "windowed"])
def test_a_text_is_the_same_alone_and_in_a_batch(packed: Packed, lengths: tuple[int, ...]) -> None:
    ids, mask = ragged(lengths)
    together = packed.run(ids, mask)
    for row, length in enumerate(lengths):
        alone = packed.run(ids[row : row + 1, :length], mask[row : row + 1, :length])
        np.testing.assert_allclose(together[row, :length], alone[0], rtol=0, atol=1e-5)


def test_padding_is_not_looked_at(packed: Packed) -> None:
    """Not even its token ids, and not how much there is."""
    ids, mask = ragged((30, 4))
    output = packed.run(ids, mask)
    np.testing.assert_array_equal(packed.run(np.where(mask, ids, 11), mask), output)
    wider = [np.pad(array, ((0, 0), (0, 50))) for array in (ids, mask)]
    np.testing.assert_allclose(packed.run(*wider)[:, :30], output, rtol=0, atol=1e-6)


@pytest.mark.parametrize("variant", ["plain", "qk-post-norm"])
def test_the_longest_text_is_torchs_beside_short_ones(variant: Variant) -> None:
    """8192 tokens, one of the neighbours empty, through a tiny encoder whose scores are far from even."""
    config = JinaBertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
        type_vocab_size=2,
        max_position_embeddings=8192,
        layer_norm_eps=1e-12,
        feed_forward_type="geglu",
    )
    torch.manual_seed(0)
    encoder = JinaBertEncoder(config, variant).requires_grad_(False).eval()
    for layer in encoder.encoder.layer:
        attention = layer.attention.self
        for part in (attention.layer_norm_q, attention.layer_norm_k) if attention.normalises else (attention.query,):
            part.weight *= 3
    ids, mask = ragged((3, 8192, 130, 1))
    mask[3] = 0
    assert_is_torchs(pack(encoder, trace.trace(encoder)), ids, mask, tolerance=2e-5)


def test_names_types_axes_and_opsets_are_the_contract(packed: Packed) -> None:
    model = packed.model
    assert [value.name for value in model.graph.input] == ["input_ids", "attention_mask"]
    assert [value.name for value in model.graph.output] == ["last_hidden_state"]
    for value in model.graph.input:
        assert value.type.tensor_type.elem_type == TensorProto.INT64
        assert [axis.dim_param for axis in value.type.tensor_type.shape.dim] == ["batch", "sequence"]
    output = model.graph.output[0].type.tensor_type
    assert output.elem_type == TensorProto.FLOAT
    assert [axis.dim_param for axis in output.shape.dim[:2]] == ["batch", "sequence"]
    assert output.shape.dim[2].dim_value == packed.encoder.embeddings.word_embeddings.embedding_dim
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 23, "jinabert": 2}
    onnx.checker.check_model(model, full_check=True)


def test_every_node_is_a_standard_operator_or_one_with_a_body(packed: Packed) -> None:
    """In the graph, in the functions and in the graphs within them: nothing that only one runtime has."""
    model = packed.model
    bodies = {(function.domain, function.name): function for function in model.functions}
    used = set()
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        for node in nested(nodes):
            assert node.domain in ("", "jinabert"), node.op_type
            if node.domain == "jinabert":
                used.add((node.domain, node.op_type))
    assert used == set(bodies)
    for function in bodies.values():
        domains = {node.domain for node in nested(function.node)}
        assert domains <= {entry.domain for entry in function.opset_import}
        assert {entry.domain: entry.version for entry in function.opset_import}[""] == 23


def test_functions_call_no_others(packed: Packed) -> None:
    for function in packed.model.functions:
        assert not any(node.domain == "jinabert" for node in nested(function.node)), function.name


def test_each_layer_has_one_attention_and_one_feed_forward(packed: Packed) -> None:
    kinds = [node.op_type for node in packed.model.graph.node if node.domain == "jinabert"]
    layers = len(packed.encoder.encoder.layer)
    assert kinds == ["AttentionPlan", *["AlibiAttention", "GatedFeedForward"] * layers, "Unpack"]


def test_no_table_of_positions_is_stored(packed: Packed) -> None:
    """What is stored is as many numbers as the graph needs, and a handful; constants of nodes are few."""
    encoder, model = packed.encoder, packed.model
    types = encoder.embeddings.token_type_embeddings.weight  # only its first row is used
    parameters = sum(parameter.numel() for parameter in encoder.parameters()) - types[1:].numel()
    for attention in (layer.attention.self for layer in encoder.encoder.layer):
        parameters -= attention.value.bias.numel()  # is part of the output's bias
        if not hasattr(attention, "layer_norm_k"):
            parameters -= attention.key.bias.numel()  # changes no softmax
    sizes = [int(np.prod(tensor.dims)) for tensor in model.graph.initializer]
    assert sum(size for size in sizes if size > 16) == parameters
    assert sum(size for size in sizes if size <= 16) <= 16
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        for attribute in (attribute for node in nested(nodes) for attribute in node.attribute):
            stored = numpy_helper.to_array(attribute.t).size if attribute.HasField("t") else 0
            assert max(stored, len(attribute.ints), len(attribute.floats)) <= 16, attribute.name


def test_the_traced_graph_is_left_as_it_was(packed: Packed) -> None:
    """A second precision is made from the same one."""
    before = packed.traced.SerializeToString()
    first, second = (optimize(packed.traced).SerializeToString() for _ in range(2))
    assert packed.traced.SerializeToString() == before
    assert first == second == packed.model.SerializeToString()


def test_the_padded_form_in_half_precision_keeps_its_version() -> None:
    encoder = trace.halve(open_checkpoint(GOLDENS / "plain-4h").load_encoder())
    model = trace.trace(encoder)
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 23, "jinabert": 1}
    assert [(function.domain, function.name) for function in model.functions] == [("jinabert", "AlibiAttention")]
    assert {node.op_type for node in model.graph.node if node.domain} == {"AlibiAttention"}


def test_the_batches_above_run_in_both_forms() -> None:
    """Where the graph changes from one form to the other: the tests of each rest on it."""
    assert DENSE_TOKENS == 512
    assert 8 * 181**2 <= DENSE_TOKENS**2 < 8 * 182**2
