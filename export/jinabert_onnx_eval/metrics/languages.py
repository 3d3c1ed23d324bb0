"""How German and English stand to each other in a model's vectors, measured on pairs of one meaning.

Three questions: is retrieval as good from German to English as the reverse; does a query prefer documents of its own
language; and where does a text lie that is half German and half English. Knows nothing of bundles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx_eval.scores import (
    TOP,
    Difference,
    Floats,
    Found,
    Ranks,
    Vectors,
    cosines,
    first_place_difference,
    found_of,
    mrr_difference,
    own_ranks,
    paired_difference,
    ranks_of,
    similarities,
)
from jinabert_onnx_eval.texts.read import Pair

LEAST_PAIRS = 20

Encode = Callable[[Sequence[str]], Vectors]  # texts to vectors (texts, hidden)


@dataclass(frozen=True)
class Directions:
    """Each text finds its translation among all texts of the other language.

    `hit_difference` and `mrr_difference` are German minus English queries.
    """

    german_finds_english: Found
    english_finds_german: Found
    hit_difference: Difference
    mrr_difference: Difference


@dataclass(frozen=True)
class Preference:
    """What a query of one language prefers, where both languages say the same.

    Attributes:
        own_language: share of (query, document) of two meanings in which the document's version in the query's
            language is more similar than its translation; one half without bias.
        own_language_near: the same, of the `TOP` documents that are nearest to each query by the mean of both versions.
        similarity_gap: mean similarity to unrelated documents of the own language, less that to their translations.
        similarity_spread: standard deviation of all similarities to unrelated documents, to see the gap against.
        found: how the translation is found among documents of both languages, all texts but the query itself.
        loss: how many more first places there are where only the other language is searched.
    """

    own_language: float
    own_language_near: float
    similarity_gap: float
    similarity_spread: float
    found: Found
    loss: Difference


@dataclass(frozen=True)
class Mixed:
    """Texts of two sentences, one German and one English, beside the same two in German only and in English only.

    Attributes:
        texts: how many, half of them with the German sentence first.
        to_german, to_english: mean cosine of a mixed text with its pure versions.
        between: mean cosine of the two pure versions with each other.
        leaning: `to_german` - `to_english`; 0 without bias.
        finds_german, finds_english: mixed texts as queries, among all pure texts of one language.
        found_by_german, found_by_english: pure texts as queries, among all mixed texts.
    """

    texts: int
    to_german: float
    to_english: float
    between: float
    leaning: Difference
    finds_german: Found
    finds_english: Found
    found_by_german: Found
    found_by_english: Found


@dataclass(frozen=True)
class LanguagesReport:
    """The answers to the three questions."""

    pairs: int
    directions: Directions
    german_queries: Preference
    english_queries: Preference
    mixed: Mixed


def measure_languages(encode: Encode, pairs: Sequence[Pair]) -> LanguagesReport:
    """Measure on at least `LEAST_PAIRS` pairs; `encode` is called four times, the pairs' order is kept."""
    german, english = encode([pair.german for pair in pairs]), encode([pair.english for pair in pairs])
    return LanguagesReport(
        len(pairs),
        _directions(german, english),
        _preference(german, english),
        _preference(english, german),
        _mixed(encode, pairs),
    )


def _directions(german: Vectors, english: Vectors) -> Directions:
    from_german, from_english = own_ranks(german, english), own_ranks(english, german)
    return Directions(
        found_of(from_german, len(english)),
        found_of(from_english, len(german)),
        first_place_difference(from_german, from_english),
        mrr_difference(from_german, from_english),
    )


def _preference(queries: Vectors, translations: Vectors) -> Preference:
    """Measure queries in one language; `translations` are the same texts in the other."""
    count = len(queries)
    same, other = similarities(queries, queries), similarities(queries, translations)  # (queries, documents)
    unrelated = ~np.eye(count, dtype=bool)
    own_is_nearer = same > other
    near = _near(same, other, min(TOP, count - 1))
    ranks = _ranks_in_both(same, other)
    alone = ranks_of(other, ~unrelated)
    return Preference(
        float(own_is_nearer[unrelated].mean()),
        float(own_is_nearer[near].mean()),
        float((same - other)[unrelated].mean()),
        float(np.concatenate([same[unrelated], other[unrelated]]).std()),
        found_of(ranks, 2 * count - 1),
        first_place_difference(alone, ranks),
    )


def _near(same: Floats, other: Floats, top: int) -> NDArray[np.bool_]:
    """Find the documents of another meaning nearest to each query, by both languages' mean; (queries, documents)."""
    mean = (same + other) / 2
    np.fill_diagonal(mean, -np.inf)
    near = np.zeros(mean.shape, dtype=bool)
    np.put_along_axis(near, np.argsort(-mean, axis=1)[:, :top], values=True, axis=1)
    return near


def _ranks_in_both(same: Floats, other: Floats) -> Ranks:
    """Ranks of the translations among documents of both languages, without the query itself."""
    others = same.copy()
    np.fill_diagonal(others, -np.inf)
    relevant = np.hstack([np.zeros(same.shape, dtype=bool), np.eye(len(same), dtype=bool)])
    return ranks_of(np.hstack([others, other]), relevant)


def _mixed(encode: Encode, pairs: Sequence[Pair]) -> Mixed:
    """Each two neighbouring pairs make one text; every second one begins in German."""
    couples = [(pairs[index], pairs[index + 1]) for index in range(0, len(pairs) - 1, 2)]
    mixed_texts = [
        f"{first.english} {second.german}" if number % 2 else f"{first.german} {second.english}"
        for number, (first, second) in enumerate(couples)
    ]
    mixed = encode(mixed_texts)
    pure = encode(
        [f"{first.german} {second.german}" for first, second in couples]
        + [f"{first.english} {second.english}" for first, second in couples]
    )
    german, english = pure[: len(couples)], pure[len(couples) :]
    to_german, to_english = cosines(mixed, german), cosines(mixed, english)
    return Mixed(
        len(couples),
        float(to_german.mean()),
        float(to_english.mean()),
        float(cosines(german, english).mean()),
        paired_difference(to_german, to_english),
        found_of(own_ranks(mixed, german), len(german)),
        found_of(own_ranks(mixed, english), len(english)),
        found_of(own_ranks(german, mixed), len(mixed)),
        found_of(own_ranks(english, mixed), len(mixed)),
    )
