"""Cohere's clients, and what LangChain, LlamaIndex, Haystack and rerankers have for Jina's and Cohere's APIs.

None is changed. Each must give documents in the order and with the scores of `rank`, and the server's own words where
it refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import cohere
import numpy as np
import pytest
from conftest import KEY, RERANKER
from haystack import Document as HaystackDocument
from haystack.utils import Secret
from haystack_integrations.components.rankers.jina import JinaRanker
from jinabert_onnx import CrossEncoder
from jinabert_onnx.scoring.results import RankedDocument
from langchain_cohere import CohereRerank
from langchain_core.documents import Document as LangChainDocument
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.jinaai_rerank import JinaRerank
from rerankers.models.api_rankers import APIRanker
from support.live_server import LiveServer, serving
from support.paths import TRAINED_RERANKER

QUERY = "Wie ist das Wetter heute?"
DOCUMENTS = [
    "The sun is shining.",
    "",
    "Das Haus steht am Fluss, und das Wetter ist heute schön. " * 150,  # several windows
    "Straße 🍐, naïve café, 東京",
    "Apples and pears",
    "Wie setze ich mein Passwort zurück?",
]
ONCE = {"max_retries": 0}


@dataclass(frozen=True)
class Ask:
    """What a test wants of a client. None of `top_n` leaves it out, where the client does not need it."""

    url: str
    model: str = RERANKER
    key: str = "any"
    documents: Sequence[str] = tuple(DOCUMENTS)
    top_n: int | None = None


Found = list[tuple[str, float]]  # documents and their scores, the best first


def by_cohere(ask: Ask) -> Found:
    with cohere.Client(ask.key, base_url=ask.url) as client:
        response = client.rerank(
            query=QUERY, documents=ask.documents, model=ask.model, top_n=ask.top_n, request_options=ONCE
        )
    return [(result.document.text, result.relevance_score) for result in response.results]


def by_cohere_v2(ask: Ask) -> Found:
    with cohere.ClientV2(ask.key, base_url=ask.url) as client:
        response = client.rerank(
            query=QUERY, documents=ask.documents, model=ask.model, top_n=ask.top_n, request_options=ONCE
        )
    return [(ask.documents[result.index], result.relevance_score) for result in response.results]


def by_langchain(ask: Ask) -> Found:
    compressor = CohereRerank(model=ask.model, base_url=ask.url, cohere_api_key=ask.key, top_n=ask.top_n)
    with compressor.client:  # which keeps a connection
        compressed = compressor.compress_documents([LangChainDocument(text) for text in ask.documents], QUERY)
    return [(document.page_content, document.metadata["relevance_score"]) for document in compressed]


def by_llama_index(ask: Ask) -> Found:
    reranker = JinaRerank(
        top_n=ask.top_n or len(ask.documents), model=ask.model, base_url=f"{ask.url}/v1", api_key=ask.key
    )
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in ask.documents]
    with reranker._session:  # which keeps a connection
        return [(node.text, node.score) for node in reranker.postprocess_nodes(nodes, query_str=QUERY)]


def haystack_ranker(ask: Ask) -> JinaRanker:
    return JinaRanker(ask.model, Secret.from_token(ask.key), ask.top_n, base_url=f"{ask.url}/v1/rerank")


def by_haystack(ask: Ask) -> Found:
    documents = [HaystackDocument(content=text) for text in ask.documents]
    return [(found.content, found.score) for found in haystack_ranker(ask).run(QUERY, documents)["documents"]]


def by_rerankers(ask: Ask, provider: str, path: str) -> Found:
    """It asks for as many results as there are documents."""
    ranker = APIRanker(ask.model, ask.key, provider, verbose=0, url=f"{ask.url}{path}")
    results = ranker.rank(QUERY, list(ask.documents)).results
    assert [result.rank for result in results] == list(range(1, len(ask.documents) + 1))
    return [(result.text, result.score) for result in results[: ask.top_n]]


def by_rerankers_for_jina(ask: Ask) -> Found:
    return by_rerankers(ask, "jina", "/v1/rerank")


def by_rerankers_for_cohere(ask: Ask) -> Found:
    return by_rerankers(ask, "cohere", "/v2/rerank")


BY_COHERE = [by_cohere, by_cohere_v2, by_langchain]
BY_JINA = [by_llama_index, by_haystack]
BY_RERANKERS = [by_rerankers_for_jina, by_rerankers_for_cohere]

clients = pytest.mark.parametrize("client", [*BY_COHERE, *BY_JINA, *BY_RERANKERS])
# rerankers reads no error's body: all of them are a KeyError of what an answer would have.
clients_that_read_errors = pytest.mark.parametrize("client", [*BY_COHERE, *BY_JINA])


def require_ranked(found: Found, expected: list[RankedDocument]) -> None:
    """The documents are those of `rank`, in its order, with its scores."""
    assert [text for text, _ in found] == [each.document for each in expected]
    scores = [score for _, score in found]
    np.testing.assert_allclose(scores, [each.score for each in expected], rtol=0, atol=1e-6)


@contextmanager
def refusal(client: Callable[[Ask], Found], error: type[Exception]) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Expect Cohere's `error` of its clients, and a RuntimeError of Jina's, which have no others."""
    with pytest.raises(error if client in BY_COHERE else RuntimeError) as raised:
        yield raised


