"""What tests of cross-encoders compare with: the goldens of the original implementation, and those of a trained one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinabert_onnx.text.pairs import TextOrPair
from numpy.typing import NDArray

from .paths import BUNDLES, DATA, RERANKER

CROSS_ENCODERS = DATA / "cross-encoders"
RERANKERS = ("reranker-12h", "reranker-6h")
NAMES = (*RERANKERS, "classifier-3-4h")


@dataclass(frozen=True)
class PairGolden:
    """A small cross-encoder, its bundle, and what the original implementation computes from it.

    `logits` and `scores` are (pairs, labels); `lengths` are tokens.
    """

    path: Path
    bundle: Path
    pairs: list[TextOrPair]
    lengths: list[int]
    input_ids: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    logits: NDArray[np.float32]
    scores: NDArray[np.float32]


def read_pair_golden(name: str) -> PairGolden:
    """Read one of `NAMES`, or that of the trained reranker, which was given no token types."""
    path = RERANKER if name == RERANKER.name else CROSS_ENCODERS / name
    with np.load(path / "golden.npz") as arrays:
        input_ids = arrays["input_ids"]
        logits = arrays["logits"].reshape(len(input_ids), -1)
        scores = arrays["scores"] if "scores" in arrays else arrays["probabilities"]
        return PairGolden(
            path,
            BUNDLES / name,
            _pairs(path),
            arrays["lengths"].tolist(),
            input_ids,
            arrays["token_type_ids"] if "token_type_ids" in arrays else np.zeros_like(input_ids),
            logits,
            scores.reshape(logits.shape),
        )


def _pairs(path: Path) -> list[TextOrPair]:
    """Read the inputs of any kind of golden."""
    for name in ("golden_pairs.json", "golden.json"):
        if (path / name).is_file():
            entries = json.loads((path / name).read_text("utf-8"))["pairs"]
            return [(entry["query"], entry["document"]) for entry in entries]
    entries = json.loads((path / "golden_inputs.json").read_text("utf-8"))["inputs"]
    return [entry["text"] if entry["text_pair"] is None else (entry["text"], entry["text_pair"]) for entry in entries]
