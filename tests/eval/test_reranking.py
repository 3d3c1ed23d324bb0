"""`eval retrieval` with a cross-encoder: figures by hand from `encode` and `rank`, costs, records, and errors."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx import CrossEncoder, Embedder
from jinabert_onnx.cli import main
from jinabert_onnx.errors import InputError
from jinabert_onnx.scoring.options import MAX_LENGTH
from jinabert_onnx_eval.metrics.retrieval import RetrievalReport, chunk_spans, measure_retrieval, relevant_chunks
from jinabert_onnx_eval.scores import Ranks, paired_difference
from jinabert_onnx_eval.texts.cloze import Corpus, make_corpus
from jinabert_onnx_eval.texts.read import EvalTexts
from support.paths import BUNDLES, ROOT, TRAINED, TRAINED_RERANKER
from support.references import cosines

Capture = pytest.CaptureFixture[str]
RERANKER, CLASSIFIER = BUNDLES / "reranker-6h", BUNDLES / "classifier-3-4h"
GUIDE = ROOT / "docs" / "guides" / "quality.md"
OLD_RECORD = ROOT / "benchmarks" / "results" / "eval_retrieval.json"  # written before bundles could rerank


@pytest.fixture(scope="module")
def corpus(texts: EvalTexts) -> Corpus:
    """A third of the queries: each reads some dozens of chunks, several times."""
    corpus = make_corpus(texts)
    return replace(corpus, queries=corpus.queries[::3])


@pytest.fixture(scope="module")
def reranker() -> Iterator[CrossEncoder]:
    with CrossEncoder.load(RERANKER) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def reranked(model: Embedder, reranker: CrossEncoder, corpus: Corpus) -> RetrievalReport:
    return measure_retrieval(model, corpus, rerank=reranker, candidates=2)


def ranks_by_hand(
    model: Embedder, reranker: CrossEncoder, corpus: Corpus, chunk_tokens: int, candidates: int
) -> tuple[Ranks, Ranks]:
    """Return the rank of each query's first right chunk, as plain chunks are found and as `rank` orders them."""
    spans = [chunk_spans(text, model, chunk_tokens) for text in corpus.documents]
    chunks = [text[slice(*span)] for text, places in zip(corpus.documents, spans, strict=True) for span in places]
    right = relevant_chunks(corpus, spans)
    vectors = model.encode(chunks)
    before, after = [], []
    for row, query in enumerate(corpus.queries):
        vector = np.broadcast_to(model.encode(query.text), vectors.shape)
        found = np.argsort(-cosines(vector, vectors), kind="stable").tolist()
        best = found[:candidates]
        reordered = [best[each.index] for each in reranker.rank(query.text, [chunks[index] for index in best])]
        for order, ranks in ((found, before), ([*reordered, *found[candidates:]], after)):
            ranks.append(1 + next(place for place, index in enumerate(order) if right[row, index]))
    return np.array(before), np.array(after)


@pytest.mark.parametrize(
    ("path", "chunk_tokens", "candidates"), [(TRAINED_RERANKER, 128, 20), (RERANKER, 128, 3), (RERANKER, 1000, 2)]
)
def test_figures_are_those_of_encode_and_rank(
    model: Embedder, corpus: Corpus, path: Path, chunk_tokens: int, candidates: int
):
    with CrossEncoder.load(path) as reranker:
        report = measure_retrieval(model, corpus, chunk_tokens=chunk_tokens, rerank=reranker, candidates=candidates)
        before, after = ranks_by_hand(model, reranker, corpus, chunk_tokens, candidates)
    assert (before != after).any()
    for ranks, row in ((before, report.rows["plain"]), (after, report.rows["plain, reranked"])):
        assert row.hits == {top: pytest.approx((ranks <= top).mean()) for top in (1, 3, 5, 10)}
        assert row.mrr == pytest.approx((1 / ranks).mean())
        assert row.mrr_5 == pytest.approx(np.where(ranks <= 5, 1 / ranks, 0).mean())
    assert report.within["plain"] == pytest.approx((before <= candidates).mean())
    first = [(ranks == 1).astype(np.float64) for ranks in (after, before)]
    assert report.rerank_gain["plain"] == paired_difference(*first)
    assert report.rerank_mrr_gain["plain"] == paired_difference(1 / after, 1 / before)


def test_long_chunks_are_read_in_windows(model: Embedder, reranker: CrossEncoder, corpus: Corpus):
    """Those of 1000 tokens, above, have more than a window of the small vocabulary."""
    text = corpus.documents[0]
    longest = max((text[slice(*span)] for span in chunk_spans(text, model, 1000)), key=len)
    assert reranker.predict_with_report([longest], max_length=8192).pairs[0].tokens > MAX_LENGTH


