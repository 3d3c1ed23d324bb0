"""LlamaIndex's `BaseNodePostprocessor` that reranks. Translates names and types; knows nothing of indexes."""

from __future__ import annotations

import os
from typing import Any, Unpack

from jinabert_onnx.cross_encoder import CrossEncoder
from jinabert_onnx.encoding.options import expand_options
from jinabert_onnx.engine.cancellation import Cancellation
from jinabert_onnx.errors import InputError, needed

from .held_model import in_thread
from .options import RerankOptions
from .reranker import open_reranker

with needed("LlamaIndex's classes need llama-index-core", "cpu,llama-index"):
    from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
    from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
    from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle

    from .rerank_fields import RerankFields

_dispatcher = get_dispatcher(__name__)


class JinaBertRerank(RerankFields, BaseNodePostprocessor):
    """A reranker of the JinaBERT family for LlamaIndex's query engines: it puts the nodes found in order.

    A node is read as the index's model reads it, with the metadata that it shows to that. Any number of threads and
    tasks may use it at once. As a dictionary, as JSON and pickled it is the model's path and its settings.

    Attributes:
        top_n: how many nodes to return. It can be set.
    """

    top_n: int = 2

    @expand_options(RerankOptions)
    def __init__(
        self,
        model: str | os.PathLike[str] | CrossEncoder,
        *,
        top_n: int = 2,
        callback_manager: CallbackManager | None = None,
        **options: Unpack[RerankOptions],
    ) -> None:
        """Load the model, or take one that is loaded.

        Args:
            model: directory or hub id of a reranker's bundle, or a CrossEncoder to share; then nothing about loading
                may be given.
            top_n: how many nodes to return.
            callback_manager: LlamaIndex's own; see `BaseNodePostprocessor`.
            options: those of `RerankOptions`.

        Raises:
            InputError: an argument is out of range, or the model has several labels.
            InputTypeError: `model` is of another type.
            BundleError: the model is no cross-encoder.
            What `CrossEncoder.load` raises.
        """
        manager = callback_manager or CallbackManager([])
        super().__init__(open_reranker(model, options, top_n), top_n=top_n, callback_manager=manager)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex stores."""
        return "JinaBertRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return self._rerank(nodes, query_bundle, None)

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return await in_thread(lambda cancellation: self._rerank(nodes, query_bundle, cancellation))

    def _rerank(
        self, nodes: list[NodeWithScore], query: QueryBundle | None, cancellation: Cancellation | None
    ) -> list[NodeWithScore]:
        """Return the best nodes with their scores, and tell of it as LlamaIndex's own rerankers do."""
        if query is None:
            raise InputError("a reranker needs the query: give postprocess_nodes query_str or query_bundle")
        if not nodes:
            return []
        _dispatcher.event(ReRankStartEvent(query=query, nodes=nodes, top_n=self.top_n, model_name=self.model))
        told: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self.model,
            EventPayload.QUERY_STR: query.query_str,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=told) as event:
            texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
            ranked = self._reranker.rank(query.query_str, texts, self.top_n, cancellation)
            best = [NodeWithScore(node=nodes[found.index].node, score=found.score) for found in ranked]
            event.on_end(payload={EventPayload.NODES: best})
        _dispatcher.event(ReRankEndEvent(nodes=best))
        return best
