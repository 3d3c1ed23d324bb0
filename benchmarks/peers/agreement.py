"""Do the peers' vectors say the same? Exact ones by difference, int8 ones by cosine, from the files they left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from .registry import Peer

EXACT_DIFFERENCE = 1e-4
_REFERENCES = ("torch", "plain", "ours-fp32")  # the first that has run the shape


def vectors_file(work: Path, peer: str, shape: str, form: str) -> Path:
    """Where a peer leaves the vectors of one shape."""
    return work / "vectors" / f"{peer}-{shape}-{form}.npy"


def compare(files: Mapping[str, Iterable[Path]], chosen: Mapping[str, Peer]) -> dict[str, dict[str, object]]:
    """Hold every peer's vectors of one shape, all its forms, against the reference's.

    Returns:
        By peer: `against`, `difference` (the largest), `cosine` (the smallest of a text) and `agrees`.
    """
    vectors = {name: [np.load(path) for path in paths] for name, paths in files.items()}
    reference = next((name for name in _REFERENCES if name in vectors), None)
    if reference is None:
        return {}
    expected = vectors[reference][0].astype(np.float64)
    for name, rows in vectors.items():
        if any(row.shape != expected.shape for row in rows):
            raise SystemExit(f"{name} gave vectors of another shape than {reference}: it runs another model")
    return {
        name: {"against": reference} | _judge(np.stack(rows).astype(np.float64), expected, chosen[name].exact)
        for name, rows in vectors.items()
    }


def _judge(
    found: np.ndarray[tuple[int, ...], np.dtype[np.float64]], expected: object, exact: bool
) -> dict[str, object]:
    """(forms, texts, hidden) against (texts, hidden)."""
    wanted = np.asarray(expected)
    difference = float(np.abs(found - wanted).max())
    lengths = np.linalg.norm(found, axis=-1) * np.linalg.norm(wanted, axis=-1)
    cosine = float(((found * wanted).sum(-1) / lengths).min())
    agrees = bool(np.isfinite(cosine)) and (not exact or difference <= EXACT_DIFFERENCE)
    return {"difference": difference, "cosine": cosine, "agrees": agrees}
