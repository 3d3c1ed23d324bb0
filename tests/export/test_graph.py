"""The exported graph: free of lengths and tables, right where it was never traced, readable by any client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import GOLDENS, operator_session, ragged, stock_session, trace_golden
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder import trace
from jinabert_onnx_export.encoder.alibi import alibi_attention, alibi_slopes
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.operators.padded_attention import DOMAIN, DOMAIN_VERSION, attention_function
from onnx import TensorProto, helper

VARIANTS = ("plain-12h", "plain-6h-reglu", "qk-post-norm-12h")


@pytest.fixture(scope="module", params=VARIANTS)
def traced(request: pytest.FixtureRequest) -> tuple[JinaBertEncoder, onnx.ModelProto]:
    return trace_golden(request.param)


@pytest.fixture(scope="module")
def run(traced: tuple[JinaBertEncoder, onnx.ModelProto]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The graph in a stock onnxruntime session, without any of the runtime's options."""
    session = stock_session(traced[1])
    return lambda ids, mask: session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


LENGTHS = [(1,), (2,), (3, 1), (9, 9), (127,), (128,), (129,), (257,), (513, 2, 256), (1, 700), (2048,), (1,) * 40]


def mask_with_holes() -> np.ndarray:
    """Of one text some tokens are hidden, of another all."""
    mask = np.ones((3, 300), np.int64)
    mask[0, 5:200:3] = 0
    mask[1] = 0
    return mask


@pytest.mark.parametrize("mask", [*(ragged(lengths)[1] for lengths in LENGTHS), mask_with_holes()])
def test_token_embeddings_are_torchs_at_other_lengths_and_masks(traced: tuple, run: Callable, mask: np.ndarray) -> None:
    ids = np.random.default_rng(mask.shape).integers(400, size=mask.shape)
    with torch.inference_mode():
        expected = traced[0](torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    output = run(ids, mask)
    assert output.dtype == np.float32
    assert np.isfinite(output).all()
    np.testing.assert_allclose(output[mask == 1], expected[mask == 1], rtol=0, atol=1e-4)


def test_names_axes_and_opset_are_the_contract(traced: tuple) -> None:
    model = traced[1]
    assert [value.name for value in model.graph.input] == ["input_ids", "attention_mask"]
    assert [value.name for value in model.graph.output] == ["last_hidden_state"]
    for value in model.graph.input:
        assert value.type.tensor_type.elem_type == TensorProto.INT64
        assert [axis.dim_param for axis in value.type.tensor_type.shape.dim] == ["batch", "sequence"]
    assert model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 23, DOMAIN: DOMAIN_VERSION}
    onnx.checker.check_model(model, full_check=True)


def test_attention_is_one_operator_a_layer_with_a_portable_body(traced: tuple) -> None:
    encoder, model = traced
    nodes = [node for node in model.graph.node if node.domain == DOMAIN]
    assert [node.op_type for node in nodes] == ["AlibiAttention"] * len(encoder.encoder.layer)
    (function,) = model.functions
    assert (function.domain, function.name) == (DOMAIN, "AlibiAttention")
    assert {node.domain for node in function.node} == {""}
    slopes = [list(attribute.floats) for node in nodes for attribute in node.attribute]
    heads = len(encoder.encoder.layer[0].attention.self.slopes)
    np.testing.assert_allclose(slopes, [alibi_slopes(heads)] * len(nodes), rtol=1e-6)


def test_no_table_of_positions_is_stored(traced: tuple) -> None:
    """Everything stored is a parameter of the checkpoint, at most transposed, or a handful of numbers."""
    encoder, model = traced
    parameters = sorted(parameter.numel() for parameter in encoder.parameters() if parameter.numel() > 16)
    stored = sorted(int(np.prod(tensor.dims)) for tensor in model.graph.initializer if np.prod(tensor.dims) > 16)
    unused = [encoder.embeddings.token_type_embeddings.weight.numel()]  # only its first row is, as a constant
    for size in stored:
        if size in parameters:
            parameters.remove(size)
        else:
            assert size == encoder.embeddings.token_type_embeddings.weight.shape[1]
    assert [size for size in parameters if size not in unused] == []


def test_nothing_in_the_file_tells_of_the_machine_it_was_made_on(traced: tuple) -> None:
    content = traced[1].SerializeToString()
    assert str(Path(trace.__file__).parent).encode() not in content
    assert b"stack_trace" not in content


