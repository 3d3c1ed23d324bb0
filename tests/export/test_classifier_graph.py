"""The graph of a classifier: its logits are the original's, in every form, and only first tokens go all the way."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from conftest import GOLDENS, ragged, stock_session
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder import trace
from jinabert_onnx_export.encoder.config import read_config
from jinabert_onnx_export.encoder.model import JinaBertClassifier, JinaBertEncoder
from jinabert_onnx_export.passes.optimize import optimize
from jinabert_onnx_export.verify.pairs import predict, tokenize
from jinabert_onnx_export.verify.reference import run_torch
from support.large_scores import random_weights
from support.pair_goldens import CROSS_ENCODERS, NAMES, read_pair_golden

TOLERANCE = 5e-5
FORMS = ("traced", "optimized")

Arrays = dict[str, np.ndarray]


@cache
def load(name: str) -> JinaBertEncoder:
    """A golden's classifier, or one of the other variant with random weights, two labels and token types."""
    if name in NAMES:
        return open_checkpoint(CROSS_ENCODERS / name).load_encoder()
    config = read_config(GOLDENS / name / "config.json")
    classifier = JinaBertClassifier(config, "qk-post-norm", 2, takes_token_types=True)
    classifier.load_state_dict(random_weights(classifier, seed=1))
    return classifier.eval().requires_grad_(False)


@cache
def graph(name: str, form: str) -> onnx.ModelProto:
    """Made once for all tests, which leave it as it is."""
    return trace.trace(load(name)) if form == "traced" else optimize(graph(name, "traced"))


@pytest.fixture(params=[(name, form) for name in NAMES for form in FORMS], ids="-".join)
def golden(request: pytest.FixtureRequest) -> tuple[str, Callable[[Arrays], np.ndarray]]:
    """Each golden's name, and its graph in both forms in a stock session."""
    name, form = request.param
    session = stock_session(graph(name, form))
    taken = {value.name for value in session.get_inputs()}
    return name, lambda given: session.run(None, {key: each for key, each in given.items() if key in taken})[0]


def inputs_of(name: str) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """A golden's padded inputs, int64, their lengths, and the original's logits."""
    with np.load(CROSS_ENCODERS / name / "golden.npz") as arrays:
        keys = ("input_ids", "attention_mask", "token_type_ids")
        return {key: arrays[key].astype(np.int64) for key in keys}, arrays["lengths"], arrays["logits"]


def test_logits_are_the_originals_alone_and_in_padded_batches(golden: tuple[str, Callable]) -> None:
    name, run = golden
    inputs, lengths, expected = inputs_of(name)
    for row in (*np.flatnonzero(lengths < 64), np.argmax(lengths)):
        alone = run({key: each[row : row + 1, : lengths[row]] for key, each in inputs.items()})
        np.testing.assert_allclose(alone[0], expected[row], rtol=0, atol=TOLERANCE)
    with np.load(CROSS_ENCODERS / name / "golden.npz") as arrays:
        rows, batch = arrays["batch_index"], arrays["batch_logits"]
    assert lengths.max() > 2 * lengths[rows].max()
    output = run({key: each[rows, : lengths[rows].max()] for key, each in inputs.items()})
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, batch, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_torch_gives_the_originals_logits_from_texts(name: str) -> None:
    """Tokens, types and logits of pairs and of single texts, and of pairs cut longest first."""
    golden, opened = read_pair_golden(name), open_checkpoint(CROSS_ENCODERS / name)
    few = [index for index, length in enumerate(golden.lengths) if length < 200]
    rows = tokenize(opened, [golden.pairs[index] for index in few])
    assert [row.input_ids.tolist() for row in rows] == [
        golden.input_ids[index, : golden.lengths[index]].tolist() for index in few
    ]
    logits = predict(opened, load(name), [golden.pairs[index] for index in few])
    np.testing.assert_allclose(logits, golden.logits[few], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [*NAMES, "qk-post-norm-12h"])
def test_logits_are_torchs_with_holes_types_and_texts_of_any_length(name: str, form: str) -> None:
    """Hidden tokens within a text, but not the first one; texts of one token; more texts than one block has rows."""
    session = stock_session(graph(name, form))
    takes_types = "token_type_ids" in {value.name for value in session.get_inputs()}
    generator = np.random.default_rng(0)
    for lengths in ((1,), (300, 2, 129), (1,) * 40):
        ids, mask = ragged(lengths, vocabulary=300)
        mask[0, 2:200:3] = 0
        types = generator.integers(2, size=ids.shape) if takes_types else None
        given = {"input_ids": ids, "attention_mask": mask} | ({"token_type_ids": types} if types is not None else {})
        expected = run_torch(load(name), ids, mask, types)
        np.testing.assert_allclose(session.run(None, given)[0], expected, rtol=0, atol=TOLERANCE)
        if types is not None and max(lengths) > 2:
            assert np.abs(expected - run_torch(load(name), ids, mask, np.zeros_like(ids))).max() > 0.01


@pytest.mark.parametrize("name", NAMES)
def test_names_axes_and_opset_are_the_contract(name: str) -> None:
    labels = read_pair_golden(name).logits.shape[1]
    for form in FORMS:
        model = graph(name, form)
        types = ["token_type_ids"] if name == "classifier-3-4h" else []
        assert [value.name for value in model.graph.input] == ["input_ids", "attention_mask", *types]
        for value in model.graph.input:
            assert value.type.tensor_type.elem_type == onnx.TensorProto.INT64
            assert [axis.dim_param for axis in value.type.tensor_type.shape.dim] == ["batch", "sequence"]
        (output,) = model.graph.output
        assert (output.name, output.type.tensor_type.elem_type) == ("logits", onnx.TensorProto.FLOAT)
        assert [axis.dim_param or axis.dim_value for axis in output.type.tensor_type.shape.dim] == ["batch", labels]
        onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("name", ["reranker-12h", "classifier-3-4h", "qk-post-norm-12h"])
def test_after_the_last_attention_only_first_tokens_are_computed(name: str) -> None:
    """Nothing with a row for every token is left there: the values' shapes, of 3 texts with 17 tokens, tell it."""
    model = onnx.ModelProto.FromString(graph(name, "optimized").SerializeToString())
    nodes = list(model.graph.node)
    (last,) = [index for index, node in enumerate(nodes) if node.op_type == "AlibiAttention"][-1:]
    after = [node.output[0] for node in nodes[last + 1 :] if node.output[0] != "logits"]
    assert sum(node.op_type == "GatedFeedForward" for node in nodes[last + 1 :]) == 1
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(value) for value in after)
    ids, mask = ragged((9, 3, 5), vocabulary=300)
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    session = stock_session(model)
    outputs = session.run(after, {value.name: given[value.name] for value in session.get_inputs()})
    assert {len(output) for output in outputs} == {3}


def test_the_head_of_a_halved_classifier_stays_float32() -> None:
    name = "classifier-3-4h"
    halved = trace.halve(open_checkpoint(CROSS_ENCODERS / name).load_encoder())
    types = {key.partition(".")[0]: tensor.dtype for key, tensor in halved.state_dict().items()}
    floats = dict.fromkeys(("pooler", "classifier"), torch.float32)
    assert types == {"embeddings": torch.float16, "encoder": torch.float16} | floats
    session = stock_session(trace.trace(halved))
    inputs, lengths, expected = inputs_of(name)
    few = lengths < 100
    output = session.run(None, {key: each[few, :100] for key, each in inputs.items()})[0]
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, expected[few], rtol=0, atol=0.02)