def test_a_report_tells_what_reranked_and_how_long_it_took(
    model: Embedder, reranker: CrossEncoder, corpus: Corpus, reranked: RetrievalReport
):
    alone = measure_retrieval(model, corpus)
    assert (alone.reranker, reranked.reranker) == (None, str(reranker.fingerprint))
    assert alone.rerank_seconds == {}
    assert reranked.rerank_seconds.keys() == {"plain", "late"}
    assert min(alone.search_seconds, reranked.search_seconds, *reranked.rerank_seconds.values()) > 0


def test_a_classifier_is_refused_before_anything_is_embedded(model: Embedder, corpus: Corpus):
    said: list[str] = []
    with (
        CrossEncoder.load(CLASSIFIER) as classifier,
        pytest.raises(InputError, match=r"a classifier of 3 labels .*; a reranker has one"),
    ):
        measure_retrieval(model, corpus, rerank=classifier, say=said.append)
    assert said == []


def run(texts: Path, *words: object, model: Path = TRAINED) -> int:
    return main(["eval", "retrieval", str(model), "--texts", str(texts), *map(str, words)])


def test_the_guides_command_shows_before_and_after_and_records_it(few_texts: Path, tmp_path: Path, capsys: Capture):
    (line,) = re.findall(
        r"^    \.venv/bin/jinabert-onnx (eval retrieval .* --reranker .*)$", GUIDE.read_text("utf-8"), re.M
    )
    places = {
        "build/bundles/tiny-de-en": TRAINED,
        "build/bundles/tiny-de-en-reranker": TRAINED_RERANKER,
        "tests/data/tiny-de-en/heldout.json": few_texts,
    }
    words = [str(places.get(word, word)) for word in shlex.split(line)]
    written = tmp_path / "record.json"
    assert main([*words, "--candidates", "5", "--precision", "int8", "--json", str(written)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[-2:] == ["MRR@5", "MRR"]
    assert [re.split(r" {2,}", line)[0] for line in lines[2:6]] == [
        "plain",
        "plain, reranked",
        "late",
        "late, reranked",
    ]
    assert max(map(len, lines[1:6])) <= 80
    assert [line for line in lines if line.startswith("reranked less late, MRR: ") and "95%" in line]
    assert re.fullmatch(r"seconds a query, median: search \S+, reranking \S+ \(plain\), \S+ \(late\)", lines[-1])
    results = json.loads(written.read_text("utf-8"))["results"]
    assert results["candidates"] == 5
    assert results["reranker"].endswith(":int8")
    assert results["search_seconds"] > 0
    assert results["rerank_seconds"].keys() == results["rerank_mrr_gain"].keys() == {"plain", "late"}


def test_records_keep_the_names_that_they_had(reranked: RetrievalReport):
    old = json.loads(OLD_RECORD.read_text("utf-8"))["results"]
    assert old.keys() <= vars(reranked).keys()
    assert old["rows"].keys() == reranked.rows.keys()
    row = reranked.rows["plain"]
    assert old["rows"]["plain"].keys() <= vars(row).keys()
    assert old["rows"]["plain"]["hits"].keys() <= set(map(str, row.hits))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--reranker", TRAINED), "tiny-de-en: an embedding model, which gives vectors and scores no pairs"),
        (("--reranker", CLASSIFIER), "classifier-3-4h: a classifier of 3 labels"),
        (("--reranker", "no/such/bundle"), "no/such/bundle"),
        (("--reranker", RERANKER, "--candidates", "0"), "must be 1 or more"),
        (("--reranker", RERANKER, "--candidates", "-1"), "must be 1 or more"),
    ],
)
def test_what_cannot_rerank_is_named(few_texts: Path, words: tuple[object, ...], named: str, capsys: Capture):
    assert run(few_texts, *words) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("jinabert-onnx: error: ")
    assert named in line


def test_a_reranker_gives_no_vectors(few_texts: Path, capsys: Capture):
    assert run(few_texts, "--reranker", RERANKER, model=TRAINED_RERANKER) == 1
    assert (
        "tiny-de-en-reranker: a cross-encoder, which scores pairs of texts and gives no vectors"
        in capsys.readouterr().err
    )


def test_there_is_one_reranker(few_texts: Path, capsys: Capture):
    with pytest.raises(SystemExit) as ended:
        run(few_texts, "--reranker", RERANKER, "--rerank", "words:scores")
    assert ended.value.code == 2
    assert "not allowed with argument --reranker" in capsys.readouterr().err
