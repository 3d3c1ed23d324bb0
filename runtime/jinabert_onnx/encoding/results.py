"""What users get beside vectors: how each text was read, and in which vector space the vectors lie.

Data only.
"""

from __future__ import annotations

from dataclasses import dataclass

from jinabert_onnx.bundle.fingerprint import Fingerprint

from .vector_types import AnyVectors


@dataclass(frozen=True)
class TextReport:
    """How one text was read.

    Attributes:
        tokens: tokens that were read, special ones included.
        dropped: tokens that were cut off; 0 where the text was read whole.
        cut: where the text was cut, in characters: what was read ends there, or with truncation "tail" begins there;
            None where it was read whole.
        windows: how many windows it was read in; more than 1 only with truncation "mean".
    """

    tokens: int
    dropped: int
    cut: int | None
    windows: int = 1


@dataclass(frozen=True)
class Embeddings:
    """Vectors (n, dimensions) of n texts, how each text was read, and the vector space they lie in.

    `attention` names what computed attention, as `Embedder.kernels` does.
    """

    vectors: AnyVectors
    texts: tuple[TextReport, ...]
    fingerprint: Fingerprint
    attention: str


@dataclass(frozen=True)
class Chunks:
    """Vectors (n, dimensions) of n spans of one text, the spans in characters, and the vector space they lie in."""

    vectors: AnyVectors
    spans: tuple[tuple[int, int], ...]
    fingerprint: Fingerprint
