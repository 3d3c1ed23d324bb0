"""Retrieval as a chat over documents does it: chunks of long texts, found by queries whose answers are known.

Plain chunks are embedded alone; late ones are pooled from the document that was read whole. A reranker may order the
best candidates anew. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from jinabert_onnx import CrossEncoder, Embedder
from jinabert_onnx.embedder import DOCUMENT_PROMPTS
from jinabert_onnx.encoding.spans import Span
from jinabert_onnx.errors import InputError
from jinabert_onnx.text.sentences import sentence_spans
from numpy.typing import NDArray

from jinabert_onnx_eval.scores import (
    Difference,
    Ranks,
    Vectors,
    first_place_difference,
    hit_rate,
    mrr,
    mrr_difference,
    ranks_of,
    similarities,
)
from jinabert_onnx_eval.texts.cloze import Corpus

from .reranking import Rerank, Reranked, as_function, rerank_best

Say = Callable[[str], None]

HITS = (1, 3, 5, 10)
MRR_TOP = 5  # of a chat's context, and of LlamaIndex's comparison of rerankers, which model cards quote
CHUNK_TOKENS = 128
CANDIDATES = 20


@dataclass(frozen=True)
class ChunkHits:
    """How high the chunk with the answer stands.

    Attributes:
        hits: shares of queries by the number of chunks looked at.
        mrr: mean of 1 / rank; `mrr_5` likewise, with 0 for ranks beyond `MRR_TOP`.
    """

    hits: dict[int, float]
    mrr: float
    mrr_5: float


@dataclass(frozen=True)
class RetrievalReport:
    """One row a way of searching: "plain", "late", and with a reranker "plain, reranked" and "late, reranked".

    Attributes:
        kind: "questions", or "cloze" for sentences that were taken out.
        within: share of queries whose answer is among the `candidates`, which a reranker cannot exceed.
        late_gain: hits of late less those of plain chunks in first place.
        rerank_gain, rerank_mrr_gain: hits in first place, and 1 / rank, of reranked less those of other chunks.
        reranker: fingerprint of the cross-encoder; None for a function, or where nothing was reranked.
        search_seconds: median over the queries, one at a time, of embedding it and comparing it with all plain chunks.
        rerank_seconds: median over the queries of reranking the candidates.
    """

    kind: str
    documents: int
    chunks: int
    chunk_tokens: float
    queries: int
    rows: dict[str, ChunkHits]
    candidates: int
    within: dict[str, float]
    late_gain: Difference
    rerank_gain: dict[str, Difference]
    rerank_mrr_gain: dict[str, Difference]
    reranker: str | None
    search_seconds: float
    rerank_seconds: dict[str, float]


def measure_retrieval(
    model: Embedder,
    corpus: Corpus,
    *,
    chunk_tokens: int = CHUNK_TOKENS,
    rerank: CrossEncoder | Rerank | None = None,
    candidates: int = CANDIDATES,
    say: Say = lambda line: None,
) -> RetrievalReport:
    """Find the chunk of each query's answer among the chunks of all documents.

    Args:
        model: embeds queries and chunks, with its own prompts for each.
        corpus: see `cloze.make_corpus`.
        chunk_tokens: most tokens of a chunk, unless one sentence has more.
        rerank: a cross-encoder, or a function that gets a query and the best `candidates` chunks, and returns a score
            for each, larger is better.
        candidates: how many.
        say: is called with lines that tell of progress.

    Raises:
        InputError: a number is out of range, `rerank` is a classifier, fails or returns something else.
    """
    if chunk_tokens < 1 or candidates < 1:
        raise InputError("chunk_tokens and candidates must be 1 or more")
    function = None if rerank is None else as_function(rerank)
    spans = [chunk_spans(text, model, chunk_tokens) for text in corpus.documents]
    chunks = [text[start:end] for text, places in zip(corpus.documents, spans, strict=True) for start, end in places]
    say(f"{len(corpus.documents)} documents, {len(chunks)} chunks, {len(corpus.queries)} queries")
    texts = [query.text for query in corpus.queries]
    queries = np.asarray(model.encode_query(texts, truncation="head"))
    relevant = relevant_chunks(corpus, spans)
    plain = np.asarray(model.encode_document(chunks, truncation="head"))
    orders = {
        "plain": similarities(queries, plain),
        "late": similarities(queries, _late(model, corpus, spans, say)),
    }
    search_seconds = _search_seconds(model, texts, plain)
    reranked: dict[str, Reranked] = {}
    if function is not None:
        for name, order in orders.items():
            reranked[name] = rerank_best(function, texts, chunks, order, candidates, _every(50, name, len(texts), say))
    before = {name: ranks_of(order, relevant) for name, order in orders.items()}
    after = {name: ranks_of(found.order, relevant) for name, found in reranked.items()}
    return RetrievalReport(
        kind=corpus.kind,
        documents=len(corpus.documents),
        chunks=len(chunks),
        chunk_tokens=float(np.mean(model.count_tokens(chunks))),
        queries=len(texts),
        rows=_rows(before, after),
        candidates=candidates,
        within={name: hit_rate(ranks, candidates) for name, ranks in before.items()},
        late_gain=first_place_difference(before["late"], before["plain"]),
        rerank_gain={name: first_place_difference(ranks, before[name]) for name, ranks in after.items()},
        rerank_mrr_gain={name: mrr_difference(ranks, before[name]) for name, ranks in after.items()},
        reranker=str(rerank.fingerprint) if isinstance(rerank, CrossEncoder) else None,
        search_seconds=search_seconds,
        rerank_seconds={name: float(np.median(found.seconds)) for name, found in reranked.items()},
    )


def _rows(before: dict[str, Ranks], after: dict[str, Ranks]) -> dict[str, ChunkHits]:
    """Each way of searching, followed by the same reranked."""
    rows: dict[str, ChunkHits] = {}
    for name, ranks in before.items():
        rows[name] = _hits(ranks)
        if name in after:
            rows[f"{name}, reranked"] = _hits(after[name])
    return rows


def _hits(ranks: Ranks) -> ChunkHits:
    return ChunkHits({top: hit_rate(ranks, top) for top in HITS}, mrr(ranks), mrr(ranks, MRR_TOP))


def _every(step: int, name: str, total: int, say: Say) -> Callable[[int], None]:
    """Tell of progress every `step` queries."""

    def advance(done: int) -> None:
        if done % step == 0:
            say(f"reranking {name} chunks: {done} of {total} queries")

    return advance


def _search_seconds(model: Embedder, queries: Sequence[str], chunks: Vectors) -> float:
    """The median time of embedding a query and comparing it with every chunk."""
    seconds = []
    for query in queries:
        start = perf_counter()
        np.argsort(chunks @ np.asarray(model.encode_query(query, truncation="head")))
        seconds.append(perf_counter() - start)
    return float(np.median(seconds))


def chunk_spans(text: str, model: Embedder, tokens: int) -> list[Span]:
    """Return whole consecutive sentences, as many as have at most `tokens` tokens together, special ones not counted.

    A longer sentence is a chunk of its own. Spans are (start, end) in characters, each with a token.
    """
    sentences = [span for span in sentence_spans(text) if model.loaded.tokenizer.count(text[slice(*span)])]
    chunks: list[Span] = []
    for start, end in sentences:
        if chunks and model.loaded.tokenizer.count(text[chunks[-1][0] : end]) <= tokens:
            chunks[-1] = (chunks[-1][0], end)
        else:
            chunks.append((start, end))
    return chunks


def document_prompt(model: Embedder) -> str | None:
    """Return the name of the prompt that `encode_document` would use."""
    prompts = model.bundle.manifest.prompts
    return next((name for name in DOCUMENT_PROMPTS if name in prompts), None)


def relevant_chunks(corpus: Corpus, spans: Sequence[Sequence[Span]]) -> NDArray[np.bool_]:
    """Return which chunks hold the answer: bool (queries, chunks).

    Of an answer that is cut, every chunk that holds a part; of a place, the chunks that it is in or between.
    """
    owners = np.array([number for number, places in enumerate(spans) for _ in places])
    edges = np.array([span for places in spans for span in places], dtype=np.int64).reshape(-1, 2)
    starts, ends = edges[:, 0], edges[:, 1]
    rows = []
    for query in corpus.queries:
        mine = owners == query.document
        if query.start < query.end:
            rows.append(mine & (starts < query.end) & (ends > query.start))
        else:
            rows.append(mine & _around(query.start, mine, starts, ends))
    return np.stack(rows)


def _around(
    place: int, mine: NDArray[np.bool_], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """The chunk that reaches across a place, or else the nearest on both sides, white space apart."""
    across: NDArray[np.bool_] = (starts < place) & (ends > place)
    if (mine & across).any():
        return across
    before = np.max(ends, where=mine & (ends <= place), initial=-1)
    after = np.min(starts, where=mine & (starts >= place), initial=np.iinfo(np.int64).max)
    beside: NDArray[np.bool_] = (ends == before) | (starts == after)
    return beside


def _late(model: Embedder, corpus: Corpus, spans: Sequence[Sequence[Span]], say: Say) -> Vectors:
    rows = []
    for number, (text, places) in enumerate(zip(corpus.documents, spans, strict=True), start=1):
        rows.append(np.asarray(model.encode_chunks(text, places, prompt_name=document_prompt(model)).vectors))
        if number % 20 == 0:
            say(f"late chunking: {number} of {len(spans)} documents")
    return np.concatenate(rows)
