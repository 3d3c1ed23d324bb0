"""Documents in the order of their scores, long ones in windows, as the family's own `rerank` does it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinabert_onnx import CrossEncoder, InputError, InputTypeError, RankedDocument, TruncationWarning
from jinabert_onnx.scoring.ranking import Lengths, Windows, best_of_windows, in_order, read_query, split_documents
from jinabert_onnx.text.pair_tokenizer import tokenize_pairs
from jinabert_onnx.text.tokenizer import Tokenizer
from support.pair_goldens import CROSS_ENCODERS, RERANKERS
from support.paths import BUNDLES, TRAINED_RERANKER


@pytest.fixture(scope="module")
def model() -> CrossEncoder:
    return CrossEncoder.load(TRAINED_RERANKER)


def windows_of(tokenizer: Tokenizer, query: str, documents: list[str], lengths: Lengths) -> Windows:
    return split_documents(read_query(tokenizer, query, lengths), tokenizer.bare(documents))


@pytest.mark.filterwarnings("ignore:the query was cut")  # as the original's was, in one run
@pytest.mark.parametrize("name", RERANKERS)
def test_windows_scores_and_order_are_the_originals(name: str) -> None:
    golden = json.loads((CROSS_ENCODERS / name / "golden_rerank.json").read_text("utf-8"))
    model, documents = CrossEncoder.load(BUNDLES / name), golden["documents"]
    for run in golden["runs"]:
        query = golden["queries"][run["query"]]
        lengths = {key: run[key] for key in ("max_length", "max_query_length", "overlap_tokens") if key in run}
        asked = {"max_length": 1024, "max_query_length": 512, "overlap_tokens": 80} | lengths
        windows = windows_of(model.loaded.tokenizer, query, documents, Lengths(**asked))
        assert [ids.tolist() for ids in windows.input_ids] == run["chunk_input_ids"]
        assert windows.owners.tolist() == run["chunk_owner"]
        ranked = model.rank(query, documents, **lengths)
        assert [each.index for each in ranked] == run["order"]
        found = [each.score for each in sorted(ranked, key=lambda each: each.index)]
        np.testing.assert_allclose(found, run["relevance_scores"], rtol=0, atol=2e-5)


def test_short_documents_have_the_scores_of_predict(model: CrossEncoder) -> None:
    documents = ["Das Wetter ist heute schön.", "", "The weather is nice today.", "Apples."]
    ranked = model.rank("Wie ist das Wetter heute?", documents, return_documents=True)
    scores = model.predict([("Wie ist das Wetter heute?", text) for text in documents])
    assert sorted(each.index for each in ranked) == [0, 1, 2, 3]
    for each in ranked:
        assert each.document == documents[each.index]
        assert each.score == pytest.approx(scores[each.index], abs=1e-6)
    assert [each.score for each in ranked] == sorted((each.score for each in ranked), reverse=True)
    assert model.rank("Wie ist das Wetter heute?", documents, 2) == [
        RankedDocument(each.index, each.score) for each in ranked[:2]
    ]


def test_equal_scores_keep_the_order_of_the_documents(model: CrossEncoder) -> None:
    assert [each.index for each in model.rank("a", ["b", "b", "b"])] == [0, 1, 2]
    assert model.rank("a", []) == []


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"documents": "text"}, InputTypeError, "documents is one str"),
        ({"documents": ["a", 3]}, InputTypeError, "document 1 is int"),
        ({"documents": None}, InputTypeError, "documents must be a str or an iterable of str, not NoneType"),
        ({"documents": ["a", "\ud800"]}, InputError, "document 1 is not valid Unicode"),
        ({"query": 3}, InputTypeError, "query is int, not str"),
        ({"query": "\ud800"}, InputError, "the query is not valid Unicode"),
        ({"max_length": 600}, InputError, "max_length 600 is less than twice max_query_length 512"),
        ({"max_length": 8, "max_query_length": 1}, InputError, "less than the 2 special tokens"),
        ({"max_length": 4, "max_query_length": 2}, InputError, "leaves no room for a document"),
        ({"overlap_tokens": -1}, InputError, "overlap_tokens"),
        ({"top_n": 0}, InputError, "top_n"),
        ({"maximum": 1}, InputTypeError, "unexpected keyword argument 'maximum'"),
    ],
)
def test_arguments_that_cannot_be_used_are_named(
    model: CrossEncoder, arguments: dict, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        model.rank(**{"query": "a", "documents": ["b"]} | arguments)


def test_scores_that_float32_rounds_to_1_keep_their_order() -> None:
    logits = np.array([20, 25, 22, 25], dtype=np.float32)
    assert [each.index for each in in_order(logits, np.ones(4, dtype=np.float32), ["a"] * 4, None, False)] == [
        1,
        3,
        2,
        0,
    ]


def test_windows_are_no_longer_than_the_models_own_limit() -> None:
    model = CrossEncoder.load(TRAINED_RERANKER)
    document = "word " * 300
    model.max_seq_length = 64
    short = model.rank("some query", [document])
    assert short == model.rank("some query", [document], max_length=64, max_query_length=32)
    model.max_seq_length = 8192
    assert short != model.rank("some query", [document])


def test_a_query_that_is_cut_is_told(model: CrossEncoder) -> None:
    with pytest.warns(TruncationWarning, match="the query was cut to 512 tokens") as caught:
        model.rank("word " * 600, ["text"])
    assert caught[0].filename == __file__


def test_token_types_of_windows_are_those_of_pairs() -> None:
    tokenizer = CrossEncoder.load(BUNDLES / "classifier-3-4h").loaded.tokenizer
    windows = windows_of(tokenizer, "how is it", ["fine thanks", ""], Lengths(64, 32, 8))
    rows = tokenize_pairs(tokenizer, [("how is it", "fine thanks"), ("how is it", "")], 64)
    assert [ids.tolist() for ids in windows.input_ids] == [row.input_ids.tolist() for row in rows]
    assert [types.tolist() for types in windows.token_type_ids] == [row.token_type_ids.tolist() for row in rows]
    assert 1 in windows.token_type_ids[0]


def test_a_classifier_of_several_labels_gives_no_order() -> None:
    with pytest.raises(InputError, match=r"has 3 \(contradiction, entailment, neutral\); use CrossEncoder\.predict"):
        CrossEncoder.load(BUNDLES / "classifier-3-4h").rank("a", ["b"])


TOKENIZER = Tokenizer(CROSS_ENCODERS / "reranker-6h" / "tokenizer.json")


@given(words=st.integers(0, 200), query=st.integers(0, 30), half=st.integers(4, 40), overlap=st.integers(0, 50))
def test_windows_hold_every_token_and_overlap_as_asked(words: int, query: int, half: int, overlap: int) -> None:
    document = " ".join(f"word{index % 10}" for index in range(words))
    question = " ".join(["query"] * query)
    windows = windows_of(TOKENIZER, question, [document], Lengths(2 * half + 8, half, overlap))
    (ids,) = TOKENIZER.bare([document])
    kept = min(len(TOKENIZER.bare([question])[0]), half - 2)
    parts = [row[kept + 3 : -1] for row in windows.input_ids]
    assert max(map(len, windows.input_ids)) <= 2 * half + 8
    room = 2 * half + 8 - kept - 4
    step = room - min(overlap, room // 4)
    starts = [0] if len(parts) == 1 else [*(step * index for index in range(len(parts) - 1)), len(ids) - room]
    for start, part in zip(starts, parts, strict=True):
        np.testing.assert_array_equal(part, ids[start : start + room])
    assert starts[-1] + room >= len(ids)


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1, width=32)), min_size=1))
def test_the_best_window_counts_and_ties_go_by_index(windows: list[tuple[int, float]]) -> None:
    owners = np.array([owner for owner, _ in windows])
    scores = np.array([score for _, score in windows], dtype=np.float32)
    documents = sorted(set(owners.tolist()))
    places = np.array([documents.index(owner) for owner in owners])
    best = best_of_windows(scores, places, len(documents))
    expected = {
        place: max(score for owner, score in zip(places, scores, strict=True) if owner == place)
        for place in range(len(documents))
    }
    ranked = in_order(best, best, [str(each) for each in documents], None, True)
    assert [each.index for each in ranked] == sorted(expected, key=lambda place: (-expected[place], place))
