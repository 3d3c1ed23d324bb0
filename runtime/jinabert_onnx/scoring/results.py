"""What users get of a cross-encoder: scores with how each pair was read, and documents in their order.

Data only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.bundle.fingerprint import Fingerprint

Scores = NDArray[np.float32]  # (pairs,) of a model with one label, else (pairs, labels)


@dataclass(frozen=True)
class PairReport:
    """How one pair, or one single text, was read.

    Attributes:
        tokens: tokens that were read, special ones included.
        dropped: tokens that were cut off; 0 if all was read.
        cuts: for each text, the character after which it was cut; None if it was read whole.
    """

    tokens: int
    dropped: int
    cuts: tuple[int | None, ...]


@dataclass(frozen=True)
class Predictions:
    """Scores of n pairs, how each pair was read, and which model in which precision computed them.

    `attention` and `layers` name the kernels that computed these, as `CrossEncoder.kernels` does.
    """

    scores: Scores
    pairs: tuple[PairReport, ...]
    fingerprint: Fingerprint
    attention: str
    layers: str


@dataclass(frozen=True)
class RankedDocument:
    """A document's place in what was given, its score, and its text if that was asked for."""

    index: int
    score: float
    document: str | None = None
