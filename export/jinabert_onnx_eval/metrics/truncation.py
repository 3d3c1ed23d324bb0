"""What reading only the beginning of a long text loses: its vector, and queries on the rest.

Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jinabert_onnx import Embedder
from jinabert_onnx.errors import InputError
from numpy.typing import NDArray

from jinabert_onnx_eval.scores import (
    Difference,
    Found,
    Ranks,
    Vectors,
    cosines,
    first_place_difference,
    found_of,
    ranks_of,
    similarities,
)
from jinabert_onnx_eval.texts.cloze import Corpus

from .retrieval import document_prompt

CUT = 512  # tokens, where many models end
LEAST_DOCUMENTS = 2
READINGS = {  # how documents are read: `truncation` of `encode`
    "whole": None,
    f"first {CUT}": "head",
    f"windows of {CUT}": "mean",
}
WHOLE, FIRST, _ = READINGS

Say = Callable[[str], None]


@dataclass(frozen=True)
class Reading:
    """One way to read the documents.

    Attributes:
        mean_cosine, min_cosine: of the documents' vectors with those of whole documents.
        found: queries that find their document among all.
        found_beginning, found_rest: those whose place is within the first `CUT` tokens, and the others; None for none.
    """

    mean_cosine: float
    min_cosine: float
    found: Found
    found_beginning: Found | None
    found_rest: Found | None


@dataclass(frozen=True)
class TruncationReport:
    """Documents of more than `CUT` tokens, by way of reading.

    `gain` is first places of whole reading less those of the first `CUT` tokens; `gain_rest` of queries on the rest.
    """

    kind: str
    documents: int
    mean_tokens: float
    readings: dict[str, Reading]
    gain: Difference
    gain_rest: Difference | None


def measure_truncation(model: Embedder, corpus: Corpus, say: Say = lambda line: None) -> TruncationReport:
    """Embed documents whole, cut, and in windows, and let the queries find them.

    Raises:
        InputError: fewer than two documents are longer than `CUT` tokens, no query is on one of them, or the model
            reads no more than that.
    """
    sizes = model.count_tokens(corpus.documents)
    if model.max_seq_length <= CUT:
        raise InputError(
            f"this model reads {model.max_seq_length} tokens; there is nothing to lose by cutting at {CUT}"
        )
    long = [number for number, tokens in enumerate(sizes) if tokens > CUT]
    if len(long) < LEAST_DOCUMENTS:
        raise InputError(
            f"{len(long)} long texts have more than {CUT} tokens, and this needs {LEAST_DOCUMENTS} or more"
        )
    documents = [corpus.documents[number] for number in long]
    queries = [query for query in corpus.queries if query.document in long]
    if not queries:
        raise InputError(f"no query is on a text of more than {CUT} tokens; add questions or longer texts")
    say(f"{len(documents)} documents of more than {CUT} tokens, {len(queries)} queries")
    longer = sum(sizes[number] > model.max_seq_length for number in long)
    if longer:
        say(f"{longer} of them have more than {model.max_seq_length} tokens; this model reads no more, and cuts them")
    asked = np.asarray(model.encode_query([query.text for query in queries], truncation="head"))
    relevant = np.array([query.document for query in queries])[:, None] == np.array(long)
    cuts = model.encode_with_report(documents, max_length=CUT, prompt_name=document_prompt(model))
    place = dict(zip(long, (text.cut or 0 for text in cuts.texts), strict=True))
    beginning = np.array([query.start < place[query.document] for query in queries])
    vectors = {name: _read(model, documents, truncation, say) for name, truncation in READINGS.items()}
    ranks = {name: ranks_of(similarities(asked, rows), relevant) for name, rows in vectors.items()}
    return TruncationReport(
        corpus.kind,
        len(documents),
        float(np.mean([sizes[number] for number in long])),
        {name: _reading(vectors[name], vectors[WHOLE], ranks[name], beginning) for name in READINGS},
        first_place_difference(ranks[WHOLE], ranks[FIRST]),
        None if beginning.all() else first_place_difference(ranks[WHOLE][~beginning], ranks[FIRST][~beginning]),
    )


def _read(model: Embedder, documents: list[str], truncation: str | None, say: Say) -> Vectors:
    say(f"reading {'whole' if truncation is None else f'{CUT} tokens ({truncation})'}")
    if truncation is None:
        return np.asarray(model.encode_document(documents, truncation="head"))
    return np.asarray(model.encode_document(documents, max_length=CUT, truncation=truncation))


def _reading(vectors: Vectors, whole: Vectors, ranks: Ranks, beginning: NDArray[np.bool_]) -> Reading:
    found = cosines(vectors, whole)
    parts = [found_of(part, len(whole)) if len(part) else None for part in (ranks[beginning], ranks[~beginning])]
    return Reading(float(found.mean()), float(found.min()), found_of(ranks, len(whole)), *parts)
