"""The int8 graph of the trained cross-encoder orders held-out pairs nearly as torch's float32 does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import stock_session
from jinabert_onnx.bundle.score_agreement import compare_scores
from jinabert_onnx.engine.batching import pad
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder import trace
from jinabert_onnx_export.int8.activations import record_activations
from jinabert_onnx_export.passes.optimize import optimize
from jinabert_onnx_export.verify.pairs import tokenize
from jinabert_onnx_export.verify.verify import task_of
from support.paths import RERANKER

QUERIES, CANDIDATES = 40, 20
MAX_SCORE_DIFFERENCE = 0.1  # 0.06 in a hundred queries
RMS_OF_LOGITS = 0.09  # 0.07, where logits spread by 1.9
MIN_RANK_CORRELATION = 0.999
MOST_FIRST_CHANGES = 0.1  # 0.04


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, onnx.ModelProto]:
    task = task_of(open_checkpoint(RERANKER))
    encoder = task.checkpoint.load_encoder()
    traced = trace.trace(encoder)
    return {"fp32": optimize(traced), "int8": optimize(traced, record_activations(encoder, *task.calibration(None)))}


@pytest.fixture(scope="module")
def held_out(models: dict[str, onnx.ModelProto]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Logits (pairs, 1) by precision, of pairs in batches of like length, and what the original gave."""
    content = json.loads((Path(RERANKER) / "heldout.json").read_text("utf-8"))
    queries = content["queries"][:QUERIES]
    pairs = [(query["query"], content["texts"][index]) for query in queries for index in query["candidates"]]
    rows = [row.input_ids for row in tokenize(open_checkpoint(RERANKER), pairs)]
    expected = np.concatenate([query["logits"] for query in queries]).astype(np.float32)[:, None]
    batches = np.array_split(np.argsort([len(row) for row in rows]), 25)
    found = {}
    for precision, model in models.items():
        session, logits = stock_session(model), np.empty_like(expected)
        for batch in batches:
            ids, mask = pad([rows[index] for index in batch])
            logits[batch] = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        found[precision] = logits
    return found, expected


def test_fp32_logits_are_those_of_the_card(held_out: tuple) -> None:
    found, expected = held_out
    np.testing.assert_allclose(found["fp32"], expected, rtol=0, atol=1e-4)  # which is rounded to four decimals


def test_int8_scores_and_order_are_near(held_out: tuple) -> None:
    found, expected = held_out
    agreement = compare_scores(found["int8"], expected, "sigmoid")
    assert agreement.max_score_difference <= MAX_SCORE_DIFFERENCE
    assert agreement.rank_correlation >= MIN_RANK_CORRELATION
    assert np.sqrt(np.square(found["int8"] - expected).mean()) <= RMS_OF_LOGITS
    first, right = (each.reshape(QUERIES, CANDIDATES).argmax(axis=1) for each in (found["int8"], expected))
    assert (first != right).mean() <= MOST_FIRST_CHANGES


def test_layers_are_of_bytes_and_the_head_is_not(models: dict[str, onnx.ModelProto]) -> None:
    operators = [node.op_type for node in models["int8"].graph.node]
    assert (operators.count("QuantizedQueryKeyValue"), operators.count("QuantizedAfterAttention")) == (4, 4)
    assert operators.count("QuantizedEmbedding") == 1
    assert operators[-3:] == ["Gemm", "Tanh", "Gemm"]
    assert "MatMul" not in operators
