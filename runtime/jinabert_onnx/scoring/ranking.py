"""Documents in the order of their scores for a query; long ones are read in overlapping windows, and the best counts.

The windows are those of the `rerank` that comes with jina-reranker-v2. Knows nothing of how a window is scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.errors import InputError, InputTypeError
from jinabert_onnx.text.inputs import as_stream, as_text, require_range, require_unicode
from jinabert_onnx.text.pair_frame import Ids, PairFrame
from jinabert_onnx.text.pair_tokenizer import join, require_pair_frame
from jinabert_onnx.text.tokenizer import Tokenizer

from .results import RankedDocument, Scores


@dataclass(frozen=True)
class Lengths:
    """What `rank` reads at a time, in tokens: of query and window together, of the query, and shared by windows."""

    max_length: int
    max_query_length: int
    overlap_tokens: int

    def within(self, limit: int) -> Lengths:
        """Return these lengths, none of them more than `limit` allows.

        Raises:
            InputTypeError: one is no integer.
            InputError: one is out of range, or a window may have no room for half of the document.
        """
        for name in ("max_length", "max_query_length", "overlap_tokens"):
            require_range(name, getattr(self, name), 0 if name == "overlap_tokens" else 1, None)
        if self.max_length < 2 * self.max_query_length:
            raise InputError(
                f"max_length {self.max_length} is less than twice max_query_length {self.max_query_length}; raise the "
                "one or lower the other",
                argument="max_length",
            )
        length = min(self.max_length, limit)
        return Lengths(length, min(self.max_query_length, length // 2), self.overlap_tokens)


@dataclass(frozen=True)
class Question:
    """A query as it stands in every window, and what of a document stands beside it.

    Attributes:
        input_ids: of the query, without special tokens.
        was_cut: whether the query has more tokens.
        frame: what stands around query and window.
        room: most tokens of a window.
        overlap: tokens that neighbouring windows share.
    """

    input_ids: Ids
    was_cut: bool
    frame: PairFrame
    room: int
    overlap: int

    @property
    def tokens(self) -> int:
        """Return how many tokens stand beside a window."""
        return len(self.input_ids) + self.frame.special_tokens


@dataclass(frozen=True)
class Windows:
    """Rows of token ids and token types, (tokens,) each: the query with each window of each document.

    `owners` (windows,) says which document a window is of; each document has one at least.
    """

    input_ids: list[Ids]
    token_type_ids: list[Ids]
    owners: NDArray[np.intp]


def require_one_label(labels: Sequence[str]) -> None:
    """Return if a model with these labels is a reranker.

    Raises:
        InputError: it has several.
    """
    if len(labels) != 1:
        raise InputError(
            f"rank needs a reranker, which has one label, and this model has {len(labels)} "
            f"({', '.join(labels[:5])}); use CrossEncoder.predict"
        )


def require_texts(query: object, documents: object) -> list[str]:
    """Return the documents as a list, if they and the query are texts.

    Raises:
        InputTypeError: the query is no text, or the documents are no iterable of texts.
        InputError: one of them is not valid Unicode.
    """
    if not isinstance(query, str):
        raise InputTypeError(f"query is {type(query).__name__}, not str", argument="query")
    if isinstance(documents, str):
        raise InputTypeError("documents is one str, not an iterable of them; pass a list", argument="documents")
    texts = [as_text(text, index, "document") for index, text in enumerate(as_stream(documents, "documents"))]
    require_unicode(query, "the query")
    for index, text in enumerate(texts):
        require_unicode(text, f"document {index}")
    return texts


def read_query(tokenizer: Tokenizer, query: str, lengths: Lengths) -> Question:
    """Tokenize a query, and find how much of a document fits beside it.

    Raises:
        InputError: no token of a document does.
    """
    frame = require_pair_frame(tokenizer)
    room_of_query = lengths.max_query_length - tokenizer.special_tokens
    if room_of_query < 0:
        raise InputError(
            f"max_query_length {lengths.max_query_length} is less than the {tokenizer.special_tokens} special tokens "
            "of a query; raise it",
            argument="max_query_length",
        )
    whole = tokenizer.bare([query], room_of_query)[0]
    kept = whole[:room_of_query]
    room = lengths.max_length - len(kept) - frame.special_tokens
    if room < 1:
        raise InputError(
            f"max_length {lengths.max_length} leaves no room for a document; raise it", argument="max_length"
        )
    return Question(kept, len(whole) > room_of_query, frame, room, min(lengths.overlap_tokens, room // 4))


def split_documents(question: Question, documents: Iterable[Ids]) -> Windows:
    """Lay windows over documents, (tokens,) each without special tokens; neighbours share `question.overlap` tokens.

    An empty document has one empty window.
    """
    rows, owners = [], []
    for owner, ids in enumerate(documents):
        for start, end in _windows_of(len(ids), question.room, question.overlap):
            rows.append(join(question.frame, question.input_ids, ids[start:end]))
            owners.append(owner)
    input_ids, token_type_ids = ([row[part] for row in rows] for part in (0, 1))
    return Windows(input_ids, token_type_ids, np.array(owners, dtype=np.intp))


def best_of_windows(logits: Scores, owners: NDArray[np.intp], documents: int) -> Scores:
    """Return the best logit of each document, (documents,), of its windows' (windows,)."""
    best = np.full(documents, -np.inf, dtype=np.float32)
    np.maximum.at(best, owners, logits)
    return best


def in_order(
    logits: Scores, scores: Scores, documents: Sequence[str], top_n: int | None, with_text: bool
) -> list[RankedDocument]:
    """Order documents by logit, (documents,), which tells apart what scores near 1 do not; equal ones by index."""
    order = np.argsort(-logits, kind="stable")[:top_n].tolist()
    return [RankedDocument(index, float(scores[index]), documents[index] if with_text else None) for index in order]


def _windows_of(tokens: int, room: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each window; the last of several ends where the document does, and is full."""
    start = 0
    while start + room < tokens:
        yield start, start + room
        start += room - overlap
    yield max(0, min(start, tokens - room)), tokens
