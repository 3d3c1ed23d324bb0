"""LlamaIndex's reranker: the order that `rank` gives, in a query engine, what it tells, what is stored, errors."""

from __future__ import annotations

import asyncio
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from conftest import NO_RERANKERS, RAGGED, require_ends_when_cancelled
from jinabert_onnx import CrossEncoder, Embedder, InputError
from jinabert_onnx.errors import JinaBertError
from jinabert_onnx.integrations.llama_index import JinaBertEmbedding, JinaBertRerank
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.base import BaseEvent
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers.no_text import NoText
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from support.paths import TRAINED_RERANKER

QUERY = "When is the meeting?"


def as_nodes(texts: list[str], **options: Any) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(text=text, id_=str(index), **options), score=0.5)
        for index, text in enumerate(texts)
    ]


def order_of(nodes: list[NodeWithScore]) -> list[tuple[int, float | None]]:
    return [(int(node.node_id), node.score) for node in nodes]


@pytest.mark.parametrize("top_n", [1, 3, 100])
def test_order_and_scores_are_what_rank_gives(cross_encoder: CrossEncoder, top_n: int):
    rerank = JinaBertRerank(cross_encoder, top_n=top_n)
    expected = [(ranked.index, ranked.score) for ranked in cross_encoder.rank(QUERY, RAGGED, top_n=top_n)]
    assert order_of(rerank.postprocess_nodes(as_nodes(RAGGED), query_str=QUERY)) == expected
    assert order_of(rerank.postprocess_nodes(as_nodes(RAGGED), QueryBundle(QUERY))) == expected


def test_long_nodes_are_read_in_windows(cross_encoder: CrossEncoder):
    rerank = JinaBertRerank(cross_encoder, top_n=9, max_length=48, max_query_length=24)
    expected = cross_encoder.rank(QUERY, RAGGED, max_length=48, max_query_length=24)
    found = order_of(rerank.postprocess_nodes(as_nodes(RAGGED), query_str=QUERY))
    assert found == [(ranked.index, ranked.score) for ranked in expected]


def test_what_is_given_stays_as_it_was(reranker: CrossEncoder):
    nodes = as_nodes(RAGGED)
    best = JinaBertRerank(reranker).postprocess_nodes(nodes, query_str=QUERY)
    assert order_of(nodes) == [(index, 0.5) for index in range(len(RAGGED))]
    assert best[0].node is nodes[int(best[0].node_id)].node


def test_metadata_are_read_as_the_index_reads_them(reranker: CrossEncoder):
    metadata = {"subject": "meeting", "hidden": "printer"}
    nodes = as_nodes(["It begins at nine.", "Es regnet."], metadata=metadata, excluded_embed_metadata_keys=["hidden"])
    texts = [node.get_content(MetadataMode.EMBED) for node in nodes]
    assert all("meeting" in text and "printer" not in text for text in texts)
    expected = [(ranked.index, ranked.score) for ranked in reranker.rank(QUERY, texts)]
    assert order_of(JinaBertRerank(reranker).postprocess_nodes(nodes, query_str=QUERY)) == expected


async def test_tasks_get_the_same_order(cross_encoder: CrossEncoder):
    rerank = JinaBertRerank(cross_encoder)
    found = await asyncio.gather(*(rerank.apostprocess_nodes(as_nodes(RAGGED), query_str=QUERY) for _ in range(4)))
    expected = order_of(rerank.postprocess_nodes(as_nodes(RAGGED), query_str=QUERY))
    assert [order_of(nodes) for nodes in found] == [expected] * 4


async def test_cancelling_a_task_ends_its_work(reranker: CrossEncoder):
    nodes = as_nodes(["word " * 50_000] * 20)
    await require_ends_when_cancelled(JinaBertRerank(reranker).apostprocess_nodes(nodes, query_str=QUERY))