@clients
@pytest.mark.parametrize("top_n", [None, 1, 4])
def test_documents_come_in_the_order_of_rank(
    both: LiveServer, reranker: CrossEncoder, client: Callable[[Ask], Found], top_n: int | None
) -> None:
    found = client(Ask(both.url, top_n=top_n))

    require_ranked(found, reranker.rank(QUERY, DOCUMENTS, top_n=top_n, return_documents=True))


@clients
def test_one_of_int8_with_a_key(private_server: str, client: Callable[[Ask], Found]) -> None:
    (found,) = client(Ask(private_server, "tiny-de-en-reranker", KEY, DOCUMENTS[:1]))

    assert found[0] == DOCUMENTS[0]
    assert 0 < found[1] < 1


@clients_that_read_errors
def test_an_unknown_model_is_told(both: LiveServer, client: Callable[[Ask], Found]) -> None:
    with refusal(client, cohere.NotFoundError) as raised:
        client(Ask(both.url, model="rerank-v3.5"))
    assert f"the model 'rerank-v3.5' is not served here; this server has bundle, {RERANKER}" in str(raised.value)


@clients_that_read_errors
def test_an_embedding_model_is_told(both: LiveServer, client: Callable[[Ask], Found]) -> None:
    with refusal(client, cohere.BadRequestError) as raised:
        client(Ask(both.url, model="bundle"))
    assert f"the model 'bundle' gives vectors and cannot rerank; these can: {RERANKER}" in str(raised.value)


@clients_that_read_errors
def test_a_wrong_key_is_told(private_server: str, client: Callable[[Ask], Found]) -> None:
    with refusal(client, cohere.UnauthorizedError) as raised:
        client(Ask(private_server, "tiny-de-en-reranker", "a-key-that-is-not"))
    assert "the API key is not valid" in str(raised.value)


@clients_that_read_errors
def test_too_many_documents_are_told(both: LiveServer, client: Callable[[Ask], Found]) -> None:
    with refusal(client, cohere.BadRequestError) as raised:
        client(Ask(both.url, documents=["a"] * 2049))
    assert "2049 documents are more than the 2048 that a request may have" in str(raised.value)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server whose queue is soon full."""
    log = tmp_path_factory.mktemp("small") / "log"
    options = ("--precision", "int8", "--threads", "1", "--max-queue-tokens", "16384", "--model-name", RERANKER)
    with serving(TRAINED_RERANKER, log, *options) as live:
        yield live


@contextmanager
def full(server: LiveServer) -> Iterator[Ask]:
    """Fill the reranker's queue, and yield what has no room in it meanwhile."""
    documents = ["Das Wetter ist heute schön. " * 120] * 17  # of nearly as many tokens as may wait
    with server.busy("/v1/rerank", query=QUERY, documents=documents) as first:
        yield Ask(server.url, documents=documents)
        assert first.result().status_code == 200


@pytest.mark.parametrize("client", [by_cohere, by_cohere_v2, *BY_JINA])
def test_a_full_queue_is_told(small: LiveServer, client: Callable[[Ask], Found]) -> None:
    with full(small) as ask, refusal(client, cohere.TooManyRequestsError) as raised:
        client(ask)
    assert "tokens wait); try again in" in str(raised.value)


def test_langchain_comes_back_when_it_is_told_to(small: LiveServer) -> None:
    before = small.metric("jinabert_onnx_requests_total", route="/v2/rerank", status="429")
    with full(small) as ask:
        found = by_langchain(replace(ask, top_n=3))
    assert small.metric("jinabert_onnx_requests_total", route="/v2/rerank", status="429") > before
    assert [text for text, _ in found] == list(ask.documents[:3])


