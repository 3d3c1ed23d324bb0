"""Do the peers' vectors say the same? Exact ones by difference, int8 ones by cosine, from the files they left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .registry import Peer

Vectors = NDArray[np.float64]

EXACT_DIFFERENCE = 1e-4
LEAST_COSINE = 0.95  # of int8 and bfloat16: the same model, however coarse
REFERENCES = ("torch", "plain", "ours-fp32", "st-torch", "st-onnx", "ours-fp32-texts")  # the first that ran the shape


class MismatchError(Exception):
    """Vectors of another shape: a peer runs another model."""


def vectors_file(work: Path, peer: str, shape: str) -> Path:
    """Return where a peer leaves the vectors of one shape."""
    return work / "vectors" / f"{peer}-{shape}.npy"


def compare(work: Path, shape: str, peers: Mapping[str, Peer], ran: Iterable[str]) -> dict[str, dict[str, object]]:
    """Hold the vectors that every peer of `ran` left of one shape against the reference's.

    Returns:
        By peer: `against`, `difference` (the largest), `cosine` (the smallest of a text) and `agrees`. An exact peer
        agrees if it is close in every value; others if their vectors point the same way.

    Raises:
        MismatchError: vectors of another shape than the reference's.
    """
    vectors = {name: np.load(vectors_file(work, name, shape)).astype(np.float64) for name in ran}
    reference = next((name for name in REFERENCES if name in vectors), None)
    if reference is None:
        return {}
    for name, found in vectors.items():
        if found.shape != vectors[reference].shape:
            raise MismatchError(f"{name} gave vectors of another shape than {reference}: it runs another model")
    return {
        name: {"against": reference} | _judge(found, vectors[reference], peers[name].exact)
        for name, found in vectors.items()
    }


def _judge(found: Vectors, wanted: Vectors, exact: bool) -> dict[str, object]:
    """(texts, hidden) against (texts, hidden)."""
    difference = float(np.abs(found - wanted).max())
    lengths = np.linalg.norm(found, axis=-1) * np.linalg.norm(wanted, axis=-1)
    cosine = float(((found * wanted).sum(-1) / lengths).min())
    agrees = cosine >= LEAST_COSINE and (not exact or difference <= EXACT_DIFFERENCE)  # neither holds for NaN
    return {"difference": difference, "cosine": cosine, "agrees": agrees}
