"""Vectors of the six published checkpoints that other projects keep in their tests.

Whoever has the weights sees at once whether an export is right. Knows nothing of how vectors are made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from jinabert_onnx.bundle.probes import compare
from jinabert_onnx.encoding.pooling import normalize
from numpy.typing import NDArray

from jinabert_onnx_export.errors import VerificationError

Embed = Callable[[Sequence[str]], NDArray[np.float32]]

_FIRST_VALUES_TOLERANCE = 1e-3
_FULL_MIN_COSINE = 0.999  # the source used an approximate GELU


@dataclass(frozen=True)
class KnownVectors:
    """What is known of one checkpoint: the first normalised values of `text`, and full vectors of `texts`."""

    name: str
    text: str
    first_values: NDArray[np.float32]
    texts: tuple[str, ...] = ()
    vectors: NDArray[np.float32] | None = None


def read_known() -> dict[str, KnownVectors]:
    """Read the known vectors, by hub id."""
    content = json.loads(resources.files("jinabert_onnx_export").joinpath("data/known_vectors.json").read_text("utf-8"))
    full = {entry["model"]: entry for entry in content["full"]}
    first = content["first_five"]
    return {name: _known(name, first["text"], values, full.get(name)) for name, values in first["vectors"].items()}


def claimed_name(source: str, known: Iterable[str]) -> str | None:
    """Return the published checkpoint that `source`, a hub id or a directory's name, is named after; None if none."""
    matches = [name for name in known if source in (name, name.partition("/")[2])]
    return matches[0] if matches else None


def check_known_vectors(claimed: str | None, embed: Embed, known: dict[str, KnownVectors]) -> str | None:
    """Compare `embed` with the known vectors of `claimed`, or find out which published checkpoint it is, if any.

    Returns:
        The hub id of the published checkpoint whose vectors these are, or None.

    Raises:
        VerificationError: it claims to be a published checkpoint, and its vectors are others.
    """
    if claimed is not None:
        _require_same(embed, known[claimed])
        return claimed
    for candidate in known.values():
        if _first_difference(embed, candidate) <= _FIRST_VALUES_TOLERANCE:
            _require_same(embed, candidate)
            return candidate.name
    return None


def _known(name: str, text: str, values: list[float], full: dict[str, Any] | None) -> KnownVectors:
    first_values = np.array(values, dtype=np.float32)
    if full is None:
        return KnownVectors(name, text, first_values)
    return KnownVectors(name, text, first_values, tuple(full["texts"]), np.array(full["vectors"], dtype=np.float32))


def _first_difference(embed: Embed, known: KnownVectors) -> float:
    values = normalize(embed([known.text]))[0, : len(known.first_values)]
    return float(np.abs(values - known.first_values).max())


def _require_same(embed: Embed, known: KnownVectors) -> None:
    difference = _first_difference(embed, known)
    if difference > _FIRST_VALUES_TOLERANCE:
        raise _not_the_same(known, f"{known.text!r} differs by {difference:.2g}, at most {_FIRST_VALUES_TOLERANCE:g}")
    if known.vectors is not None:
        cosine = compare(embed(known.texts), known.vectors).min_cosine
        if cosine < _FULL_MIN_COSINE:
            raise _not_the_same(known, f"a cosine of {cosine:.6f}, at least {_FULL_MIN_COSINE:g}")


def _not_the_same(known: KnownVectors, difference: str) -> VerificationError:
    return VerificationError(
        f"the vectors are not those known for {known.name} ({difference} is required); "
        "if this is a fine-tuned model, give its directory another name"
    )
