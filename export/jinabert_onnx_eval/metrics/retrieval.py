"""Retrieval as a chat over documents does it: chunks of long texts, found by queries whose answers are known.

Plain chunks are embedded alone; late ones are pooled from the document that was read whole. A reranker may order the
best candidates anew. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jinabert_onnx import Embedder
from jinabert_onnx.embedder import DOCUMENT_PROMPTS
from jinabert_onnx.encoding.spans import Span
from jinabert_onnx.errors import InputError, first_line
from jinabert_onnx.text.sentences import sentence_spans
from numpy.typing import NDArray

from jinabert_onnx_eval.scores import (
    Difference,
    Floats,
    Vectors,
    first_place_difference,
    hit_rate,
    ranks_of,
    similarities,
)
from jinabert_onnx_eval.texts.cloze import Corpus

Rerank = Callable[[str, Sequence[str]], Sequence[float]]  # query and chunks to a score of each, larger is better
Say = Callable[[str], None]

HITS = (1, 3, 10)
CHUNK_TOKENS = 128
CANDIDATES = 20


@dataclass(frozen=True)
class ChunkHits:
    """How high the chunk with the answer stands: `hits` are shares of queries by the number of chunks looked at."""

    hits: dict[int, float]
    mrr: float


@dataclass(frozen=True)
class RetrievalReport:
    """One row a way of searching: "plain", "late", and with a reranker "plain, reranked" and "late, reranked".

    Attributes:
        kind: "questions", or "cloze" for sentences that were taken out.
        within: share of queries whose answer is among the `candidates`, which a reranker cannot exceed.
        late_gain: hits of late less those of plain chunks in first place; `rerank_gain` those of reranked less others.
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


def measure_retrieval(
    model: Embedder,
    corpus: Corpus,
    *,
    chunk_tokens: int = CHUNK_TOKENS,
    rerank: Rerank | None = None,
    candidates: int = CANDIDATES,
    say: Say = lambda line: None,
) -> RetrievalReport:
    """Find the chunk of each query's answer among the chunks of all documents.

    Args:
        model: embeds queries and chunks, with its own prompts for each.
        corpus: see `cloze.make_corpus`.
        chunk_tokens: most tokens of a chunk, unless one sentence has more.
        rerank: gets a query and the best `candidates` chunks, and returns a score for each, larger is better.
        candidates: how many.
        say: is called with lines that tell of progress.

    Raises:
        InputError: a number is out of range, or `rerank` fails or returns something else.
    """
    if chunk_tokens < 1 or candidates < 1:
        raise InputError("chunk_tokens and candidates must be 1 or more")
    spans = [chunk_spans(text, model, chunk_tokens) for text in corpus.documents]
    chunks = [text[start:end] for text, places in zip(corpus.documents, spans, strict=True) for start, end in places]
    say(f"{len(corpus.documents)} documents, {len(chunks)} chunks, {len(corpus.queries)} queries")
    queries = np.asarray(model.encode_query([query.text for query in corpus.queries], truncation="head"))
    relevant = relevant_chunks(corpus, spans)
    orders = {
        "plain": similarities(queries, np.asarray(model.encode_document(chunks, truncation="head"))),
        "late": similarities(queries, _late(model, corpus, spans, say)),
    }
    within = {name: hit_rate(ranks_of(order, relevant), candidates) for name, order in orders.items()}
    if rerank is not None:
        for name in within:
            say(f"reranking {name} chunks")
            orders[f"{name}, reranked"] = _reranked(rerank, corpus, chunks, orders[name], candidates)
    ranks = {name: ranks_of(order, relevant) for name, order in orders.items()}
    return RetrievalReport(
        corpus.kind,
        len(corpus.documents),
        len(chunks),
        float(np.mean(model.count_tokens(chunks))),
        len(corpus.queries),
        {
            name: ChunkHits({top: hit_rate(found, top) for top in HITS}, float((1 / found).mean()))
            for name, found in ranks.items()
        },
        candidates,
        within,
        first_place_difference(ranks["late"], ranks["plain"]),
        {
            name: first_place_difference(ranks[f"{name}, reranked"], ranks[name])
            for name in within
            if rerank is not None
        },
    )


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


def _reranked(
    rerank: Rerank, corpus: Corpus, chunks: Sequence[str], order: Floats, candidates: int
) -> NDArray[np.float64]:
    """The order with the best candidates by the reranker's scores, above all others."""
    found = order.copy()
    for row, query in enumerate(corpus.queries):
        best = np.argsort(-order[row], kind="stable")[:candidates]
        scores = _scores(rerank, query.text, [chunks[index] for index in best])
        # Places, not scores: they stand above every cosine whatever their scale is. Equal scores keep their order.
        found[row, best[np.argsort(-scores, kind="stable")]] = 1 + np.arange(len(best), 0, -1)
    return found


def _scores(rerank: Rerank, query: str, chunks: Sequence[str]) -> Floats:
    try:
        returned = rerank(query, chunks)
    except Exception as error:  # whatever the user's function raises
        raise InputError(f"the reranker failed: {type(error).__name__}: {first_line(error)}") from error
    try:
        scores = np.asarray(returned, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"the reranker returned {type(returned).__name__}, not a list of numbers") from error
    if scores.shape != (len(chunks),) or not np.isfinite(scores).all():
        raise InputError(f"the reranker must return {len(chunks)} finite numbers for {len(chunks)} texts, one each")
    return scores
