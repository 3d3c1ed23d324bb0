"""What clients of Jina's and Cohere's APIs ask for: documents in the order that `rank` gives."""

from __future__ import annotations

import concurrent.futures
import json
import re
import warnings
from typing import Any

import httpx
import numpy as np
import pytest
from conftest import Start
from jinabert_onnx import CrossEncoder, TruncationWarning
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.http.served import serve_as
from jinabert_onnx.http.work import Work
from jinabert_onnx.server.metrics import Metrics
from jinabert_onnx.server.scheduler import Scheduler
from jinabert_onnx.text.pair_tokenizer import tokenize_pairs
from support.live_server import LiveServer, wait_for
from support.paths import BUNDLES, CHECKPOINT, TRAINED_RERANKER

QUERY = "Wie ist das Wetter heute?"
LONG = "Das Haus steht am Fluss, und das Wetter ist heute schön. " * 300  # several windows
DOCUMENTS = ["The sun is shining.", "", LONG, "Äpfel und Birnen 🍐", "a\x00" * 50, "The sun is shining."]
SENTENCES = [entry["text"] for entry in json.loads((CHECKPOINT / "heldout.json").read_text("utf-8"))["sentences"]]


def require_ranked(answer: httpx.Response, reranker: CrossEncoder, query: str, documents: list[str], **options: Any):
    """The results are those of `rank`, with or without the texts."""
    assert answer.status_code == 200, answer.text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)
        expected = reranker.rank(query, documents, **options)
    results = answer.json()["results"]
    assert [result["index"] for result in results] == [each.index for each in expected]
    scores = [result["relevance_score"] for result in results]
    np.testing.assert_allclose(scores, [each.score for each in expected], rtol=0, atol=1e-6)
    texts = [result.get("document", {}).get("text") for result in results]
    assert texts == [each.document for each in expected]


def test_v1_gives_the_texts_as_jina_does_and_v2_does_not_as_cohere(both: LiveServer, reranker: CrossEncoder) -> None:
    first, second = (both.rerank(path, query=QUERY, documents=DOCUMENTS) for path in ("/v1/rerank", "/v2/rerank"))

    require_ranked(first, reranker, QUERY, DOCUMENTS, return_documents=True)
    require_ranked(second, reranker, QUERY, DOCUMENTS)
    for answer, version in ((first, "1"), (second, "2")):
        content = answer.json()
        assert set(content) == {"id", "model", "results", "usage", "meta"}
        assert content["model"] == "tiny-de-en-reranker"
        assert content["meta"]["api_version"] == {"version": version}
        assert content["usage"]["total_tokens"] == content["meta"]["tokens"]["input_tokens"] > 3000
        assert answer.headers["x-rerank-fingerprint"] == str(reranker.fingerprint)
    assert first.json()["id"] != second.json()["id"]


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
@pytest.mark.parametrize("with_texts", [True, False])
@pytest.mark.parametrize("top_n", [1, 4, 100])
def test_both_take_the_fields_of_both(
    both: LiveServer, reranker: CrossEncoder, path: str, with_texts: bool, top_n: int
) -> None:
    answer = both.rerank(
        path,
        model="tiny-de-en-reranker",
        query={"text": QUERY},
        documents=[{"text": text, "title": "not read"} for text in DOCUMENTS],
        top_n=top_n,
        return_documents=with_texts,
        rank_fields=["title"],
        max_chunks_per_doc=3,
        priority=1,
    )

    require_ranked(answer, reranker, QUERY, DOCUMENTS, top_n=top_n, return_documents=with_texts)


def test_tokens_are_those_of_all_windows(both: LiveServer, reranker: CrossEncoder) -> None:
    short = ["eins", "zwei"]
    rows = tokenize_pairs(reranker.loaded.tokenizer, [(QUERY, text) for text in short], 8192)

    usage = both.rerank(query=QUERY, documents=short).json()["usage"]

    tokens = sum(len(row.input_ids) for row in rows)
    assert usage == {"prompt_tokens": tokens, "total_tokens": tokens}


@pytest.mark.parametrize("tokens", [1, 50, 5000, 10**9])
def test_documents_are_read_to_as_many_tokens_as_asked(both: LiveServer, reranker: CrossEncoder, tokens: int) -> None:
    tokenizer = reranker.loaded.tokenizer
    lengths = [min(tokens, len(tokenizer.bare([text])[0])) for text in DOCUMENTS]
    heads = [text[: tokenizer.cut_after(text, length)] for text, length in zip(DOCUMENTS, lengths, strict=True)]

    answer = both.rerank("/v2/rerank", query=QUERY, documents=DOCUMENTS, max_tokens_per_doc=tokens)

    require_ranked(answer, reranker, QUERY, heads)


