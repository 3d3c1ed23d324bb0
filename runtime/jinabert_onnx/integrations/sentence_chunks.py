"""Whole sentences put together to chunks of a number of tokens. Knows nothing of vectors or frameworks."""

from __future__ import annotations

import numpy as np

from jinabert_onnx.encoding.spans import Span
from jinabert_onnx.text.sentences import sentence_spans
from jinabert_onnx.text.tokenizer import PlacedTokens


def sentence_chunks(text: str, tokens: PlacedTokens, most: int) -> list[Span]:
    """Consecutive sentences as (start, end) in characters, together of `most` tokens or fewer.

    A longer sentence is a chunk by itself. Every chunk holds a token; a text without any has no chunk.
    """
    chunks: list[Span] = []
    for start, end in sentence_spans(text):
        # What has no token yet, or adds none, is no reason for a chunk.
        before = _count(tokens, chunks[-1]) if chunks else 0
        if chunks and (not before or _count(tokens, (chunks[-1][0], end)) <= max(most, before)):
            chunks[-1] = (chunks[-1][0], end)
        else:
            chunks.append((start, end))
    return [chunk for chunk in chunks if _count(tokens, chunk)]


def _count(tokens: PlacedTokens, span: Span) -> int:
    first = int(np.searchsorted(tokens.ends, span[0], side="right"))
    return max(0, int(np.searchsorted(tokens.starts, span[1], side="left")) - first)
