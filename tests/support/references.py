"""What tests compare with: the goldens of the original implementation, a few held-out texts, and cosines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .paths import BUNDLES, CHECKPOINT, DENSE_GOLDEN, ENCODER_GOLDENS, GOLDENS

NAMES = [path.name for path in ENCODER_GOLDENS]


@dataclass(frozen=True)
class Golden:
    """A small checkpoint, its bundle, and what the original implementation computes from it.

    `input_ids` and `attention_mask` are int64 (texts, sequence); `token_embeddings` are those of the visible
    tokens, text after text, (tokens, hidden).
    """

    path: Path
    bundle: Path
    texts: list[str]
    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    lengths: list[int]
    token_embeddings: NDArray[np.float32]
    pooled: NDArray[np.float32]

    def of_each_text(self) -> list[NDArray[np.float32]]:
        """The token embeddings of each text, (its length, hidden)."""
        return np.split(self.token_embeddings, np.cumsum(self.lengths)[:-1])


def read_golden(name: str) -> Golden:
    path = GOLDENS / name
    with np.load(path / "golden.npz") as arrays:
        return Golden(
            path,
            BUNDLES / name,
            json.loads((path / "golden_texts.json").read_text("utf-8"))["texts"],
            arrays["input_ids"].astype(np.int64),
            arrays["attention_mask"].astype(np.int64),
            arrays["lengths"].tolist(),
            arrays["token_embeddings"],
            arrays["pooled"],
        )


def read_dense_golden() -> tuple[list[str], NDArray[np.float32]]:
    """Return the texts of the golden with a Dense module, and their vectors, (texts, 40)."""
    texts = json.loads((DENSE_GOLDEN / "golden_texts.json").read_text("utf-8"))["texts"]
    with np.load(DENSE_GOLDEN / "golden.npz") as arrays:
        return texts, arrays["embeddings"]


def write_few_texts(path: Path) -> Path:
    """Write held-out texts that are quickly embedded: 60 pairs, 20 sentences, the 5 shortest long texts."""
    content = json.loads((CHECKPOINT / "heldout.json").read_text("utf-8"))
    few = {
        "pairs": content["pairs"][:60],
        "sentences": content["sentences"][:20],
        "long": [{"text": text} for text in sorted(content["long"], key=len)[:5]],
    }
    path.write_text(json.dumps(few), encoding="utf-8")
    return path


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of each row with its own, in float64."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    return (first * second).sum(-1) / np.linalg.norm(first, axis=-1) / np.linalg.norm(second, axis=-1)