def test_a_query_that_is_too_long_is_cut_and_cohere_is_warned(both: LiveServer, reranker: CrossEncoder) -> None:
    query = "Wetter " * 5000
    answer = both.rerank(query=query, documents=DOCUMENTS[:3], return_documents=False)

    require_ranked(answer, reranker, query, DOCUMENTS[:3])
    assert answer.json()["meta"]["warnings"] == ["the query was cut to 510 tokens"]


def test_windows_are_as_long_as_the_server_was_told(start: Start) -> None:
    server = start("--max-length", "64", bundles=[TRAINED_RERANKER])
    reranker = CrossEncoder.load(TRAINED_RERANKER, precision="int8")
    reranker.max_seq_length = 64

    answer = server.rerank(query=QUERY, documents=DOCUMENTS, return_documents=False)

    require_ranked(answer, reranker, QUERY, DOCUMENTS)


def test_merged_requests_get_what_rank_gives_alone(both: LiveServer, reranker: CrossEncoder) -> None:
    queries = [SENTENCES[100 + number] for number in range(24)]
    batches = both.metric("jinabert_onnx_batch_rows_count", model="tiny-de-en-reranker")

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = list(
            pool.map(lambda query: both.rerank("/v2/rerank", query=query, documents=SENTENCES[:20]), queries)
        )

    for query, answer in zip(queries, answers, strict=True):
        require_ranked(answer, reranker, query, SENTENCES[:20])
    assert both.metric("jinabert_onnx_batch_rows_count", model="tiny-de-en-reranker") - batches < 24 * 20


def test_token_types_reach_a_model_that_takes_them() -> None:
    model = CrossEncoder.load(BUNDLES / "classifier-3-4h")
    served = serve_as(model, "classifier")
    scheduler = Scheduler([served], 65_536, 60, Metrics([{"model": served.name}], lambda name: 0))
    pairs = [("how is it", "fine thanks"), ("a", "b c"), ("who", "nobody " * 30)]
    rows = tokenize_pairs(model.loaded.tokenizer, pairs, 512)
    logits, errors = np.zeros((3, 3), dtype=np.float32), list[BaseException | None]()

    input_ids, types = [row.input_ids for row in rows], [row.token_type_ids for row in rows]
    scheduler.submit(
        Work(served, input_ids, types, logits.__setitem__, answer=bytes, items=3, tokens=9, held=0),
        Limits(),
        errors.append,
    )
    wait_for(lambda: errors)
    scheduler.close()

    assert errors == [None]
    np.testing.assert_allclose(logits, model.logits(pairs), rtol=0, atol=1e-5)


