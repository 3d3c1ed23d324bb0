"""How a cross-encoder's logits become scores, and how close to torch's logits each precision must come.

fp32 is judged by its logits, as `probes` judges token embeddings; the other two by scores and by the order that logits
give, as they are used. Knows nothing of how logits are made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.text.pairs import TextOrPair

from .probes import FP32_MAX_ERROR, together_and_alone

Logits = NDArray[np.float32]  # (pairs, labels)

MAX_SCORE_DIFFERENCE = {"fp16": 0.01, "int8": 0.1}
MIN_RANK_CORRELATION = {"fp16": 0.99, "int8": 0.9}


@dataclass(frozen=True)
class ScoreAgreement:
    """Closeness to the expected logits: largest difference of a logit, of a score, smallest rank correlation.

    The correlation is Spearman's, of each label's logits over all pairs.
    """

    max_difference: float
    max_score_difference: float
    rank_correlation: float

    def within(self, precision: str, fp32_difference: float = FP32_MAX_ERROR) -> bool:
        """Return whether `precision` may differ this much; False for NaN, which compares with nothing."""
        if precision == "fp32":
            return self.max_difference <= fp32_difference
        close = self.max_score_difference <= MAX_SCORE_DIFFERENCE[precision]
        return close and self.rank_correlation >= MIN_RANK_CORRELATION[precision]

    def __str__(self) -> str:
        return (
            f"largest difference of a logit {self.max_difference:.1e}, of a score {self.max_score_difference:.1e}, "
            f"rank correlation {self.rank_correlation:.6f}"
        )


def required_scores(precision: str, fp32_difference: float = FP32_MAX_ERROR) -> str:
    """Return the bounds of a precision in words, for messages."""
    if precision == "fp32":
        return f"difference of a logit at most {fp32_difference:g}"
    return (
        f"difference of a score at most {MAX_SCORE_DIFFERENCE[precision]:g}, rank correlation at least "
        f"{MIN_RANK_CORRELATION[precision]:g}"
    )


def activate(logits: Logits, activation: str) -> Logits:
    """Turn logits (pairs, labels) into scores of that shape; `activation` is one of `manifest.SCORE_ACTIVATIONS`."""
    if activation == "identity":
        return logits
    if activation == "sigmoid":
        small = np.exp(-np.abs(logits))  # so that nothing overflows, and small scores keep all their digits
        shares: Logits = np.where(logits >= 0, np.float32(1), small) / (1 + small)
        return shares
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores: Logits = powers / powers.sum(axis=-1, keepdims=True)
    return scores


def compare_scores(actual: Logits, expected: Logits, activation: str) -> ScoreAgreement:
    """Compare two arrays of logits (pairs, labels).

    Where logits are the scores, these are on no known scale: their difference counts as a share of what they span.
    """
    scores, right = (activate(logits.astype(np.float32), activation) for logits in (actual, expected))
    span = float(np.ptp(right)) if activation == "identity" else 1.0
    return ScoreAgreement(
        float(np.abs(actual.astype(np.float64) - expected).max()),
        float(np.abs(scores - right).max()) / (span or 1.0),
        min(rank_correlation(ours, theirs) for ours, theirs in zip(actual.T, expected.T, strict=True)),
    )


def rank_correlation(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> float:
    """Compute Spearman's rank correlation of two arrays (n,): 1 where `second` gives no order, NaN with a NaN."""
    if np.isnan(first).any() or np.isnan(second).any():
        return float("nan")
    ours, theirs = (_ranks(values) - (len(values) - 1) / 2 for values in (first, second))
    spread = float(np.sqrt((ours**2).sum() * (theirs**2).sum()))
    if not (theirs**2).sum():
        return 1.0
    return float((ours * theirs).sum()) / spread if spread else 0.0


def worst_scores(agreements: Sequence[ScoreAgreement]) -> ScoreAgreement:
    """Return the largest differences and the smallest correlation of several; NaN if any is."""
    return ScoreAgreement(
        float(np.max([each.max_difference for each in agreements])),
        float(np.max([each.max_score_difference for each in agreements])),
        float(np.min([each.rank_correlation for each in agreements])),
    )


def probe_scores(
    predict: Callable[[Sequence[TextOrPair]], Logits], pairs: Sequence[TextOrPair], logits: Logits, activation: str
) -> ScoreAgreement:
    """Compare the logits that `predict` gives with those expected, all pairs at once and each alone."""
    return worst_scores([compare_scores(each, logits, activation) for each in together_and_alone(predict, pairs)])


def _ranks(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Rank values (n,) from 0; equal ones share the mean of their ranks."""
    ordered = np.sort(values)
    first, last = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return (first + last - 1) / 2