@pytest.mark.parametrize("heads", [1, 4, 6, 12])
@pytest.mark.parametrize(("scale", "tolerance"), [(1.0, 1e-5), (40.0, 2e-3)])
def test_the_operator_computes_what_torch_does(heads: int, scale: float, tolerance: float) -> None:
    """Also with scores so large that one key takes nearly all the weight."""
    run = attention(alibi_slopes(heads), TensorProto.FLOAT)
    for length in (1, 7, 128, 300, 600):
        inputs = random_attention(heads, length, scale)
        expected = alibi_attention(*inputs, alibi_slopes(heads)).numpy()
        np.testing.assert_allclose(run(*inputs), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("heads", [4, 12])
def test_the_operator_in_half_precision_follows_the_exact_one(heads: int) -> None:
    run = attention(alibi_slopes(heads), TensorProto.FLOAT16)
    for length in (1, 7, 128, 300, 600):
        query, key, value, mask = random_attention(heads, length, scale=1.0)
        expected = alibi_attention(query, key, value, mask, alibi_slopes(heads)).numpy()
        output = run(query.half(), key.half(), value.half(), mask)
        assert output.dtype == np.float16
        np.testing.assert_allclose(output, expected, rtol=0, atol=0.01)


@pytest.mark.parametrize("element_type", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_far_keys_and_hidden_ones_overflow_nothing(element_type: int) -> None:
    """Distances of thousands, scores of thousands and rows without a visible key stay averages of the values."""
    run = attention([0.5, 2**-0.5], element_type)
    query, key, value, mask = random_attention(2, 5000, scale=40.0)
    mask[1] = False
    tensors = [tensor.half() if element_type == TensorProto.FLOAT16 else tensor for tensor in (query, key, value)]
    output = run(*tensors, mask).astype(np.float32)
    assert np.isfinite(output).all()
    assert np.abs(output).max() <= float(value.abs().max()) * 1.001
    np.testing.assert_allclose(output[1], np.broadcast_to(value[1].mean(dim=0), output[1].shape), rtol=0, atol=0.01)


def random_attention(heads: int, length: int, scale: float) -> tuple[torch.Tensor, ...]:
    """Query, key and value (2, length, 8 * heads), the first two scaled, and a mask that hides half a row."""
    generator = torch.Generator().manual_seed(heads)
    query, key, value = (torch.randn(2, length, 8 * heads, generator=generator) for _ in range(3))
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[1, length // 2 + 1 :] = False
    return query * scale, key * scale, value, mask


def attention(slopes: list[float], element_type: int) -> Callable[..., np.ndarray]:
    """A graph of one AlibiAttention node."""
    names = ("query", "key", "value", "key_mask")
    tensors = [
        helper.make_tensor_value_info(name, element_type, ["batch", "sequence", "hidden"])
        for name in (*names[:3], "output")
    ]
    mask = helper.make_tensor_value_info("key_mask", TensorProto.BOOL, ["batch", "sequence"])
    node = helper.make_node("AlibiAttention", names, ["output"], domain=DOMAIN, slopes=slopes)
    values = ([*tensors[:3], mask], tensors[3:])
    session = operator_session([node], values, [attention_function()])
    return lambda *inputs: session.run(
        None, {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
    )[0]


def test_only_large_weights_go_beside_the_file(traced: tuple, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = trace.save(traced[1], tmp_path / "inside.onnx")
    assert inside == [tmp_path / "inside.onnx"]
    monkeypatch.setattr(trace, "INLINE_LIMIT", 0)
    for _ in range(2):  # writing again must not append
        outside = trace.save(onnx.ModelProto.FromString(traced[1].SerializeToString()), tmp_path / "outside.onnx")
    assert outside == [tmp_path / "outside.onnx", tmp_path / "outside.onnx_data"]
    assert outside[1].stat().st_size < 1.1 * inside[0].stat().st_size
    ids, mask = ragged((5, 3))
    results = [
        stock_session(paths[0]).run(None, {"input_ids": ids, "attention_mask": mask})[0] for paths in (inside, outside)
    ]
    np.testing.assert_array_equal(*results)


def test_every_golden_has_a_test_of_its_variant() -> None:
    variants = {open_checkpoint(path).variant for path in GOLDENS.iterdir()}
    assert variants == {open_checkpoint(GOLDENS / name).variant for name in VARIANTS}