BAD = {
    "no query": ({"documents": ["a"]}, "query is missing", "query"),
    "no documents": ({"query": "a"}, "documents is missing", "documents"),
    "number as query": ({"query": 3, "documents": ["a"]}, "not a number", "query"),
    "another object as query": ({"query": {"image": "a"}, "documents": ["a"]}, "not an object", "query"),
    "empty list": ({"query": "a", "documents": []}, "not an empty list", "documents"),
    "one text": ({"query": "a", "documents": "b"}, "not a string", "documents"),
    "number": ({"query": "a", "documents": ["b", 3]}, r"documents\[1\] is a number", "documents"),
    "null": ({"query": "a", "documents": [None]}, r"documents\[0\] is null", "documents"),
    "no text": ({"query": "a", "documents": [{"title": "b"}]}, r"documents\[0\] is an object without", "documents"),
    "text of an object": ({"query": "a", "documents": [{"text": ["b"]}]}, r"documents\[0\] is an object", "documents"),
    "top 0": ({"query": "a", "documents": ["b"], "top_n": 0}, "greater than or equal to 1", "top_n"),
    "top of text": ({"query": "a", "documents": ["b"], "top_n": "1"}, "valid integer", "top_n"),
    "tokens 0": (
        {"query": "a", "documents": ["b"], "max_tokens_per_doc": 0},
        "greater than or equal to 1",
        "max_tokens_per_doc",
    ),
    "texts": ({"query": "a", "documents": ["b"], "return_documents": "yes"}, "valid boolean", "return_documents"),
    "unknown field": ({"query": "a", "documents": ["b"], "input": "c"}, "'input' is unknown", "input"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_a_bad_field_is_named(both: LiveServer, name: str, path: str) -> None:
    fields, message, param = BAD[name]

    answer = both.rerank(path, **fields)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert re.search(message, error["message"]), error["message"]
    assert answer.json()["detail"] == error["message"]  # which Jina's clients read


def test_a_model_that_cannot_rerank_is_a_400_that_says_which_can(both: LiveServer) -> None:
    for name, reason in (("tiny-de-en", "gives vectors"), ("classifier-3-4h", "has 3 labels")):
        error = both.rerank(model=name, query="a", documents=["b"]).json()["error"]
        assert reason in error["message"]
        assert "these can: tiny-de-en-reranker" in error["message"]
        assert (error["code"], error["param"]) == ("wrong_model", "model")
    unknown = both.rerank(model="rerank-v3.5", query="a", documents=["b"])
    assert unknown.status_code == 404
    assert "tiny-de-en, tiny-de-en-reranker, classifier-3-4h" in unknown.json()["detail"]


def test_a_server_without_a_reranker_says_so(server: LiveServer) -> None:
    answer = server.rerank(query="a", documents=["b"])

    assert answer.status_code == 400
    assert answer.json()["detail"] == "the model 'tiny-de-en' gives vectors and cannot rerank; no model here can"
    with server.client() as client:
        assert "/v1/rerank" not in client.get("/openapi.json").json()["paths"]


def test_a_server_of_a_reranker_alone_reranks_where_sagemaker_asks(start: Start, reranker: CrossEncoder) -> None:
    server = start(bundles=[TRAINED_RERANKER])

    require_ranked(
        server.rerank("/invocations", query=QUERY, documents=DOCUMENTS[:2], return_documents=False),
        reranker,
        QUERY,
        DOCUMENTS[:2],
    )
    assert (
        server.embed(input="a").json()["detail"].endswith("scores pairs of texts and cannot embed; no model here can")
    )


LARGE = {
    "documents": ({"documents": ["a"] * 2049}, "2049 documents are more than the 2048"),
    "tokens": ({"documents": ["ein Satz "] * 2000, "query": "Wetter " * 600}, "at most 65536"),
    "tokens of documents": ({"documents": ["ein Satz " * 500] * 100}, "at most 65536"),
    "characters": (
        {"documents": ["a", "ein Satz " * 100_000]},
        r"documents\[1\] has 900000 characters.* max_tokens_per_",
    ),
    "characters of no words": (
        {"documents": ["中" * 200_000]},
        r"documents\[0\] has 200000 characters without a place",
    ),
    "a query of no words": ({"query": "中" * 200_000, "documents": ["a"]}, "query has 200000 characters without"),
    "a query of white space": ({"query": " " * 500_000, "documents": ["a"]}, "query has"),
    "white space": ({"documents": [" " * 500_000], "max_tokens_per_doc": 100}, r"documents\[0\] has"),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_is_too_large_is_refused_by_its_name(both: LiveServer, name: str) -> None:
    fields, message = LARGE[name]

    answer = both.rerank(**{"query": "a"} | fields)

    assert answer.status_code == 400, answer.text[:300]
    assert re.search(message, answer.json()["detail"]), answer.json()["detail"]
    assert len(answer.content) < 2000


def test_a_long_document_is_read_as_far_as_asked(both: LiveServer, reranker: CrossEncoder) -> None:
    document = "ein Satz " * 100_000
    answer = both.rerank("/v2/rerank", query=QUERY, documents=[document, "a"], max_tokens_per_doc=300)

    tokenizer = reranker.loaded.tokenizer
    head = document[: tokenizer.cut_after(document[:10_000], 300)]
    require_ranked(answer, reranker, QUERY, [head, "a"])


def test_a_lone_surrogate_is_named_by_its_place(both: LiveServer) -> None:
    body = b'{"query": "a", "documents": ["b", {"text": "\\ud800"}]}'
    answer = httpx.post(f"{both.url}/v1/rerank", content=body)

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("documents[1].text is not valid Unicode")


def test_what_takes_too_long_is_a_504_and_frees_its_place(start: Start) -> None:
    server = start("--timeout", "0.2", "--threads", "1", bundles=[TRAINED_RERANKER])

    answer = server.rerank(query=QUERY, documents=[LONG] * 12)

    assert answer.status_code == 504
    wait_for(lambda: server.metric("jinabert_onnx_queued_tokens") == 0)
    assert server.rerank(query="a", documents=["b"]).status_code == 200


def test_the_work_of_a_client_that_has_gone_is_dropped(start: Start) -> None:
    server = start("--threads", "1", bundles=[TRAINED_RERANKER])
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server.url}/v1/rerank", json={"query": QUERY, "documents": [LONG] * 12}, timeout=0.3)

    wait_for(lambda: server.metric("jinabert_onnx_queued_tokens") == 0)

    wait_for(lambda: server.metric("jinabert_onnx_requests_total", route="/v1/rerank", status="499") == 1)


def test_the_description_is_of_what_is_served(both: LiveServer) -> None:
    with both.client() as client:
        description = client.get("/openapi.json").json()
    for path in ("/v1/rerank", "/v2/rerank"):
        operation = description["paths"][path]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert schema["required"] == ["query", "documents"]
        assert schema["properties"]["model"]["anyOf"][0]["enum"] == ["tiny-de-en-reranker"]
        assert schema["properties"]["documents"]["maxItems"] == 2048
        assert "429" in operation["responses"]
