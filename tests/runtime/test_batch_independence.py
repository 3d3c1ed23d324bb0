"""A text's vector is its own: whatever runs beside it, however many, however long, and with whatever padding."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinabert_onnx import Embedder
from jinabert_onnx.encoding.pooling import pool
from jinabert_onnx.engine.session import Session
from jinabert_onnx.errors import RunError
from support.paths import BUNDLES, DATA
from support.references import cosines

MIN_COSINE = 0.999999
LENGTHS = (1, 2, 3, 5, 9, 16, 40, 64, 127, 128, 129, 300)
LONG = (600, 513)  # windowed; texts beside them are computed one after the other


@dataclass(frozen=True)
class Texts:
    """Token ids of each text, and its vector when it runs alone."""

    session: Session
    ids: list[np.ndarray]
    alone: np.ndarray  # (texts, hidden)

    def vectors(self, chosen: Sequence[int], left: int = 0, right: int = 0) -> np.ndarray:
        """Of the chosen texts in one batch, with `left` columns of padding before and `right` after the longest."""
        return run_batch(self.session, [self.ids[text] for text in chosen], left, right)

    def assert_as_alone(self, chosen: Sequence[int], left: int = 0, right: int = 0) -> None:
        """The cosine of each chosen text's vector to that of the text alone."""
        assert cosines(self.vectors(chosen, left, right), self.alone[chosen]).min() >= MIN_COSINE


def run_batch(session: Session, texts: Sequence[np.ndarray], left: int = 0, right: int = 0) -> np.ndarray:
    """Mean-pooled vectors; ids of padding are none in particular."""
    longest = max(map(len, texts))
    input_ids = np.full((len(texts), left + longest + right), 7)
    attention_mask = np.zeros_like(input_ids)
    for row, ids in enumerate(texts):
        input_ids[row, left : left + len(ids)] = ids
        attention_mask[row, left : left + len(ids)] = 1
    return pool(session.run(input_ids, attention_mask), attention_mask, "mean")


@pytest.fixture(scope="module", params=["tiny-de-en", "plain-12h", "plain-6h-reglu", "qk-post-norm-12h"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def texts(request: pytest.FixtureRequest, name: str) -> Texts:
    """Random tokens, texts of all lengths."""
    model = Embedder.load(BUNDLES / name, precision=request.param, provider="cpu")
    generator = np.random.default_rng(0)
    vocabulary = model.bundle.manifest.model.vocab_size
    ids = [generator.integers(5, vocabulary, size=length) for length in (*LENGTHS, *LONG)]
    alone = np.concatenate([run_batch(model._model.session, [row]) for row in ids])
    return Texts(model._model.session, ids, alone)


@pytest.mark.parametrize("size", [2, 5, len(LENGTHS)])
def test_batches_of_any_size_give_the_vectors_of_each_alone(texts: Texts, size: int) -> None:
    for start in range(0, len(LENGTHS), size):
        texts.assert_as_alone(range(start, min(start + size, len(LENGTHS))))


@pytest.mark.parametrize("long", range(len(LENGTHS), len(LENGTHS) + len(LONG)))
def test_a_long_neighbour_changes_nothing(texts: Texts, long: int) -> None:
    """It makes attention go from one text to the next, each in the form that it has alone."""
    texts.assert_as_alone([long, *range(len(LENGTHS))])
    texts.assert_as_alone([0, long])


def test_many_short_texts_change_nothing(texts: Texts) -> None:
    """Copies of each: the same vector for all of them."""
    texts.assert_as_alone([4] * 70)
    texts.assert_as_alone([0, 1, 2, 3] * 20)


@pytest.mark.parametrize(("left", "right"), [(0, 1), (0, 500), (3, 0), (700, 90)])
def test_padding_changes_nothing(texts: Texts, left: int, right: int) -> None:
    """Before the text or after it: positions count from one token to another only."""
    texts.assert_as_alone([0, 3, 6, 9], left, right)
    texts.assert_as_alone([2], left, right)


def test_a_neighbour_without_any_token_changes_nothing(texts: Texts) -> None:
    input_ids = np.stack([texts.ids[6], texts.ids[6], texts.ids[6][::-1]])
    attention_mask = np.ones_like(input_ids)
    attention_mask[1] = 0
    output = texts.session.run(input_ids, attention_mask)
    assert np.isfinite(output).all()
    vector = pool(output[:1], attention_mask[:1], "mean")
    assert cosines(vector, texts.alone[6:7]).min() >= MIN_COSINE


@given(
    chosen=st.lists(st.integers(0, len(LENGTHS) + len(LONG) - 1), min_size=1, max_size=8),
    left=st.integers(0, 60),
    right=st.integers(0, 60),
)
@settings(max_examples=10, deadline=None)
def test_no_batch_changes_a_vector(texts: Texts, chosen: list[int], left: int, right: int) -> None:
    texts.assert_as_alone(chosen, left, right)


def test_any_number_above_0_in_the_mask_is_a_token(texts: Texts) -> None:
    ids = np.stack([texts.ids[6], texts.ids[6][::-1]])
    mask = np.ones_like(ids)
    mask[:, 20:] = 0
    expected = texts.session.run(ids, mask)
    np.testing.assert_array_equal(texts.session.run(ids, np.where(mask, 2**40, -1)), expected)


@pytest.mark.parametrize("dtype", [bool, np.int32, np.float32])
def test_a_mask_of_another_type_is_refused_and_never_misread(texts: Texts, dtype: type) -> None:
    ids = texts.ids[3][None]
    with pytest.raises(RunError, match=r"expected: \(tensor\(int64\)\)"):
        texts.session.run(ids, np.ones_like(ids).astype(dtype))


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    """Real ones of 2 to 400 tokens."""
    golden = json.loads((DATA / "tiny-de-en" / "golden.json").read_text("utf-8"))["texts"]
    return ["", "a", *golden[:20], " ".join(golden)[:1500], "Der Zug nach Berlin hat Verspätung. " * 30]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_encode_gives_each_sentence_its_own_vector(sentences: list[str], precision: str) -> None:
    """Real sentences, in any batch size, order and company."""
    model = Embedder.load(BUNDLES / "tiny-de-en", precision=precision, provider="cpu")
    alone = np.stack([model.encode(text) for text in sentences])
    for batch_size in (1, 3, 32):
        assert cosines(model.encode(sentences, batch_size=batch_size), alone).min() >= MIN_COSINE
    order = np.random.default_rng(0).permutation(len(sentences))
    assert cosines(model.encode([sentences[text] for text in order]), alone[order]).min() >= MIN_COSINE
    assert cosines(model.encode(sentences[::2]), alone[::2]).min() >= MIN_COSINE
