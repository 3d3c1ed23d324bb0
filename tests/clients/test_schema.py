"""The server keeps to its OpenAPI document whatever comes: fuzzed by schemathesis, and by bodies of our own.

What is drawn is the same in every run. A request without an answer in time counts as a failure.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import schemathesis
from conftest import KEY, NAMES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinabert_onnx.http.responses import ProblemResponse
from schemathesis.schemas import BaseSchema
from support.live_server import LiveServer

PATIENCE = 20  # seconds for one answer
SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
FUZZ = settings(
    max_examples=150,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # loopback_only, which stays right over examples
)
FUZZ_RERANKING = settings(FUZZ, max_examples=75)  # of each path
RERANK_PATHS = ["/v1/rerank", "/v2/rerank"]
INTEGERS = ("top_n", "max_tokens_per_doc", "max_chunks_per_doc", "priority")  # whole numbers as 8.0 are refused


def run_schemathesis(server: str, directory: Path, *options: str) -> None:
    """Every check but positive_data_acceptance: limits that depend on other fields are told in words only."""
    command = [SCHEMATHESIS, "run", f"{server}/openapi.json", "--no-color", "--generation-deterministic"]
    command += ["--phases", "examples,coverage,fuzzing", "--request-timeout", str(PATIENCE), *options]
    command += ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
    run = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_route_keeps_to_the_document(both: LiveServer, tmp_path: Path):
    run_schemathesis(both.url, tmp_path, "--max-examples", "100")


def test_every_route_keeps_to_the_document_where_a_key_is_needed(private_server: str, tmp_path: Path):
    run_schemathesis(private_server, tmp_path, "--max-examples", "20", "--header", f"Authorization:Bearer {KEY}")


@pytest.fixture(scope="module")
def schema(server: str) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{server}/openapi.json")


def within_limits(body: dict) -> dict:
    """The request without what the document refuses in words: other names, conflicts, dimensions that do not fit."""
    body = {name: value for name, value in body.items() if name != "encoding_format"}
    if body.get("model") is not None:
        body["model"] = NAMES[len(body["model"]) % len(NAMES)]
    if body.get("dimensions") is not None:
        body["dimensions"] = 8 * (1 + int(body["dimensions"]) % 32)  # whole numbers as 8.0 are refused
    items = [body["input"]] if isinstance(body["input"], str) else body["input"]
    texts = [item if isinstance(item, str) else item["text"] for item in items]
    if not all(any(letter.isalnum() for letter in text) for text in texts):
        body["late_chunking"] = False  # which needs a token in each text
    return body


@FUZZ
@given(data=st.data())
def test_what_the_document_allows_is_answered(schema: BaseSchema, data: st.DataObject):
    case = data.draw(schema["/v1/embeddings"]["POST"].as_strategy())
    case.body = within_limits(case.body)
    response = case.call_and_validate(timeout=PATIENCE)
    assert response.status_code == 200
    texts = [case.body["input"]] if isinstance(case.body["input"], str) else case.body["input"]
    assert [item["index"] for item in response.json()["data"]] == list(range(len(texts)))


@pytest.fixture(scope="module")
def schema_of_both(both: LiveServer) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{both.url}/openapi.json")


@FUZZ_RERANKING
@given(data=st.data())
@pytest.mark.parametrize("path", RERANK_PATHS)
def test_what_the_document_allows_is_ranked(schema_of_both: BaseSchema, path: str, data: st.DataObject):
    case = data.draw(schema_of_both[path]["POST"].as_strategy())
    case.body |= {name: int(case.body[name]) for name in INTEGERS if case.body.get(name) is not None}
    response = case.call_and_validate(timeout=PATIENCE)
    assert response.status_code == 200
    texts = [item if isinstance(item, str) else item["text"] for item in case.body["documents"]]
    results = response.json()["results"]
    assert len(results) == min(len(texts), case.body.get("top_n") or len(texts))
    scores = [result["relevance_score"] for result in results]
    assert scores == sorted(scores, reverse=True)
    if case.body.get("return_documents"):
        assert [result["document"]["text"] for result in results] == [texts[result["index"]] for result in results]


@pytest.fixture(scope="module")
def connection(private_server: str) -> Iterator[http.client.HTTPConnection]:
    """One connection for all bodies: each answer must leave it in order for the next."""
    with closing(http.client.HTTPConnection(urlsplit(private_server).netloc, timeout=PATIENCE)) as connection:
        connection.connect()
        connection.auto_open = 0
        yield connection


def require_documented(connection: http.client.HTTPConnection, body: bytes, path: str = "/v1/embeddings") -> None:
    """The body is answered, or refused as the document says."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    connection.request("POST", path, body, headers)
    response = connection.getresponse()
    content = json.loads(response.read())
    if response.status != 200:
        assert response.status == 400
        ProblemResponse.model_validate(content, strict=True)


IDS = st.one_of(st.integers(0, 60_000), st.integers(-1, 1), st.integers(-(10**40), 10**40), st.booleans())
TOKEN_IDS = st.recursive(IDS | st.none() | st.floats() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=9))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@FUZZ
@given(tokens=TOKEN_IDS | st.lists(st.lists(IDS, min_size=1), min_size=1), truncate=st.booleans())
def test_token_ids_of_any_form(connection: http.client.HTTPConnection, tokens: object, truncate: bool):
    require_documented(connection, json.dumps({"input": tokens, "truncate": truncate}).encode())


@FUZZ
@given(
    body=st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | JSON.map(lambda value: json.dumps({"input": value}).encode())
    | st.tuples(st.binary(max_size=3), st.binary(max_size=3)).map(lambda ends: ends[0] + b'{"input": "a"}' + ends[1])
)
def test_bodies_of_any_form(connection: http.client.HTTPConnection, body: bytes):
    require_documented(connection, body)


RERANKING = st.fixed_dictionaries(
    {"query": JSON | st.just("a"), "documents": JSON | st.lists(JSON | st.text() | st.just({"text": "b"}), max_size=4)},
    optional={
        name: JSON | st.integers() | st.just(None) for name in (*INTEGERS, "return_documents", "rank_fields", "model")
    },
)


@FUZZ_RERANKING
@given(
    body=st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | RERANKING.map(lambda value: json.dumps(value).encode())
    | st.tuples(st.binary(max_size=3), st.binary(max_size=3)).map(
        lambda ends: ends[0] + b'{"query": "a", "documents": ["b"]}' + ends[1]
    )
)
@pytest.mark.parametrize("path", RERANK_PATHS)
def test_bodies_of_any_form_to_rerank(connection: http.client.HTTPConnection, path: str, body: bytes):
    require_documented(connection, body, path)
