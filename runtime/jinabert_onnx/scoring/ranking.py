"""Documents in the order of their scores for a query; long ones are read in overlapping windows, and the best counts.

The windows are those of the `rerank` that comes with jina-reranker-v2. Knows nothing of how a window is scored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.errors import InputError
from jinabert_onnx.text.inputs import require_range
from jinabert_onnx.text.pair_tokenizer import join, require_pair_frame
from jinabert_onnx.text.tokenizer import Tokenizer

from .results import RankedDocument, Scores

Ids = NDArray[np.int64]  # (tokens,)


@dataclass(frozen=True)
class Windows:
    """Rows of token ids and token types, (tokens,) each: the query with each window of each document.

    `owners` (windows,) says which document a window is of; each document has one at least.
    """

    input_ids: list[Ids]
    token_type_ids: list[Ids]
    owners: NDArray[np.intp]


def require_lengths(max_length: int, max_query_length: int, overlap_tokens: int, limit: int) -> None:
    """Return if queries and windows can be cut to these numbers of tokens.

    Raises:
        InputTypeError: one is no integer.
        InputError: one is out of range, or a window may have no room for half of the document.
    """
    require_range("max_length", max_length, 1, limit)
    require_range("max_query_length", max_query_length, 1, limit)
    require_range("overlap_tokens", overlap_tokens, 0, None)
    if max_length < 2 * max_query_length:
        raise InputError(
            f"max_length {max_length} is less than twice max_query_length {max_query_length}; raise the one or lower "
            "the other",
            argument="max_length",
        )


def split_documents(
    tokenizer: Tokenizer,
    query: str,
    documents: Sequence[str],
    max_length: int,
    max_query_length: int,
    overlap_tokens: int,
) -> Windows:
    """Lay windows over documents, so that each with the query has at most `max_length` tokens.

    Args:
        tokenizer: of the bundle.
        query: its special tokens are included in `max_query_length`.
        documents: an empty one has one empty window.
        max_length: tokens of a row, special ones included.
        max_query_length: tokens that the query is cut to.
        overlap_tokens: tokens that neighbouring windows share, at most a quarter of a window.

    Raises:
        InputError: no token of a document fits beside the query, or a text is not valid Unicode.
    """
    frame = require_pair_frame(tokenizer)
    room_of_query = max_query_length - tokenizer.special_tokens
    if room_of_query < 0:
        raise InputError(
            f"max_query_length {max_query_length} is less than the {tokenizer.special_tokens} special tokens of a "
            "query; raise it",
            argument="max_query_length",
        )
    question = tokenizer.bare([query], room_of_query)[0][:room_of_query]
    room = max_length - len(question) - frame.special_tokens
    if room < 1:
        raise InputError(f"max_length {max_length} leaves no room for a document; raise it", argument="max_length")
    rows, owners = [], []
    for owner, ids in enumerate(tokenizer.bare(documents)):
        for start, end in _places(len(ids), room, min(overlap_tokens, room // 4)):
            rows.append(join(frame, question, ids[start:end]))
            owners.append(owner)
    input_ids, token_type_ids = ([row[part] for row in rows] for part in (0, 1))
    return Windows(input_ids, token_type_ids, np.array(owners, dtype=np.intp))


def best_of_windows(scores: Scores, owners: NDArray[np.intp], documents: int) -> Scores:
    """Return the best score of each document, (documents,), of its windows' (windows,)."""
    best = np.full(documents, -np.inf, dtype=np.float32)
    np.maximum.at(best, owners, scores)
    return best


def in_order(scores: Scores, documents: Sequence[str], top_n: int | None, with_text: bool) -> list[RankedDocument]:
    """Order documents by score, the best first, equal ones by index."""
    order = np.argsort(-scores, kind="stable")[:top_n].tolist()
    return [RankedDocument(index, float(scores[index]), documents[index] if with_text else None) for index in order]


def _places(tokens: int, room: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each window; the last of several ends where the document does, and is full."""
    start = 0
    while start + room < tokens:
        yield start, start + room
        start += room - overlap
    yield max(0, min(start, tokens - room)), tokens
