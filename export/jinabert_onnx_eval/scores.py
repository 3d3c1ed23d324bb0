"""The arithmetic of the reports: cosines, ranks, agreement of two sets of vectors, and how sure a difference is.

All of it in float64. Knows nothing of texts or models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jinabert_onnx.errors import InputError
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ranks = NDArray[np.int64]
Vectors = NDArray[np.float32]

TOP = 10
CONFIDENCE = 0.95
_RESAMPLES = 2000
_ROWS = 512  # of similarities that are sorted at a time


@dataclass(frozen=True)
class Fidelity:
    """How vectors agree with reference vectors of the same texts.

    Attributes:
        mean_cosine, median_cosine, percentile_5, percentile_1, min_cosine: of each vector with its reference.
        rank_correlation: Spearman's, of all similarities between two different texts; None for fewer than three texts.
        top_overlap: the share of each text's `TOP` most similar other texts (or of all, where there are fewer) that
            are the same, on average.
    """

    mean_cosine: float
    median_cosine: float
    percentile_5: float
    percentile_1: float
    min_cosine: float
    rank_correlation: float | None
    top_overlap: float


@dataclass(frozen=True)
class Found:
    """How high the right documents stand among all, over all queries.

    Attributes:
        queries, documents: how many there are.
        hit_1, hit_10: share of queries with a right document in first place, or among the first ten.
        mrr: mean of 1 / rank of the first right document.
    """

    queries: int
    documents: int
    hit_1: float
    hit_10: float
    mrr: float


@dataclass(frozen=True)
class Difference:
    """A mean difference of paired figures, and the interval that holds it with `CONFIDENCE`."""

    mean: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Return whether 0 lies outside of the interval."""
        return self.low > 0 or self.high < 0


def cosines(first: Vectors, second: Vectors) -> Floats:
    """Return the cosine of each row (n, hidden) with the row of the same index; (n,).

    Raises:
        InputError: a vector has no direction.
    """
    found: Floats = (_unit(first) * _unit(second)).sum(axis=1)
    return found


def similarities(first: Vectors, second: Vectors) -> Floats:
    """Return the cosine of every row of `first` (n, hidden) with every row of `second` (m, hidden); (n, m).

    Raises:
        InputError: a vector has no direction.
    """
    return _unit(first) @ _unit(second).T


def fidelity(vectors: Vectors, reference: Vectors) -> Fidelity:
    """Return how `vectors` (texts, hidden) agree with `reference`.

    Raises:
        InputError: fewer than two texts, or a vector has no direction.
    """
    if len(vectors) < 2:
        raise InputError("agreement is between texts; give two or more")
    found = cosines(vectors, reference)
    similarity, expected = similarities(vectors, vectors), similarities(reference, reference)
    pairs = np.triu_indices(len(vectors), 1)
    median, five, one = (float(value) for value in np.percentile(found, (50, 5, 1)))
    return Fidelity(
        mean_cosine=float(found.mean()),
        median_cosine=median,
        percentile_5=five,
        percentile_1=one,
        min_cosine=float(found.min()),
        rank_correlation=rank_correlation(similarity[pairs], expected[pairs]) if len(vectors) > 2 else None,
        top_overlap=top_overlap(similarity, expected),
    )


def rank_correlation(first: Floats, second: Floats) -> float:
    """Return Spearman's rank correlation; equal values rank by their place."""
    ranks = np.stack([values.argsort(kind="stable").argsort(kind="stable") for values in (first, second)])
    return float(np.asarray(np.corrcoef(ranks))[0, 1])


def top_overlap(similarity: Floats, expected: Floats) -> float:
    """Return the share of each text's most similar other texts that are the same in both (n, n), on average."""
    top = min(TOP, len(similarity) - 1)
    shares = [
        len(np.intersect1d(found, wanted)) / top
        for found, wanted in zip(_nearest(similarity, top), _nearest(expected, top), strict=True)
    ]
    return float(np.mean(shares))


def ranks_of(similarity: Floats, relevant: NDArray[np.bool_]) -> Ranks:
    """Return the rank, from 1, of each query's most similar relevant document; (queries,).

    Documents that are as similar as it count as before it: vectors that are all alike find nothing.

    Args:
        similarity: (queries, documents).
        relevant: the same shape, at least one True a row.
    """
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)
    ranks: Ranks = 1 + ((similarity >= best) & ~relevant).sum(axis=1)
    return ranks


def found_of(ranks: Ranks, documents: int) -> Found:
    """Return the summary of ranks among `documents`."""
    return Found(len(ranks), documents, hit_rate(ranks, 1), hit_rate(ranks, TOP), mrr(ranks))


def own_ranks(queries: Vectors, documents: Vectors) -> Ranks:
    """Return the ranks of the documents that have the index of their query, among all; both (n, hidden)."""
    return ranks_of(similarities(queries, documents), np.eye(len(queries), dtype=bool))


def hit_rate(ranks: Ranks, top: int) -> float:
    """Return the share of ranks that are at most `top`."""
    return float((ranks <= top).mean())


def mrr(ranks: Ranks, top: int | None = None) -> float:
    """Return the mean of 1 / rank; ranks beyond `top` count as 0."""
    found = 1 / ranks
    return float(found.mean() if top is None else np.where(ranks <= top, found, 0).mean())


def first_place_difference(first: Ranks, second: Ranks) -> Difference:
    """Return how many more first places `first` has than `second`, as a share of the same queries."""
    return paired_difference((first == 1).astype(np.float64), (second == 1).astype(np.float64))


def mrr_difference(first: Ranks, second: Ranks) -> Difference:
    """Return how much larger 1 / rank is in `first` than in `second`, over the same queries."""
    return paired_difference(1 / first, 1 / second)


def paired_difference(first: Floats, second: Floats) -> Difference:
    """Return the mean of `first` - `second` over the same queries, with a bootstrap interval (seeded, percentiles)."""
    differences = first - second
    generator = np.random.default_rng(0)
    means = [generator.choice(differences, size=len(differences)).mean() for _ in range(_RESAMPLES)]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(means, (tail, 100 - tail))
    return Difference(float(differences.mean()), float(low), float(high))


def _unit(vectors: Vectors) -> Floats:
    """The rows scaled to length 1. Those that cannot be would else rank first everywhere, or nowhere."""
    rows = vectors.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise InputError("a vector is zero, or holds NaN or infinity; verify the bundle: jinabert-onnx verify BUNDLE")
    unit: Floats = rows / lengths
    return unit


def _nearest(similarity: Floats, top: int) -> Iterator[NDArray[np.intp]]:
    """Return the `top` most similar others of each text."""
    others = similarity - np.diag(np.full(len(similarity), np.inf))
    for start in range(0, len(others), _ROWS):
        yield from np.argsort(-others[start : start + _ROWS], axis=1)[:, :top]