@pytest.mark.parametrize("client", BY_RERANKERS)
def test_rerankers_fails_where_the_server_refuses(both: LiveServer, client: Callable[[Ask], Found]) -> None:
    with pytest.raises(KeyError, match="results"):
        client(Ask(both.url, model="bundle"))


class TestCohere:
    """What its clients can ask beyond the common: fields of its own, and answers to read."""

    def test_documents_as_objects_and_fields_without_effect(self, both: LiveServer, reranker: CrossEncoder) -> None:
        with cohere.Client("any", base_url=both.url) as client:
            response = client.rerank(
                query=QUERY,
                documents=[{"text": text, "title": "not read"} for text in DOCUMENTS],
                rank_fields=["text"],
                max_chunks_per_doc=10,
                return_documents=False,
            )
        expected = reranker.rank(QUERY, DOCUMENTS)
        assert [result.index for result in response.results] == [each.index for each in expected]
        assert all(result.document is None for result in response.results)

    def test_documents_are_cut_where_asked(self, both: LiveServer, reranker: CrossEncoder) -> None:
        with cohere.ClientV2("any", base_url=both.url) as client:
            response = client.rerank(
                model=RERANKER, query=QUERY, documents=DOCUMENTS, max_tokens_per_doc=40, priority=3
            )
        tokenizer = reranker.loaded.tokenizer
        heads = list(DOCUMENTS)
        heads[2] = heads[2][: tokenizer.cut_after(heads[2], 40)]
        found = [(heads[result.index], result.relevance_score) for result in response.results]
        require_ranked(found, reranker.rank(QUERY, heads, return_documents=True))

    def test_the_answer_says_what_was_read_and_of_what_kind_it_is(self, both: LiveServer) -> None:
        with cohere.Client("any", base_url=both.url) as first, cohere.ClientV2("any", base_url=both.url) as second:
            responses = [
                client.rerank(model=RERANKER, query="Wetter " * 600, documents=DOCUMENTS[:2])
                for client in (first, second)
            ]
        assert responses[0].id != responses[1].id
        for response, version in zip(responses, ("1", "2"), strict=True):
            assert response.meta.api_version.version == version
            assert response.meta.tokens.input_tokens > 1000
            assert response.meta.warnings == ["the query was cut to 510 tokens"]

    def test_asynchronously(self, both: LiveServer, reranker: CrossEncoder) -> None:
        async def rerank() -> list[cohere.RerankResponse]:
            async with cohere.AsyncClientV2("any", base_url=both.url) as client:
                requests = [client.rerank(model=RERANKER, query=text, documents=DOCUMENTS) for text in DOCUMENTS[3:]]
                return await asyncio.gather(*requests)

        for query, response in zip(DOCUMENTS[3:], asyncio.run(rerank()), strict=True):
            found = [(DOCUMENTS[result.index], result.relevance_score) for result in response.results]
            require_ranked(found, reranker.rank(query, DOCUMENTS, return_documents=True))


def test_haystack_asynchronously_with_a_threshold_and_what_it_read(both: LiveServer, reranker: CrossEncoder) -> None:
    expected = reranker.rank(QUERY, DOCUMENTS, return_documents=True)
    documents = [HaystackDocument(content=text) for text in DOCUMENTS]
    threshold = expected[2].score - 1e-4

    found = asyncio.run(haystack_ranker(Ask(both.url)).run_async(QUERY, documents, score_threshold=threshold))

    require_ranked([(document.content, document.score) for document in found["documents"]], expected[:3])
    assert found["meta"]["model"] == RERANKER
    assert found["meta"]["usage"]["total_tokens"] == found["meta"]["usage"]["prompt_tokens"] > 1000


def test_rerankers_scores_one_document(both: LiveServer, reranker: CrossEncoder) -> None:
    """It sends its payload of documents that have a text; a bare string has none."""
    from rerankers.documents import Document

    ranker = APIRanker(RERANKER, "any", "jina", verbose=0, url=f"{both.url}/v1/rerank")
    found = ranker.score(QUERY, Document(DOCUMENTS[0]))
    np.testing.assert_allclose(found, reranker.rank(QUERY, DOCUMENTS[:1])[0].score, rtol=0, atol=1e-6)
