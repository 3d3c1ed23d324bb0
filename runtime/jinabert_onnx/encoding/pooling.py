"""Token embeddings to one vector per text, in numpy: pool, shorten, scale to unit length.

Knows nothing of where the embeddings come from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


def pool(token_embeddings: Vectors, attention_mask: NDArray[np.int64], mode: str) -> Vectors:
    """Pool (batch, sequence, hidden) over the tokens whose mask is 1: (batch, hidden), of the same type.

    `mode` is "mean" (all tokens, special ones included, as the original `encode`), "cls" (the first
    token) or "max" (the largest value per channel).
    """
    if mode == "cls":
        return token_embeddings[:, 0]
    if mode == "max":
        visible = attention_mask[:, :, None] == 1  # (batch, sequence, 1)
        largest: Vectors = np.max(token_embeddings, axis=1, where=visible, initial=np.float32(-np.inf))
        return largest
    shares = attention_mask / attention_mask.sum(axis=1, keepdims=True)  # (batch, sequence)
    weights = shares[:, None, :].astype(token_embeddings.dtype)  # (batch, 1, sequence)
    pooled: Vectors = np.matmul(weights, token_embeddings)  # (batch, 1, hidden)
    return pooled[:, 0]


def normalize(vectors: Vectors) -> Vectors:
    """Scale each row to length 1 (L2); a row of zeros stays as it is."""
    lengths = lengths_of(vectors)[..., None]
    return (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def lengths_of(vectors: Vectors) -> Vectors:
    """Compute the length (L2) of each vector, (..., hidden) float32: (...) float32.

    numpy.linalg.norm turns what a signal's handler raises into a TypeError.
    """
    lengths: Vectors = np.sqrt(np.square(vectors).sum(axis=-1))
    return lengths
