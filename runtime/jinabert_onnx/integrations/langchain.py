"""LangChain's `Embeddings`. Translates names and types; knows nothing of vector stores."""

from __future__ import annotations

import os

from jinabert_onnx.bundle.fingerprint import Fingerprint
from jinabert_onnx.embedder import Embedder
from jinabert_onnx.errors import MissingDependencyError

from .encoder import Asking, Loading, as_lists, in_thread, open_encoder

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

    def __init__(
        self,
        model: str | os.PathLike[str] | Embedder,
        *,
        precision: str | None = None,
        provider: str | None = None,
        threads: int | str | None = None,
        max_memory: int | str | None = None,
        revision: str | None = None,
        local_files_only: bool | None = None,
        max_length: int | None = None,
        normalize_embeddings: bool = True,
        truncation: str = "warn",
        batch_size: int = 32,
        fingerprint: str | None = None,
    ) -> None:
        """Load the model, or take one that is loaded.

        Args:
            model: directory or hub id of a bundle, or an Embedder to share; then nothing about loading may be given.
            precision: this and the next five as in `Embedder.load`, with its defaults.
            provider: see there.
            threads: see there.
            max_memory: see there.
            revision: see there.
            local_files_only: see there.
            max_length: tokens, special ones included, to cut each text to; default: the bundle's.
            normalize_embeddings: scale each vector to length 1, so that cosine, dot product and distance rank alike.
            truncation: what to do with longer texts, as in `Embedder.encode`; "warn" gives a TruncationWarning.
            batch_size: most texts that run together.
            fingerprint: of an index that exists; a model of another vector space is refused.

        Raises:
            InputError: an argument is out of range, or the model is of another space than `fingerprint`.
            InputTypeError: `model` is of another type.
            What `Embedder.load` raises.
        """
        loading = Loading(precision, provider, threads, max_memory, revision, local_files_only, max_length)
        asking = Asking(normalize_embeddings, truncation, batch_size)
        self._encoder = open_encoder(model, loading, asking, fingerprint)

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
