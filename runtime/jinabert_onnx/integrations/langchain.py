"""LangChain's `Embeddings`. Translates names and types; knows nothing of vector stores."""

from __future__ import annotations

from jinabert_onnx.errors import needed

from .encoder import as_lists, in_thread
from .one_model import OneModel

with needed("LangChain's class needs langchain-core", "cpu,langchain"):
    from langchain_core.embeddings import Embeddings


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