async def test_a_query_engine_retrieves_and_reranks(
    reranker: CrossEncoder, fp32: Embedder, pairs: list[tuple[str, str]]
):
    documents = [Document(text=german) for german, _ in pairs[:60]]
    index = VectorStoreIndex.from_documents(documents, embed_model=JinaBertEmbedding(fp32))
    retriever = index.as_retriever(similarity_top_k=5)
    engine = RetrieverQueryEngine(
        retriever, NoText(llm=MockLLM()), node_postprocessors=[JinaBertRerank(reranker, top_n=2)]
    )
    for _, english in pairs[:10]:
        candidates = [node.text for node in retriever.retrieve(english)]
        expected = [candidates[ranked.index] for ranked in reranker.rank(english, candidates, top_n=2)]
        assert [node.text for node in engine.query(english).source_nodes] == expected
        assert [node.text for node in (await engine.aquery(english)).source_nodes] == expected


class Told(BaseEventHandler):
    events: list[BaseEvent]

    def handle(self, event: BaseEvent, **options: Any) -> None:
        self.events.append(event)


@pytest.fixture
def told() -> Any:
    dispatcher, handler = get_dispatcher("jinabert_onnx.integrations.llama_index_rerank"), Told(events=[])
    dispatcher.add_event_handler(handler)
    yield handler.events
    dispatcher.event_handlers.remove(handler)


def test_events_and_callbacks_tell_of_it(reranker: CrossEncoder, told: list[BaseEvent]):
    handler = LlamaDebugHandler(print_trace_on_end=False)
    rerank = JinaBertRerank(reranker, top_n=2, callback_manager=CallbackManager([handler]))
    best = rerank.postprocess_nodes(as_nodes(RAGGED), query_str=QUERY)
    start, end = told
    assert isinstance(start, ReRankStartEvent)
    assert (start.top_n, start.model_name, len(start.nodes)) == (2, str(TRAINED_RERANKER), len(RAGGED))
    assert isinstance(end, ReRankEndEvent)
    assert order_of(end.nodes) == order_of(best)
    ((before, after),) = handler.get_event_pairs(CBEventType.RERANKING)
    assert before.payload
    assert before.payload[EventPayload.QUERY_STR] == QUERY
    assert after.payload == {EventPayload.NODES: best}


def test_no_nodes_give_none(reranker: CrossEncoder):
    assert JinaBertRerank(reranker).postprocess_nodes([], query_str=QUERY) == []


async def test_a_missing_query_is_named(reranker: CrossEncoder):
    rerank = JinaBertRerank(reranker)
    for nodes in ([], as_nodes(RAGGED)):
        with pytest.raises(InputError, match="needs the query: give postprocess_nodes query_str or query_bundle"):
            rerank.postprocess_nodes(nodes)
        with pytest.raises(InputError, match="needs the query"):
            await rerank.apostprocess_nodes(nodes)


def test_dictionary_and_pickle_give_the_same_settings_and_share_the_model():
    rerank = JinaBertRerank(TRAINED_RERANKER, precision="int8", top_n=4, max_length=100, max_query_length=50)
    for again in (
        JinaBertRerank.from_dict(json.loads(rerank.to_json())),
        pickle.loads(pickle.dumps(rerank)),
        rerank.model_copy(deep=True),
    ):
        assert again.to_dict() == rerank.to_dict()
        assert again.cross_encoder is rerank.cross_encoder


def test_a_shared_cross_encoder_is_pickled_by_its_place(cross_encoder: CrossEncoder):
    rerank = JinaBertRerank(cross_encoder)
    again = pickle.loads(pickle.dumps(rerank))
    assert again.cross_encoder is not cross_encoder
    found = order_of(again.postprocess_nodes(as_nodes(RAGGED), query_str=QUERY))
    assert found == order_of(rerank.postprocess_nodes(as_nodes(RAGGED), query_str=QUERY))


@pytest.mark.parametrize(("bundle", "message"), NO_RERANKERS)
def test_a_model_that_is_no_reranker_is_refused_at_once(bundle: Path, message: str):
    with pytest.raises(JinaBertError, match=message):
        JinaBertRerank(bundle)


def test_settings_are_refused_before_any_node(reranker: CrossEncoder):
    with pytest.raises(InputError, match="top_n is 0"):
        JinaBertRerank(reranker, top_n=0)
    with pytest.raises(ValueError, match="frozen"):
        JinaBertRerank(reranker).batch_size = 1
