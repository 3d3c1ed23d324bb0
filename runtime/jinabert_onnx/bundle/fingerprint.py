"""Fingerprints of vector spaces, so that an index of mixed vectors is noticed before it is searched.

Weights, tokenizer, pooling and maximum length define a space. Prompts are not part of it: they are text before the
text, chosen for each call, and queries and documents with different prompts are meant to be compared. Neither are
`normalize_embeddings`, `truncate_dim` and the type of numbers, which keep a vector's direction or show in its shape.
Knows nothing of files or texts.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Protocol

from jinabert_onnx.errors import BundleError, InputError, InputTypeError

from .manifest import PRECISIONS, TOKENIZER, Manifest

_TEXT = re.compile(rf"([0-9a-f]{{16}}):({'|'.join(PRECISIONS)})")


@dataclass(frozen=True)
class Fingerprint:
    """A vector space, 16 hexadecimal digits, and the precision of the arithmetic: "3f9c2a07d15be846:int8" as text.

    Vectors with equal fingerprints were computed in the same way; `compatible` decides whether two may be compared.
    """

    space: str
    precision: str

    def __str__(self) -> str:
        return f"{self.space}:{self.precision}"

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """Read a fingerprint from its text.

        Raises:
            InputError: it is not the text of a fingerprint.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise InputError(
                f"{text[:80]!r} is no fingerprint; one is 16 hexadecimal digits, a colon, and "
                f"{', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}"
            )
        return cls(match[1], match[2])


class HasFingerprint(Protocol):
    """Anything that has a fingerprint, such as an Embedder."""

    @property
    def fingerprint(self) -> Fingerprint:
        """Return the fingerprint of its vectors."""


def fingerprint_of(manifest: Manifest, precision: str, max_length: int) -> Fingerprint:
    """Compute the fingerprint of vectors of texts that are cut to `max_length` tokens.

    Raises:
        BundleError: the manifest does not list the tokenizer.
    """
    if TOKENIZER not in manifest.files:
        raise BundleError(f"the manifest has no entry for {TOKENIZER}; export the bundle again")
    parts: dict[str, object] = {
        "weights": manifest.weights_sha256,
        "heads": manifest.model.num_attention_heads,  # the only size that no weight's shape shows
        "tokenizer": manifest.files[TOKENIZER].sha256,
        "pooling": manifest.pooling.mode,
        "normalize": manifest.pooling.normalize,
        "max_length": max_length,
    }
    if manifest.dense:  # whose weights are among those hashed
        parts["dense"] = [record.activation for record in manifest.dense]
    if manifest.classifier is not None:
        parts["scores"] = [manifest.classifier.activation, manifest.classifier.token_types]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8")).hexdigest()
    return Fingerprint(digest[:16], precision)


def compatible(first: Fingerprint | HasFingerprint | str, second: Fingerprint | HasFingerprint | str) -> bool:
    """Return whether vectors of the two may be compared: the same space, in whatever precision.

    int8 vectors of a trained model have a mean cosine of 0.9999 to its fp32 ones, so int8 queries may search
    an fp32 index. For vectors of one precision, compare fingerprints with `==`.

    Args:
        first: a Fingerprint, its text, or anything with a `fingerprint`, such as an Embedder.
        second: likewise.

    Raises:
        InputError: a text is not a fingerprint.
        InputTypeError: an argument is neither text nor has a fingerprint.
    """
    return _as_fingerprint(first).space == _as_fingerprint(second).space


def _as_fingerprint(value: object) -> Fingerprint:
    fingerprint = Fingerprint.parse(value) if isinstance(value, str) else getattr(value, "fingerprint", value)
    if not isinstance(fingerprint, Fingerprint):
        raise InputTypeError(
            f"a {type(value).__name__} has no fingerprint; give a Fingerprint, its text, or an object that has one"
        )
    return fingerprint
