"""What users get beside vectors: how each text was read, and the vector space.

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
        dropped: tokens that were cut off; 0 if the text was read whole.
        cut: the character at which the text was cut: the part that was read ends there, or with truncation "tail"
            begins there; None if the text was read whole.
        windows: the number of windows it was read in; more than 1 only with truncation "mean".
    """

    tokens: int
    dropped: int
    cut: int | None
    windows: int = 1


@dataclass(frozen=True)
class Embeddings:
    """Vectors (n, dimensions) of n texts, how each text was read, and the vector space they lie in.

    `attention` and `layers` name the kernels that computed these, as `Embedder.kernels` does.
    """

    vectors: AnyVectors
    texts: tuple[TextReport, ...]
    fingerprint: Fingerprint
    attention: str
    layers: str


@dataclass(frozen=True)
class Chunks:
    """Vectors (n, dimensions) of n spans of one text, the spans in characters, and the vector space they lie in."""

    vectors: AnyVectors
    spans: tuple[tuple[int, int], ...]
    fingerprint: Fingerprint
