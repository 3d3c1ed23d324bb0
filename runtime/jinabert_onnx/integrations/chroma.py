"""Chroma's `EmbeddingFunction`, and what a collection stores of it.

Translates names and types; knows nothing of how Chroma searches.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np

from jinabert_onnx.bundle.fingerprint import Fingerprint, compatible
from jinabert_onnx.embedder import Embedder
from jinabert_onnx.errors import InputError, InputTypeError, needed

from .encoder import Asking, Encoder
from .one_model import OneModel
from .source import Loading, Source

with needed("Chroma's class needs chromadb", "cpu,chroma"):
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection
    from chromadb.api.types import Documents, EmbeddingFunction, Embeddings, Space
    from chromadb.utils.embedding_functions import register_embedding_function

_LOADING = tuple(field.name for field in fields(Loading))
_ASKING = tuple(field.name for field in fields(Asking))


class JinaBertEmbeddingFunction(OneModel, EmbeddingFunction[Documents]):
    """A JinaBERT model for Chroma's collections.

    A collection stores the model's place, its settings and its fingerprint. Where this module is imported, Chroma
    recreates the function from them: the model is loaded when first needed, and refused if its space has changed.
    """

    def collection(self, client: ClientAPI, name: str) -> Collection:
        """Return the client's collection of that name with this function, or create it.

        Chroma's own `get_collection` takes any function of the same class for a collection that exists.

        Raises:
            InputError: the collection was filled by a model of another space, at another length, with long texts read
                in another way, or by another class.
            ValueError: from Chroma: it was created with another class of function.
        """
        # Chroma's signature asks for functions that read images too.
        collection = client.get_or_create_collection(name, embedding_function=self)  # type: ignore[arg-type]
        stored = collection.configuration.get("embedding_function")
        if not isinstance(stored, JinaBertEmbeddingFunction):
            raise InputError(f"collection {name!r} does not record which function filled it; make another")
        self.validate_config_update(stored.get_config(), self.get_config())
        return collection

    def __call__(self, input: Documents) -> Embeddings:
        """Compute vectors of texts to be found, with the bundle's prompt for documents, if it has one.

        Raises:
            InputTypeError: a text is not a str; its index is named.
            TruncationError: a text is too long, and `truncation` is "error".
            ValueError: from Chroma: there is no text.
            What `Embedder.encode` raises.
        """
        return [np.asarray(vector, dtype=np.float32) for vector in self._encoder.documents(input)]

    def embed_query(self, input: Documents) -> Embeddings:
        """Compute vectors of texts to search with, with the bundle's prompt for queries, if it has one.

        Raises:
            What `__call__` raises, except for a missing text.
        """
        return [np.asarray(vector, dtype=np.float32) for vector in self._encoder.queries(input)]

    @staticmethod
    def name() -> str:
        """Return the name under which collections store the class."""
        return "jinabert_onnx"

    def default_space(self) -> Space:
        """Return how Chroma compares vectors unless a collection says otherwise."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """Return all spaces of Chroma; with vectors of length 1 they rank alike."""
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        """Return what a collection stores: all arguments, the model by absolute path or hub id, and the fingerprint."""
        source = self._encoder.source
        return {"model": source.model, **self._encoder.settings, "fingerprint": source.fingerprint}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> JinaBertEmbeddingFunction:
        """Build the function that a collection stores; the model is loaded with the first text.

        Raises:
            InputError: it is not a configuration of this class, or is of a later release.
        """
        JinaBertEmbeddingFunction.validate_config(config)
        loading = Loading(**{name: config[name] for name in _LOADING})
        source = Source(Embedder, config["model"], loading, config["fingerprint"])
        function = JinaBertEmbeddingFunction.__new__(JinaBertEmbeddingFunction)
        function._encoder = Encoder(source, Asking(**{name: config[name] for name in _ASKING}))
        return function

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Return if `config` is what `get_config` gives.

        Raises:
            InputTypeError: it is not a dictionary.
            InputError: a key is missing or unknown, or the fingerprint is not one.
        """
        if not isinstance(config, dict):
            raise InputTypeError(f"the configuration is {type(config).__name__}, not a dictionary")
        odd = sorted({"model", "fingerprint", *_LOADING, *_ASKING} ^ set(config))
        if odd:
            raise InputError(
                f"{odd[0]!r} is unknown to the configuration, or missing from it; use the release that wrote it"
            )
        Fingerprint.parse(str(config["fingerprint"]))

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Return if a collection with vectors of `old_config` may continue with `new_config`.

        The path of the model, its precision and everything about its speed may change.

        Raises:
            InputError: the model is of another space, vectors would have another length, or another part of a long text
                would be read.
        """
        self.validate_config(old_config)
        self.validate_config(new_config)
        if not compatible(old_config["fingerprint"], new_config["fingerprint"]):
            raise InputError(
                f"{new_config['model']} makes vectors of another space ({new_config['fingerprint']}) than the "
                f"collection has ({old_config['fingerprint']}): use the model that made them, at its maximum length, "
                "or make another collection"
            )
        if old_config["normalize_embeddings"] != new_config["normalize_embeddings"]:
            raise InputError(
                f"the collection has vectors of normalize_embeddings={old_config['normalize_embeddings']}; "
                "use the same, or make another collection"
            )
        if _read_of_long_texts(old_config) != _read_of_long_texts(new_config):
            raise InputError(
                f"the collection has vectors of truncation={old_config['truncation']!r}, and "
                f"{new_config['truncation']!r} reads another part of long texts; "
                "use the same, or make another collection"
            )


def _read_of_long_texts(config: dict[str, Any]) -> str:
    """Return the `truncation` that makes the same vectors: where a cut is told of or refused, the beginning is read."""
    return "head" if config["truncation"] in ("warn", "error") else str(config["truncation"])


# A collection can be opened wherever this module is imported, without naming the function.
register_embedding_function(JinaBertEmbeddingFunction)  # type: ignore[no-untyped-call]
