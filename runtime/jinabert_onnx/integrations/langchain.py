"""LangChain's `Embeddings`. Translates names and types; knows nothing of vector stores."""

import os
from typing import Unpack

from jinabert_onnx.bundle.fingerprint import Fingerprint
from jinabert_onnx.embedder import Embedder
from jinabert_onnx.encoding.options import BATCH_SIZE, expand_options
from jinabert_onnx.errors import MissingDependencyError

from .encoder import as_lists, in_thread, open_encoder
from .options import ModelOptions

try:
    from langchain_core.embeddings import Embeddings
except ImportError as error:
    raise MissingDependencyError(
        f"LangChain's class needs langchain-core ({error}); install it: pip install 'jinabert-onnx[cpu,langchain]'"
    ) from error


class JinaBertEmbeddings(Embeddings):
    """A JinaBERT model for LangChain's vector stores and retrievers.

    Any number of threads and tasks may use it at once. It can be pickled: the model is loaded again where it is
    unpickled.
    """

    @expand_options(ModelOptions)
    def __init__(
        self,
        model: str | os.PathLike[str] | Embedder,
        *,
        batch_size: int = BATCH_SIZE,
        **options: Unpack[ModelOptions],
    ) -> None:
        """Load the model, or take one that is loaded.

        Args:
            model: directory or hub id of a bundle, or an Embedder to share; then nothing about loading may be given.
            batch_size: most texts that run together.
            options: those of `ModelOptions`.

        Raises:
            InputError: an argument is out of range, or the model is of another space than `fingerprint`.
            InputTypeError: `model` is of another type.
            What `Embedder.load` raises.
        """
        self._encoder = open_encoder(model, options, batch_size)

    @property
    def embedder(self) -> Embedder:
        """The model that runs."""
        return self._encoder.embedder

    @property
    def fingerprint(self) -> Fingerprint:
        """The vector space, to be kept with an index."""
        return self.embedder.fingerprint

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of texts to be found, in their order; with the bundle's prompt for documents, if it has one.

        Raises:
            InputTypeError: a text is not a str; its index is named.
            TruncationError: a text is too long, and `truncation` is "error".
            What `Embedder.encode` raises.
        """
        return as_lists(self._encoder.documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """The vector of a text to search with; with the bundle's prompt for queries, if it has one.

        Raises:
            What `embed_documents` raises.
        """
        return as_lists(self._encoder.queries([text]))[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """`embed_documents` in a thread; cancelling the task ends the work."""
        vectors = await in_thread(lambda cancellation: self._encoder.documents(texts, cancellation))
        return as_lists(vectors)

    async def aembed_query(self, text: str) -> list[float]:
        """`embed_query` in a thread; cancelling the task ends the work."""
        vectors = await in_thread(lambda cancellation: self._encoder.queries([text], cancellation))
        return as_lists(vectors)[0]
