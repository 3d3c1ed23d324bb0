"""Texts to vectors for the frameworks' classes: a model that makes them, and how it is asked.

Knows no framework.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import cast

from jinabert_onnx.embedder import DOCUMENT_PROMPTS, Embedder, Spans
from jinabert_onnx.encoding.options import EncodeOptions, defaults_of, require_known
from jinabert_onnx.encoding.results import Chunks
from jinabert_onnx.encoding.settings import resolve_settings
from jinabert_onnx.encoding.vector_types import AnyVectors
from jinabert_onnx.engine.cancellation import Cancellation
from jinabert_onnx.errors import InputTypeError

from .held_model import HeldModel
from .options import ModelOptions
from .source import loading_of, open_shared


@dataclass(frozen=True)
class Asking:
    """How every text is encoded: arguments of `Embedder.encode`."""

    normalize_embeddings: bool
    truncation: str
    batch_size: int


class Encoder(HeldModel[Embedder, Asking]):
    """A model, and how the frameworks' texts are encoded with it."""

    def queries(self, texts: Sequence[str], cancellation: Cancellation | None = None) -> AnyVectors:
        """Compute float32 (n, hidden) of texts to search with, with the bundle's prompt for queries, if it has one."""
        settings = asdict(self.asking)
        return self.model.encode_query(_listed(texts), show_progress_bar=False, cancellation=cancellation, **settings)

    def documents(
        self, texts: Sequence[str], cancellation: Cancellation | None = None, progress_bar: bool | None = False
    ) -> AnyVectors:
        """Compute float32 (n, hidden) of texts to be found, with the bundle's prompt for documents, if it has one."""
        settings = asdict(self.asking)
        return self.model.encode_document(
            _listed(texts), show_progress_bar=progress_bar, cancellation=cancellation, **settings
        )

    def chunks(self, text: str, spans: Spans, cancellation: Cancellation | None = None) -> Chunks:
        """Embed a document by late chunking, with the bundle's prompt for documents; it is read whole, never cut."""
        held = self.model.bundle.manifest.prompts
        return self.model.encode_chunks(
            text,
            spans,
            normalize_embeddings=self.asking.normalize_embeddings,
            prompt_name=next((name for name in DOCUMENT_PROMPTS if name in held), None),
            cancellation=cancellation,
        )


def open_encoder(model: str | os.PathLike[str] | Embedder, options: ModelOptions, batch_size: int) -> Encoder:
    """Open an encoder whose model is loaded and whose settings are checked.

    Args:
        model: directory or hub id of a bundle, or an Embedder, which is then shared and not closed.
        options: nothing about loading may be asked for where an Embedder is given.
        batch_size: maximum number of texts per batch.

    Raises:
        InputTypeError: the model is none of these, or an option is unknown.
        InputError: a setting is out of range, or means loading and an Embedder is given; another space.
        What `Embedder.load` raises.
    """
    require_known("__init__", options, ModelOptions)
    given = {**defaults_of(ModelOptions), "batch_size": batch_size, **options}
    asking = Asking(**{field.name: given[field.name] for field in fields(Asking)})
    loading = loading_of(options, options.get("max_length"))
    source, embedder = open_shared(Embedder, model, loading, options.get("fingerprint"))
    encoding = cast(EncodeOptions, asdict(asking))
    resolve_settings(embedder.loaded, encoding, embedder.max_seq_length)  # refuses what is out of range
    return Encoder(replace(source, fingerprint=str(embedder.fingerprint)), asking, embedder)


def as_lists(vectors: AnyVectors) -> list[list[float]]:
    """Turn vectors (n, hidden) into the lists of numbers that frameworks store."""
    rows: list[list[float]] = vectors.tolist()
    return rows


def _listed(texts: Iterable[str]) -> Iterable[str]:
    if isinstance(texts, str):
        raise InputTypeError("texts are one str, not a list of str; put it into a list")
    return texts
