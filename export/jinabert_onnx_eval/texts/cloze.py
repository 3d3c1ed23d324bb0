"""Queries with known answers from long texts alone: a sentence is taken out, and is to find where it stood.

Or the user's own questions, whose answers stand in the texts. Knows nothing of vectors or chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

from jinabert_onnx.errors import InputError
from jinabert_onnx.text.sentences import sentence_spans

from .read import EvalTexts

LEAST_WORDS = 8  # of a sentence that is a query: fewer say too little
EVERY = 6  # sentences, of which at most one is taken out, so that its surroundings stay
LEAST_DOCUMENTS = 2


@dataclass(frozen=True)
class Query:
    """A text, and the characters [start, end] of the document number `document` that it should find.

    Where a sentence was taken out, both are the place where it stood.
    """

    text: str
    document: int
    start: int
    end: int


@dataclass(frozen=True)
class Corpus:
    """Documents and queries; `kind` is "questions" or "cloze"."""

    documents: tuple[str, ...]
    queries: tuple[Query, ...]
    kind: str


def make_corpus(texts: EvalTexts) -> Corpus:
    """Return the file's questions where it has any, else queries made of its long texts.

    Raises:
        InputError: too few long texts, or no sentence in them that could be taken out.
    """
    texts.require("long", LEAST_DOCUMENTS)
    if texts.questions:
        queries = []
        for question in texts.questions:
            start = texts.long[question.document].index(question.answer)
            queries.append(Query(question.text, question.document, start, start + len(question.answer)))
        return Corpus(texts.long, tuple(queries), "questions")
    taken = [take_out(text, number) for number, text in enumerate(texts.long)]
    queries = [query for _, found in taken for query in found]
    if not queries:
        raise InputError(
            f"{texts.name}: no long text has a sentence of {LEAST_WORDS} words or more among others; add questions, "
            "or longer texts"
        )
    return Corpus(tuple(text for text, _ in taken), tuple(queries), "cloze")


def take_out(text: str, number: int) -> tuple[str, list[Query]]:
    """Return the text without the longest sentence of each `EVERY`, and those as queries, by where they stood.

    A sentence that stands in the rest once more would find that, and is left in.
    """
    spans = sentence_spans(text)
    kept, queries, length, read = [], [], 0, 0
    for start, end in (_longest(spans[first : first + EVERY]) for first in range(0, len(spans) - EVERY + 1, EVERY)):
        sentence = text[start:end]
        if len(sentence.split()) < LEAST_WORDS or text.count(sentence) > 1:
            continue
        piece = text[read:start]
        kept.append(piece)
        length += len(piece)
        queries.append(Query(sentence, number, length, length))
        read = end
    return "".join([*kept, text[read:]]), queries


def _longest(spans: list[tuple[int, int]]) -> tuple[int, int]:
    """The longest of the inner spans: what stands at an edge may have its surroundings in another chunk."""
    return max(spans[1:-1], key=lambda span: span[1] - span[0])
