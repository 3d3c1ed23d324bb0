"""Scores of the published rerankers that other projects keep in their tests.

Whoever has the weights sees at once whether an export is right. Knows nothing of how scores are made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from jinabert_onnx.bundle.score_agreement import activate
from jinabert_onnx.text.pairs import TextOrPair
from numpy.typing import NDArray

from jinabert_onnx_export.errors import VerificationError

Predict = Callable[[Sequence[TextOrPair]], NDArray[np.float32]]  # logits (inputs, labels)


@dataclass(frozen=True)
class KnownScores:
    """What one source knows of a checkpoint with one label: values (inputs,) of that kind, "logit" or "sigmoid"."""

    inputs: tuple[TextOrPair, ...]
    values: NDArray[np.float32]
    kind: str
    tolerance: float


def read_known_scores() -> dict[str, list[KnownScores]]:
    """Read the known scores, by hub id."""
    content = json.loads(resources.files("jinabert_onnx_export").joinpath("data/known_scores.json").read_text("utf-8"))
    known: dict[str, list[KnownScores]] = {}
    for entry in content["entries"]:
        known.setdefault(entry["model"], []).append(_known(entry))
    return known


def check_known_scores(claimed: str | None, predict: Predict, known: Mapping[str, Sequence[KnownScores]]) -> str | None:
    """Compare `predict` with the known scores of `claimed`, or find out which published checkpoint it is, if any.

    Returns:
        The hub id of the published checkpoint whose scores these are, or None.

    Raises:
        VerificationError: it claims to be a published checkpoint, and its scores are others.
    """
    if claimed is None:
        matches = (name for name, entries in known.items() if all(_excess(predict, each) <= 0 for each in entries))
        return next(matches, None)
    for entry in known[claimed]:
        excess = _excess(predict, entry)
        if not excess <= 0:
            raise VerificationError(
                f"the scores are not those known for {claimed} (a {entry.kind} of {entry.inputs[0]!r} or others is off "
                f"by {excess + entry.tolerance:.2g}, at most {entry.tolerance:g} is required); if this is a fine-tuned "
                "model, give its directory another name"
            )
    return claimed


def _known(entry: Mapping[str, Any]) -> KnownScores:
    inputs: list[TextOrPair] = (
        [entry["text"]] if "text" in entry else [(entry["query"], document) for document in entry["documents"]]
    )
    return KnownScores(tuple(inputs), np.array(entry["values"], np.float32), entry["kind"], entry["atol"])


def _excess(predict: Predict, known: KnownScores) -> float:
    """Return by how much the largest difference is beyond the tolerance; infinity for a model with more labels."""
    logits = predict(known.inputs)
    if logits.shape[1] != 1:
        return float("inf")
    scores = activate(logits, "sigmoid") if known.kind == "sigmoid" else logits
    return float(np.abs(scores[:, 0] - known.values).max()) - known.tolerance
