"""Haystack's text embedder, document embedder and ranker: components, which pipelines store as YAML.

Translates names and types; knows nothing of pipelines. Without `from __future__ import annotations`, for some releases
of Haystack compare the types of `run` as they are written.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Unpack, cast

from jinabert_onnx.bundle.fingerprint import Fingerprint
from jinabert_onnx.cross_encoder import CrossEncoder
from jinabert_onnx.embedder import Embedder
from jinabert_onnx.encoding.options import BATCH_SIZE, expand_options
from jinabert_onnx.engine.cancellation import Cancellation
from jinabert_onnx.errors import InputTypeError, needed
from jinabert_onnx.text.inputs import require_range

from .encoder import Encoder, as_lists, open_encoder
from .held_model import in_thread
from .options import ModelOptions, RerankOptions
from .reranker import Reranker, open_reranker

with needed("Haystack's components need haystack-ai", "cpu,haystack"):
    from haystack import Document, component, default_to_dict

    from .haystack_component import WithModel


class _WithEmbedder(WithModel[Encoder]):
    """A component that makes vectors."""

    batch_size = BATCH_SIZE

    def _open(self, model: str | Embedder) -> Encoder:
        return open_encoder(model, cast(ModelOptions, self.options), self.batch_size)

    @property
    def embedder(self) -> Embedder:
        """Return the model that runs."""
        return self._loaded().model

    @property
    def fingerprint(self) -> Fingerprint:
        """Return the vector space, to be kept with an index."""
        return self.embedder.fingerprint


@component
class JinaBertTextEmbedder(_WithEmbedder):
    """A JinaBERT model for the texts that a pipeline searches with, such as queries."""

    @expand_options(ModelOptions)
    def __init__(self, model: str | os.PathLike[str] | Embedder, **options: Unpack[ModelOptions]) -> None:
        """Keep what to load; the model is loaded by `warm_up`, or with the first text.

        Args:
            model: directory or hub id of a bundle, or an Embedder to share; then nothing about loading may be given.
            options: those of `ModelOptions`.

        Raises:
            InputTypeError: `model` is of another type, or an option is unknown.
        """
        self._keep(Embedder, model, options, ModelOptions)

    def to_dict(self) -> dict[str, Any]:
        """Return what a pipeline stores: all arguments, the model by its name as it was given."""
        return default_to_dict(self, model=self.model, **self.options)

    @component.output_types(embedding=list[float])
    def run(self, text: str) -> dict[str, list[float]]:
        """Compute the vector of a text to search with, with the bundle's prompt for queries, if it has one.

        Raises:
            InputTypeError: it is not a str.
            TruncationError: it is too long, and `truncation` is "error".
            What `warm_up` and `Embedder.encode` raise.
        """
        return self._embed(text, None)

    @component.output_types(embedding=list[float])
    async def run_async(self, text: str) -> dict[str, list[float]]:
        """Run `run` in a thread; cancelling the task ends the work."""
        return await in_thread(lambda cancellation: self._embed(text, cancellation))

    def _embed(self, text: str, cancellation: Cancellation | None) -> dict[str, list[float]]:
        if not isinstance(text, str):
            raise InputTypeError(f"text is {type(text).__name__}, not str; documents are for JinaBertDocumentEmbedder")
        return {"embedding": as_lists(self._loaded().queries([text], cancellation))[0]}


@component
class JinaBertDocumentEmbedder(_WithEmbedder):
    """A JinaBERT model for the documents that a pipeline stores."""

    @expand_options(ModelOptions)
    def __init__(
        self,
        model: str | os.PathLike[str] | Embedder,
        *,
        batch_size: int = BATCH_SIZE,
        progress_bar: bool | None = None,
        meta_fields_to_embed: Sequence[str] | None = None,
        embedding_separator: str = "\n",
        **options: Unpack[ModelOptions],
    ) -> None:
        """Keep what to load; the model is loaded by `warm_up`, or with the first documents.

        Args:
            model: directory or hub id of a bundle, or an Embedder to share; then nothing about loading may be given.
            batch_size: maximum number of documents per batch.
            progress_bar: True, False, or None for a bar on a terminal when the work takes long.
            meta_fields_to_embed: keys of metadata whose values are put before the text.
            embedding_separator: what stands between these values and the text.
            options: those of `ModelOptions`.

        Raises:
            InputTypeError: `model` is of another type, or an option is unknown.
        """
        self.batch_size, self.progress_bar = batch_size, progress_bar
        self.meta_fields_to_embed, self.embedding_separator = list(meta_fields_to_embed or []), embedding_separator
        self._keep(Embedder, model, options, ModelOptions)

    def to_dict(self) -> dict[str, Any]:
        """Return what a pipeline stores: all arguments, the model by its name as it was given."""
        return default_to_dict(
            self,
            model=self.model,
            batch_size=self.batch_size,
            progress_bar=self.progress_bar,
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
            **self.options,
        )

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Return copies of documents that have vectors, with the bundle's prompt for documents, if it has one.

        Raises:
            InputTypeError: they are not a list of Documents.
            TruncationError: a text is too long, and `truncation` is "error".
            What `warm_up` and `Embedder.encode` raise.
        """
        return self._embed(documents, None)

    @component.output_types(documents=list[Document])
    async def run_async(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Run `run` in a thread; cancelling the task ends the work."""
        return await in_thread(lambda cancellation: self._embed(documents, cancellation))

    def _embed(self, documents: list[Document], cancellation: Cancellation | None) -> dict[str, list[Document]]:
        texts = _texts_of(documents, self.meta_fields_to_embed, self.embedding_separator)
        vectors = as_lists(self._loaded().documents(texts, cancellation, self.progress_bar))
        pairs = zip(documents, vectors, strict=True)
        return {"documents": [replace(document, embedding=vector) for document, vector in pairs]}


@component
class JinaBertRanker(WithModel[Reranker]):
    """A reranker of the JinaBERT family, which puts the documents that were found in order."""

    @expand_options(RerankOptions)
    def __init__(
        self,
        model: str | os.PathLike[str] | CrossEncoder,
        *,
        top_k: int | None = 10,
        score_threshold: float | None = None,
        meta_fields_to_embed: Sequence[str] | None = None,
        embedding_separator: str = "\n",
        **options: Unpack[RerankOptions],
    ) -> None:
        """Keep what to load; the model is loaded by `warm_up`, or with the first documents.

        Args:
            model: directory or hub id of a reranker's bundle, or a CrossEncoder to share; then nothing about loading
                may be given.
            top_k: how many documents to return; None for all.
            score_threshold: leave out documents with a lower score.
            meta_fields_to_embed: keys of metadata whose values are put before the text.
            embedding_separator: what stands between these values and the text.
            options: those of `RerankOptions`.

        Raises:
            InputTypeError: `model` is of another type, or an option is unknown.
            InputError: `top_k` is less than 1.
        """
        self.top_k, self.score_threshold = _checked(top_k), score_threshold
        self.meta_fields_to_embed, self.embedding_separator = list(meta_fields_to_embed or []), embedding_separator
        self._keep(CrossEncoder, model, options, RerankOptions)

    def _open(self, model: str | CrossEncoder) -> Reranker:
        return open_reranker(model, cast(RerankOptions, self.options), None)

    @property
    def cross_encoder(self) -> CrossEncoder:
        """Return the model that runs."""
        return self._loaded().model

    def to_dict(self) -> dict[str, Any]:
        """Return what a pipeline stores: all arguments, the model by its name as it was given."""
        return default_to_dict(
            self,
            model=self.model,
            top_k=self.top_k,
            score_threshold=self.score_threshold,
            meta_fields_to_embed=self.meta_fields_to_embed,
            embedding_separator=self.embedding_separator,
            **self.options,
        )

    @component.output_types(documents=list[Document])
    def run(
        self, query: str, documents: list[Document], top_k: int | None = None, score_threshold: float | None = None
    ) -> dict[str, list[Document]]:
        """Return copies of the documents that fit the query best, the best first, with the scores of `rank`.

        Args:
            query: one text.
            documents: those to rank; long ones are read in windows, as in `CrossEncoder.rank`.
            top_k: in place of the component's own.
            score_threshold: likewise.

        Raises:
            InputTypeError: they are not a list of Documents, or the query is not a str.
            InputError: `top_k` is less than 1.
            What `warm_up` and `CrossEncoder.rank` raise.
        """
        return self._rank(query, documents, top_k, score_threshold, None)

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None, score_threshold: float | None = None
    ) -> dict[str, list[Document]]:
        """Run `run` in a thread; cancelling the task ends the work."""
        return await in_thread(lambda cancellation: self._rank(query, documents, top_k, score_threshold, cancellation))

    def _rank(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None,
        score_threshold: float | None,
        cancellation: Cancellation | None,
    ) -> dict[str, list[Document]]:
        top_k = self.top_k if top_k is None else _checked(top_k)
        threshold = self.score_threshold if score_threshold is None else score_threshold
        texts = _texts_of(documents, self.meta_fields_to_embed, self.embedding_separator)
        ranked = self._loaded().rank(query, texts, top_k, cancellation)
        kept = [found for found in ranked if threshold is None or found.score >= threshold]
        return {"documents": [replace(documents[found.index], score=found.score) for found in kept]}


def _checked(top_k: int | None) -> int | None:
    return None if top_k is None else require_range("top_k", top_k, 1, None)


def _texts_of(documents: object, meta_fields: list[str], separator: str) -> list[str]:
    """Return what is read of each document: the values of its metadata that are asked for, and its text.

    Raises:
        InputTypeError: they are not a list of Documents.
    """
    if not isinstance(documents, list):
        raise InputTypeError(f"documents is {type(documents).__name__}, not a list of Documents")
    for index, document in enumerate(documents):
        if not isinstance(document, Document):
            raise InputTypeError(f"document {index} is {type(document).__name__}, not a Document", index=index)
    return [separator.join([*_values(document, meta_fields), document.content or ""]) for document in documents]


def _values(document: Document, meta_fields: list[str]) -> list[str]:
    return [str(document.meta[key]) for key in meta_fields if document.meta.get(key) is not None]
