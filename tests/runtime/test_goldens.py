"""Vectors against those of the original implementation, through the whole runtime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx import Embedder
from support.paths import DATA, TRAINED
from support.references import Golden, cosines


def test_fp32_vectors_are_the_originals_all_at_once_and_one_by_one(golden: Golden) -> None:
    model = Embedder.load(golden.bundle, precision="fp32")
    np.testing.assert_allclose(model.encode(golden.texts), golden.pooled, rtol=0, atol=2e-5)
    alone = np.stack([model.encode(text) for text in golden.texts])
    np.testing.assert_allclose(alone, golden.pooled, rtol=0, atol=2e-5)


def test_fp32_token_embeddings_are_the_originals(golden: Golden) -> None:
    rows = Embedder.load(golden.bundle).encode(golden.texts, output_value="token_embeddings")
    assert [len(row) for row in rows] == golden.lengths
    np.testing.assert_allclose(np.concatenate(rows), golden.token_embeddings, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("precision", "bound"), [("fp16", 0.9999), ("int8", 0.99)])
def test_other_precisions_point_the_same_way(golden: Golden, precision: str, bound: float) -> None:
    model = Embedder.load(golden.bundle, precision=precision)
    together, alone = model.encode(golden.texts), np.stack([model.encode(text) for text in golden.texts])
    assert cosines(together, golden.pooled).min() > bound
    assert cosines(alone, golden.pooled).min() > bound


def test_the_trained_checkpoint_gives_the_vectors_of_its_golden_file(model: Embedder) -> None:
    golden = json.loads((DATA / "tiny-de-en" / "golden.json").read_text("utf-8"))
    expected = np.load(DATA / "tiny-de-en" / "golden.npz")["embeddings"]
    assert model.count_tokens(golden["texts"]) == golden["token_counts"]
    np.testing.assert_allclose(model.encode(golden["texts"]), expected, rtol=0, atol=2e-5)
    alone = np.stack([model.encode(text) for text in golden["texts"]])
    np.testing.assert_allclose(alone, expected, rtol=0, atol=2e-5)


@pytest.fixture(scope="module")
def held_out() -> tuple[dict, dict]:
    folder: Path = DATA / "tiny-de-en"
    return json.loads((folder / "heldout.json").read_text("utf-8")), dict(np.load(folder / "heldout.npz"))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_german_and_english_find_each_other_as_the_model_card_says(held_out: tuple[dict, dict], precision: str) -> None:
    """The card's 94.2 and 94.5 % are among 2,000 pairs; among the 1,000 here the original's vectors give 95."""
    texts, reference = held_out
    model = Embedder.load(TRAINED, precision=precision)
    english = model.encode([pair["en"] for pair in texts["pairs"]])
    german = model.encode([pair["de"] for pair in texts["pairs"]])
    for found, expected in (
        (top_1(german, english), top_1(reference["pairs_de"], reference["pairs_en"])),
        (top_1(english, german), top_1(reference["pairs_en"], reference["pairs_de"])),
    ):
        assert found > 0.94
        assert abs(found - expected) <= (0.0 if precision == "fp32" else 0.005)


def top_1(queries: np.ndarray, documents: np.ndarray) -> float:
    similarity = Embedder.similarity(queries, documents)
    return float((similarity.argmax(axis=1) == np.arange(len(queries))).mean())


def test_long_texts_are_the_originals(model: Embedder, held_out: tuple[dict, dict]) -> None:
    """The shortest and the longest of the held-out documents: 1,000 to 6,000 tokens."""
    texts, reference = held_out
    order = np.argsort(model.count_tokens(texts["long"]))
    chosen = [int(order[0]), int(order[len(order) // 2]), int(order[-1])]
    vectors = model.encode([texts["long"][index] for index in chosen])
    np.testing.assert_allclose(vectors, reference["long"][chosen], rtol=0, atol=2e-5)
