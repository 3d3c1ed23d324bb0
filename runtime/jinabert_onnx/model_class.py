"""Which of the two public classes loads a bundle."""

from __future__ import annotations

from .bundle.manifest import Bundle
from .cross_encoder import CrossEncoder
from .embedder import Embedder


def class_of(bundle: Bundle) -> type[Embedder] | type[CrossEncoder]:
    """Return the class that loads this bundle."""
    return Embedder if bundle.manifest.classifier is None else CrossEncoder
