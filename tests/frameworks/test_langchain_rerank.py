"""LangChain's reranker: the order that `rank` gives, in a chain, tasks, copies, pickling, errors."""

from __future__ import annotations

import asyncio
import copy
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import NO_RERANKERS, RAGGED, require_ends_when_cancelled
from jinabert_onnx import CrossEncoder, Embedder, InputError, InputTypeError, TruncationWarning
from jinabert_onnx.errors import JinaBertError
from jinabert_onnx.integrations.langchain import JinaBertEmbeddings, JinaBertRerank
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from support.paths import TRAINED_RERANKER

QUERY = "When is the meeting?"


def as_documents(texts: list[str]) -> list[Document]:
    return [Document(text, id=str(index), metadata={"place": [index]}) for index, text in enumerate(texts)]


def order_of(documents: Any) -> list[tuple[int, float]]:
    return [(int(document.id), document.metadata["relevance_score"]) for document in documents]


@pytest.mark.parametrize("top_n", [1, 3, 100, None])
def test_order_and_scores_are_what_rank_gives(cross_encoder: CrossEncoder, top_n: int | None):
    found = JinaBertRerank(cross_encoder, top_n=top_n).compress_documents(as_documents(RAGGED), QUERY)
    expected = cross_encoder.rank(QUERY, RAGGED, top_n=top_n)
    assert order_of(found) == [(ranked.index, ranked.score) for ranked in expected]
    assert [document.page_content for document in found] == [RAGGED[ranked.index] for ranked in expected]


def test_long_documents_are_read_in_windows(cross_encoder: CrossEncoder):
    rerank = JinaBertRerank(cross_encoder, top_n=None, max_length=48, max_query_length=24)
    expected = cross_encoder.rank(QUERY, RAGGED, max_length=48, max_query_length=24)
    found = order_of(rerank.compress_documents(as_documents(RAGGED), QUERY))
    assert found == [(ranked.index, ranked.score) for ranked in expected]
    whole = dict(order_of(JinaBertRerank(cross_encoder, top_n=None).compress_documents(as_documents(RAGGED), QUERY)))
    assert dict(found)[3] != whole[3]  # 700 words


def test_what_is_given_stays_as_it_was(reranker: CrossEncoder):
    documents = as_documents(RAGGED)
    found = JinaBertRerank(reranker).compress_documents(documents, QUERY)
    assert documents == as_documents(RAGGED)
    found[0].metadata["place"].append("changed")
    assert documents == as_documents(RAGGED)


def test_no_documents_give_none(reranker: CrossEncoder):
    assert JinaBertRerank(reranker).compress_documents([], QUERY) == []


def test_three_are_returned_unless_told_otherwise(reranker: CrossEncoder):
    rerank = JinaBertRerank(reranker)
    assert len(rerank.compress_documents(as_documents(RAGGED), QUERY)) == 3
    rerank.top_n = 2
    assert len(rerank.compress_documents(as_documents(RAGGED), QUERY)) == 2


async def test_tasks_get_the_same_order(cross_encoder: CrossEncoder):
    rerank, documents = JinaBertRerank(cross_encoder), as_documents(RAGGED)
    found = await asyncio.gather(*(rerank.acompress_documents(documents, QUERY) for _ in range(4)))
    assert found == [rerank.compress_documents(documents, QUERY)] * 4


async def test_cancelling_a_task_ends_its_work(reranker: CrossEncoder):
    documents = as_documents(["word " * 50_000] * 20)
    await require_ends_when_cancelled(JinaBertRerank(reranker).acompress_documents(documents, QUERY))


def test_a_chain_retrieves_and_reranks(reranker: CrossEncoder, fp32: Embedder, pairs: list[tuple[str, str]]):
    store = InMemoryVectorStore(JinaBertEmbeddings(fp32))
    store.add_texts([german for german, _ in pairs])
    rerank = JinaBertRerank(reranker, top_n=2)
    chain = RunnablePassthrough.assign(documents=lambda asked: store.similarity_search(asked["query"], k=5)) | (
        RunnableLambda(lambda asked: rerank.compress_documents(asked["documents"], asked["query"]))
    )
    for _, english in pairs[:10]:
        candidates = [document.page_content for document in store.similarity_search(english, k=5)]
        expected = [candidates[ranked.index] for ranked in reranker.rank(english, candidates, top_n=2)]
        assert [document.page_content for document in chain.invoke({"query": english})] == expected


def test_objects_that_ask_alike_share_a_model():
    first, second = JinaBertRerank(TRAINED_RERANKER), JinaBertRerank(str(TRAINED_RERANKER), top_n=1, max_length=1030)
    assert first.cross_encoder is second.cross_encoder
    assert JinaBertRerank(TRAINED_RERANKER, precision="int8").cross_encoder is not first.cross_encoder


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda rerank: pickle.loads(pickle.dumps(rerank))])
def test_copies_have_the_same_settings_and_share_the_model(again: Any):
    rerank = JinaBertRerank(TRAINED_RERANKER, precision="int8", top_n=4, max_length=100, max_query_length=50)
    copied = again(rerank)
    assert copied.model_dump() == rerank.model_dump()
    assert copied.cross_encoder is rerank.cross_encoder


@pytest.mark.parametrize("shared", [False, True])
def test_another_process_unpickles_it(shared: bool):
    model = CrossEncoder.load(TRAINED_RERANKER, precision="int8") if shared else TRAINED_RERANKER
    rerank = JinaBertRerank(model, top_n=None)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(rerank.compress_documents, as_documents(RAGGED[:3]), QUERY).result(timeout=100)
    assert order_of(found) == order_of(rerank.compress_documents(as_documents(RAGGED[:3]), QUERY))


@pytest.mark.parametrize(("bundle", "message"), NO_RERANKERS)
def test_a_model_that_is_no_reranker_is_refused_at_once(bundle: Path, message: str):
    with pytest.raises(JinaBertError, match=message):
        JinaBertRerank(bundle)
    with pytest.raises(InputTypeError, match=r"model is Embedder; .* a loaded CrossEncoder"):
        JinaBertRerank(Embedder.load(NO_RERANKERS[0][0]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_n": 0}, "top_n is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_length": 512}, "max_length 512 is less than twice max_query_length 512"),
        ({"precision": "int4"}, "int4"),
    ],
)
def test_settings_are_refused_before_any_document(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        JinaBertRerank(TRAINED_RERANKER, **settings)


def test_an_unknown_option_is_refused():
    with pytest.raises(InputTypeError, match="unexpected keyword argument 'model_kwargs'"):
        JinaBertRerank(TRAINED_RERANKER, model_kwargs={})  # type: ignore[call-arg]


def test_loading_is_refused_for_what_is_loaded(reranker: CrossEncoder):
    with pytest.raises(InputError, match="precision is for loading, and the given CrossEncoder is already loaded"):
        JinaBertRerank(reranker, precision="fp32")


def test_what_makes_the_scores_cannot_be_set_afterwards(reranker: CrossEncoder):
    with pytest.raises(ValueError, match="frozen"):
        JinaBertRerank(reranker).max_length = 2000


def test_a_cut_query_is_told(reranker: CrossEncoder):
    with pytest.warns(TruncationWarning, match="the query was cut to"):
        JinaBertRerank(reranker).compress_documents(as_documents(RAGGED), "word " * 3000)


def test_what_is_not_text_is_named(reranker: CrossEncoder):
    with pytest.raises(InputTypeError, match="query is NoneType"):
        JinaBertRerank(reranker).compress_documents(as_documents(RAGGED), None)  # type: ignore[arg-type]
