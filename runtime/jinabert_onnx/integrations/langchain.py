"""LangChain's `Embeddings`, and a `BaseDocumentCompressor` that reranks.

Translates names and types; knows nothing of vector stores and retrievers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import deepcopy
from typing import Unpack

from jinabert_onnx.cross_encoder import CrossEncoder
from jinabert_onnx.encoding.options import expand_options
from jinabert_onnx.engine.cancellation import Cancellation
from jinabert_onnx.errors import needed

from .encoder import as_lists
from .held_model import in_thread
from .one_model import OneModel
from .options import RerankOptions
from .reranker import open_reranker

with needed("LangChain's classes need langchain-core", "cpu,langchain"):
    from langchain_core.callbacks import Callbacks
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.embeddings import Embeddings

    from .rerank_fields import RerankFields


class JinaBertEmbeddings(OneModel, Embeddings):
    """A JinaBERT model for LangChain's vector stores and retrievers.

    Any number of threads and tasks may use it at once. It can be pickled: the model is loaded again where it is
    unpickled.
    """

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Compute vectors of texts to be found, in order, with the bundle's prompt for documents, if it has one.

        Raises:
            InputTypeError: a text is not a str; its index is named.
            TruncationError: a text is too long, and `truncation` is "error".
            What `Embedder.encode` raises.
        """
        return as_lists(self._encoder.documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """Compute the vector of a text to search with, with the bundle's prompt for queries, if it has one.

        Raises:
            What `embed_documents` raises.
        """
        return as_lists(self._encoder.queries([text]))[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Run `embed_documents` in a thread; cancelling the task ends the work."""
        vectors = await in_thread(lambda cancellation: self._encoder.documents(texts, cancellation))
        return as_lists(vectors)

    async def aembed_query(self, text: str) -> list[float]:
        """Run `embed_query` in a thread; cancelling the task ends the work."""
        vectors = await in_thread(lambda cancellation: self._encoder.queries([text], cancellation))
        return as_lists(vectors)[0]


class JinaBertRerank(RerankFields, BaseDocumentCompressor):
    """A reranker of the JinaBERT family for LangChain's retrievers: it puts the documents found in order.

    Any number of threads and tasks may use it at once. It can be pickled: the model is loaded again where it is
    unpickled.

    Attributes:
        top_n: how many documents to return; None for all. It can be set.
    """

    top_n: int | None = 3

    @expand_options(RerankOptions)
    def __init__(
        self, model: str | os.PathLike[str] | CrossEncoder, *, top_n: int | None = 3, **options: Unpack[RerankOptions]
    ) -> None:
        """Load the model, or take one that is loaded.

        Args:
            model: directory or hub id of a reranker's bundle, or a CrossEncoder to share; then nothing about loading
                may be given.
            top_n: how many documents to return; None for all.
            options: those of `RerankOptions`.

        Raises:
            InputError: an argument is out of range, or the model has several labels.
            InputTypeError: `model` is of another type.
            BundleError: the model is no cross-encoder.
            What `CrossEncoder.load` raises.
        """
        super().__init__(open_reranker(model, options, top_n), top_n=top_n)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Return copies of the `top_n` documents that fit the query best, the best first.

        Their metadata have the score that `rank` gives as `relevance_score`. What is given is not changed.

        Raises:
            What `CrossEncoder.rank` raises.
        """
        return self._compress(documents, query, None)

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Run `compress_documents` in a thread; cancelling the task ends the work."""
        return await in_thread(lambda cancellation: self._compress(documents, query, cancellation))

    def _compress(self, documents: Sequence[Document], query: str, cancellation: Cancellation | None) -> list[Document]:
        texts = [document.page_content for document in documents]
        ranked = self._reranker.rank(query, texts, self.top_n, cancellation)
        return [_with_score(documents[found.index], found.score) for found in ranked]


def _with_score(document: Document, score: float) -> Document:
    return document.model_copy(update={"metadata": {**deepcopy(document.metadata), "relevance_score": score}})
