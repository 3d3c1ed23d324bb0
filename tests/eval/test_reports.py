"""The reports on real sessions: figures that must hold on every machine, and those of models that are known to fail."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from jinabert_onnx import Embedder
from jinabert_onnx.errors import InputError
from jinabert_onnx.text.sentences import sentence_spans
from jinabert_onnx_eval.metrics.languages import measure_languages
from jinabert_onnx_eval.metrics.retrieval import RetrievalReport, chunk_spans, measure_retrieval, relevant_chunks
from jinabert_onnx_eval.metrics.truncation import CUT, measure_truncation
from jinabert_onnx_eval.scores import Vectors
from jinabert_onnx_eval.texts.cloze import Corpus, Query, make_corpus
from jinabert_onnx_eval.texts.read import EvalTexts, Pair


@pytest.fixture(scope="module")
def corpus(texts: EvalTexts) -> Corpus:
    return make_corpus(texts)


@pytest.fixture(scope="module")
def plain(model: Embedder, corpus: Corpus) -> RetrievalReport:
    return measure_retrieval(model, corpus)


def test_the_trained_model_serves_both_languages(model: Embedder, texts: EvalTexts):
    report = measure_languages(model.encode, texts.pairs)
    directions = report.directions
    assert min(directions.german_finds_english.hit_1, directions.english_finds_german.hit_1) > 0.9
    for queries in (report.german_queries, report.english_queries):
        assert 0.3 < queries.own_language < 0.7
        assert queries.found.documents == 2 * len(texts.pairs) - 1
        assert queries.loss.mean >= 0
    mixed = report.mixed
    assert mixed.texts == len(texts.pairs) // 2
    assert min(mixed.to_german, mixed.to_english) > mixed.between


def test_a_model_that_sees_language_first_is_found_out(model: Embedder, texts: EvalTexts):
    german = {pair.german for pair in texts.pairs}

    def biased(batch: Sequence[str]) -> Vectors:
        marks = np.array([[10.0 if text in german else -10.0] for text in batch], dtype=np.float32)
        return np.hstack([model.encode(batch), marks])

    report = measure_languages(biased, texts.pairs)
    assert report.german_queries.own_language > 0.99
    assert report.english_queries.own_language_near > 0.99
    assert report.german_queries.similarity_gap > report.german_queries.similarity_spread
    assert report.german_queries.found.hit_1 == 0
    assert report.german_queries.loss.is_clear


def test_chunks_are_whole_sentences_and_hold_the_text(model: Embedder, corpus: Corpus):
    text = corpus.documents[0]
    spans = chunk_spans(text, model, 60)
    assert len(spans) > 1
    for start, end in spans:
        piece = text[start:end]
        assert model.loaded.tokenizer.count(piece) <= 60 or len(sentence_spans(piece)) == 1
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert "".join("".join(text[start:end] for start, end in spans).split()) == "".join(text.split())


def test_the_chunk_of_an_answer_is_found_and_of_a_gap_both_sides():
    corpus = Corpus(("aaaa bbbb", "cccc"), (Query("q", 0, 6, 8), Query("q", 0, 4, 4), Query("q", 1, 0, 4)), "questions")
    found = relevant_chunks(corpus, [[(0, 4), (5, 9)], [(0, 4)]])
    assert found.tolist() == [[False, True, False], [True, True, False], [False, False, True]]


def test_chunks_are_found_plain_and_late(plain: RetrievalReport, corpus: Corpus):
    assert plain.rows.keys() == {"plain", "late"}
    assert plain.queries == len(corpus.queries) > 10
    for row in plain.rows.values():
        assert 3 / plain.chunks < row.hits[1] <= row.hits[3] <= row.hits[10] <= 1
        assert row.hits[1] <= row.mrr
    assert plain.rerank_gain == {}


def test_a_perfect_reranker_finds_all_that_it_is_given(model: Embedder, corpus: Corpus, plain: RetrievalReport):
    answers = {query.text: query for query in corpus.queries}

    def perfect(query: str, chunks: Sequence[str]) -> list[float]:
        text, place = corpus.documents[answers[query].document], answers[query].start
        return [-abs(text.index(chunk) + len(chunk) / 2 - place) if chunk in text else -1e9 for chunk in chunks]

    report = measure_retrieval(model, corpus, rerank=perfect, candidates=5)
    assert report.rows["plain"] == plain.rows["plain"]
    for name in ("plain", "late"):
        assert report.rows[f"{name}, reranked"].hits[1] > report.rows[name].hits[1]
        assert report.rows[f"{name}, reranked"].hits[1] <= report.within[name]
        assert report.rerank_gain[name].mean > 0


def test_a_reranker_without_opinion_changes_nothing(model: Embedder, corpus: Corpus, plain: RetrievalReport):
    report = measure_retrieval(model, corpus, rerank=lambda query, chunks: [0.0] * len(chunks), candidates=5)
    assert report.rows["late, reranked"] == plain.rows["late"]


@pytest.mark.parametrize("answer", [[1.0], None, ["a", "b"], [float("nan")] * 2])
def test_a_reranker_that_answers_wrongly_is_named(model: Embedder, answer: list[float]):
    small = Corpus(("One. Two.", "Three."), (Query("Two.", 0, 5, 9),), "questions")
    with pytest.raises(InputError, match="reranker"):
        measure_retrieval(model, small, chunk_tokens=2, rerank=lambda query, chunks: answer, candidates=2)


def test_a_reranker_that_fails_is_told_in_one_line(model: Embedder):
    def broken(query: str, chunks: Sequence[str]) -> list[float]:
        raise KeyError("model.bin")

    small = Corpus(("One. Two.", "Three."), (Query("Two.", 0, 5, 9),), "questions")
    with pytest.raises(InputError, match=r"the reranker failed: KeyError: 'model\.bin'"):
        measure_retrieval(model, small, rerank=broken)


def test_reading_whole_finds_what_cutting_loses(model: Embedder, corpus: Corpus):
    report = measure_truncation(model, corpus)
    whole, first, windows = report.readings.values()
    assert whole.min_cosine == pytest.approx(1)
    assert first.mean_cosine < windows.mean_cosine < 1
    assert whole.found_rest is not None
    assert first.found_rest is not None
    assert whole.found_rest.hit_1 > first.found_rest.hit_1
    assert report.mean_tokens > CUT


def test_short_documents_have_nothing_to_cut(model: Embedder):
    corpus = Corpus(("one", "two"), (Query("one", 0, 0, 3),), "questions")
    with pytest.raises(InputError, match="more than 512 tokens"):
        measure_truncation(model, corpus)


def test_pairs_of_no_translation_find_nothing(model: Embedder, texts: EvalTexts):
    turned = [Pair(pair.english, other.german) for pair, other in pairwise(texts.pairs)]
    assert measure_languages(model.encode, turned).directions.german_finds_english.hit_1 < 0.1
