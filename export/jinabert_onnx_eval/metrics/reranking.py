"""The best chunks of each query in the order of a reranker, and how long that took.

Knows nothing of how the chunks were found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from jinabert_onnx import CrossEncoder
from jinabert_onnx.errors import InputError, first_line

from jinabert_onnx_eval.scores import Floats

Rerank = Callable[[str, Sequence[str]], Sequence[float]]  # query and chunks to a score of each, larger is better
Advance = Callable[[int], None]  # is called with the number of queries that are done


@dataclass(frozen=True)
class Reranked:
    """The order (queries, chunks), candidates above all others, and the seconds that each query took (queries,)."""

    order: Floats
    seconds: Floats


def as_function(reranker: CrossEncoder | Rerank) -> Rerank:
    """Return a cross-encoder as a function from a query and chunks to numbers in the order of its `rank`.

    Places, not scores: `rank` orders by logits, which tell apart what scores near 1 do not.

    Raises:
        InputError: it is a classifier.
    """
    if not isinstance(reranker, CrossEncoder):
        return reranker
    model, labels = reranker, reranker.labels
    if len(labels) != 1:
        raise InputError(
            f"{model.bundle.path}: a classifier of {len(labels)} labels ({', '.join(labels[:5])}); a reranker has one"
        )

    def places(query: str, chunks: Sequence[str]) -> list[float]:
        ranked = [found.index for found in model.rank(query, chunks)]
        return [-float(place) for place in np.argsort(ranked)]

    return places


def rerank_best(
    rerank: Rerank, queries: Sequence[str], chunks: Sequence[str], order: Floats, candidates: int, advance: Advance
) -> Reranked:
    """Put the best `candidates` chunks of `order` (queries, chunks) in the reranker's order, above all others.

    Raises:
        InputError: `rerank` fails, or returns something else than a finite number for each chunk.
    """
    found, seconds = order.copy(), []
    for row, query in enumerate(queries):
        best = np.argsort(-order[row], kind="stable")[:candidates]
        texts = [chunks[index] for index in best]
        start = perf_counter()
        scores = _scores(rerank, query, texts)
        seconds.append(perf_counter() - start)
        # Places, not scores: they stand above every cosine whatever their scale is. Equal scores keep their order.
        found[row, best[np.argsort(-scores, kind="stable")]] = 1 + np.arange(len(best), 0, -1)
        advance(row + 1)
    return Reranked(found, np.array(seconds))


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
