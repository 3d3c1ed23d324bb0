"""LlamaIndex's `BaseEmbedding`, and a node parser that chunks late; the reranker comes from `llama_index_rerank`.

Translates names and types; knows nothing of indexes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType
from typing import Any, Unpack
from uuid import uuid4

from jinabert_onnx.embedder import Embedder
from jinabert_onnx.encoding.options import BATCH_SIZE, defaults_of, expand_options
from jinabert_onnx.encoding.spans import Span, resolve_spans
from jinabert_onnx.engine.cancellation import Cancellation
from jinabert_onnx.errors import needed

from .encoder import Encoder, as_lists, open_encoder
from .held_model import in_thread
from .options import ModelOptions
from .sentence_chunks import sentence_chunks

with needed("LlamaIndex's classes need llama-index-core", "cpu,llama-index"):
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr, field_serializer
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.node_parser import NodeParser
    from llama_index.core.node_parser.node_utils import build_nodes_from_splits
    from llama_index.core.schema import BaseNode, Document, MetadataMode, TextNode
    from llama_index.core.utils import get_tqdm_iterable

    from .llama_index_rerank import JinaBertRerank as JinaBertRerank
    from .loading_fields import LoadingFields

_DEFAULTS = defaults_of(ModelOptions)


class JinaBertEmbedding(BaseEmbedding, LoadingFields):
    """A JinaBERT model for LlamaIndex's indexes, retrievers and pipelines.

    Any number of threads and tasks may use it at once. As a dictionary, as JSON and pickled it is the model's path,
    its settings and its fingerprint: the model is loaded again, and refused if it has become another.
    """

    max_length: int | None = Field(default=None, frozen=True)
    normalize_embeddings: bool = Field(default=_DEFAULTS["normalize_embeddings"], frozen=True)
    truncation: str = Field(default=_DEFAULTS["truncation"], frozen=True)
    fingerprint: str = Field(description="the vector space, and the precision", frozen=True)
    _encoder: Encoder = PrivateAttr()

    @expand_options(ModelOptions)
    def __init__(
        self,
        model_name: str | os.PathLike[str] | Embedder,
        *,
        embed_batch_size: int = BATCH_SIZE,
        num_workers: int | None = None,
        embeddings_cache: Any = None,
        callback_manager: CallbackManager | None = None,
        rate_limiter: Any = None,
        **options: Unpack[ModelOptions],
    ) -> None:
        """Load the model, or take one that is loaded.

        Args:
            model_name: directory or hub id of a bundle, or an Embedder to share; then nothing about loading may be
                given.
            embed_batch_size: number of texts that LlamaIndex passes at once, and the maximum per batch.
            num_workers: this and the rest are LlamaIndex's own; see `BaseEmbedding`.
            embeddings_cache: see there. It knows only texts: give each model its own.
            callback_manager: see there.
            rate_limiter: see there.
            options: those of `ModelOptions`.

        Raises:
            InputError: an argument is out of range, or the model is of another space than `fingerprint`.
            InputTypeError: `model_name` is of another type.
            What `Embedder.load` raises.
        """
        encoder = open_encoder(model_name, options, embed_batch_size)
        super().__init__(
            model_name=encoder.source.model,
            embed_batch_size=embed_batch_size,
            num_workers=num_workers,
            embeddings_cache=embeddings_cache,
            callback_manager=callback_manager or CallbackManager([]),
            rate_limiter=rate_limiter,
            **_stored(encoder),
        )
        self._encoder = encoder

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex stores."""
        return "JinaBertEmbedding"

    @property
    def embedder(self) -> Embedder:
        """Return the model that runs."""
        return self._encoder.model

    @property
    def encoder(self) -> Encoder:
        """Return the model and its settings, for code of this package."""
        return self._encoder

    def _get_query_embedding(self, query: str) -> list[float]:
        return as_lists(self._encoder.queries([query]))[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return as_lists(self._encoder.documents(texts))

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return as_lists(await in_thread(lambda cancellation: self._encoder.queries([query], cancellation)))[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return as_lists(await in_thread(lambda cancellation: self._encoder.documents(texts, cancellation)))


class LateChunkingNodeParser(NodeParser):
    """Cut documents into chunks that are embedded in the context of their document: nodes that have embeddings.

    Each document is read whole, and each chunk gets the mean of its own tokens in that context
    (`Embedder.encode_chunks`). An index takes nodes with embeddings as they are. Only the text is read, not the
    metadata, which are carried over to the nodes.

    Attributes:
        embed_model: the model, which must also be the index's.
        chunk_size: maximum number of tokens of a chunk of whole sentences; a longer sentence is a chunk by itself.
        splitter: a function from the text to pairs (start, end) of characters, in place of `chunk_size`.
    """

    embed_model: JinaBertEmbedding
    chunk_size: int = Field(default=256, gt=0)
    splitter: Callable[[str], Iterable[Span]] | None = None

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex stores."""
        return "JinaBertLateChunkingNodeParser"

    @field_serializer("splitter")
    def _identified(self, splitter: Callable[[str], Iterable[Span]] | None) -> str | None:
        """Return what identifies a splitter in a pipeline's cache, never the same twice without a lasting name."""
        return None if splitter is None else _lasting_name(splitter) or uuid4().hex

    def _parse_nodes(self, nodes: Sequence[BaseNode], show_progress: bool = False, **kwargs: Any) -> list[BaseNode]:
        return self._parse(nodes, show_progress, None)

    async def _aparse_nodes(
        self, nodes: Sequence[BaseNode], show_progress: bool = False, **kwargs: Any
    ) -> list[BaseNode]:
        return await in_thread(lambda cancellation: self._parse(nodes, show_progress, cancellation))

    def _parse(
        self, nodes: Sequence[BaseNode], show_progress: bool, cancellation: Cancellation | None
    ) -> list[BaseNode]:
        documents = get_tqdm_iterable(nodes, show_progress, "Parsing nodes")
        return [chunk for document in documents for chunk in self._chunks(document, cancellation)]

    def _chunks(self, document: BaseNode, cancellation: Cancellation | None) -> list[TextNode]:
        text = document.get_content(metadata_mode=MetadataMode.NONE)
        spans = resolve_spans(text, self.splitter or self._of_sentences)
        if not spans:
            return []
        chunks = self.embed_model.encoder.chunks(text, spans, cancellation)
        nodes = build_nodes_from_splits([text[start:end] for start, end in spans], document, id_func=self.id_func)
        for node, vector, (start, end) in zip(nodes, as_lists(chunks.vectors), chunks.spans, strict=True):
            node.embedding, node.start_char_idx, node.end_char_idx = vector, start, end
        return nodes

    def _of_sentences(self, text: str) -> list[Span]:
        tokens = self.embed_model.embedder.loaded.tokenizer.with_offsets(text)
        return sentence_chunks(text, tokens, self.chunk_size)

    def _postprocess_parsed_nodes(self, nodes: list[BaseNode], parent_doc_map: dict[str, Document]) -> list[BaseNode]:
        # LlamaIndex looks for each node's text in the document, and takes the first place where it finds it.
        places = [(node.start_char_idx, node.end_char_idx) for node in nodes if isinstance(node, TextNode)]
        processed = super()._postprocess_parsed_nodes(nodes, parent_doc_map)
        for node, (start, end) in zip(processed, places, strict=True):
            if isinstance(node, TextNode):
                node.start_char_idx, node.end_char_idx = start, end
        return processed


def _lasting_name(splitter: Callable[[str], Iterable[Span]]) -> str | None:
    """Return the module and the name of a function that any process can import; None for all else."""
    if not isinstance(splitter, FunctionType) or splitter.__module__ == "__main__" or "<" in splitter.__qualname__:
        return None
    return f"{splitter.__module__}.{splitter.__qualname__}"


def _stored(encoder: Encoder) -> dict[str, Any]:
    """Return the fields that are enough to make an encoder again, beside the batch size, which LlamaIndex names."""
    settings = {name: value for name, value in encoder.settings.items() if name != "batch_size"}
    return {**settings, "fingerprint": encoder.source.fingerprint}
