"""What a server refuses, and how it stays alive: keys, sizes, slow and vanishing clients, nonsense."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gzip
import json
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import httpx
import pytest
from conftest import Start
from support.live_server import LiveServer, wait_for

KEY, OTHER = "a-key-of-some-length", "another-key-of-length"
LONG = "the house at the river " * 1200  # thousands of tokens: seconds of work


def post(body: bytes, length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    return b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length + body


@pytest.mark.parametrize(
    "content",
    [f"{KEY}\n\n  {OTHER}\n".encode(), b"\xef\xbb\xbf" + f"{KEY}\r\n{OTHER}\r\n".encode()],
    ids=["by hand", "as Windows writes it"],
)
def test_a_key_is_needed_everywhere_but_for_probes(start: Start, tmp_path: Path, content: bytes) -> None:
    keys = tmp_path / "keys"
    keys.write_bytes(content)
    server = start("--api-key-file", str(keys))
    with server.client() as client:
        for path in ("/health", "/ready", "/ping"):
            assert client.get(path).status_code == 200
        for path in ("/v1/models", "/metrics", "/docs", "/openapi.json", "/nowhere"):
            refused = client.get(path)
            assert refused.status_code == 401
            assert refused.json()["error"]["code"] == "invalid_api_key"
            assert refused.headers["www-authenticate"] == "Bearer"
        for given in ("Bearer wrong", KEY, f"Basic {KEY}", f"Bearer {KEY}x", "Bearer", "Bearer ä".encode("latin-1")):
            assert client.get("/v1/models", headers={"Authorization": given}).status_code == 401
        for key in (KEY, OTHER):
            assert client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
            headers = {"Authorization": f"bearer {key}"}
            assert client.post("/v1/embeddings", json={"input": "a"}, headers=headers).status_code == 200
    assert KEY not in server.log


def test_keys_may_come_from_the_environment(start: Start) -> None:
    server = start(environment={"JINABERT_ONNX_API_KEYS": f"{KEY},{OTHER}"})

    assert httpx.get(f"{server.url}/v1/models").status_code == 401
    assert httpx.get(f"{server.url}/v1/models", headers={"Authorization": f"Bearer {OTHER}"}).status_code == 200


NONSENSE = {
    "not JSON": b"{",
    "nothing": b"",
    "a list": b"[]",
    "a number": b"3",
    "two byte order marks": b"\xef\xbb\xbf" * 2 + b'{"input": "a"}',
    "invalid UTF-8": b'{"input": "\xff\xfe"}',
    "NaN": b'{"input": "a", "dimensions": NaN}',
    "a huge number": b'{"input": "a", "dimensions": 1' + b"0" * 5000 + b"}",
    "deep nesting": b'{"input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 texts": b'{"input": [' + b'"a",' * 99_999 + b'"a"]}',
    "a million numbers": b'{"input": [' + b"1," * 999_999 + b"1]}",
    "a key of a megabyte": b'{"' + b"k" * 1_000_000 + b'": 1, "input": "a"}',
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_a_400(server: LiveServer, name: str) -> None:
    with server.client() as client:
        answer = client.post("/v1/embeddings", content=NONSENSE[name], headers={"content-type": "application/json"})
        assert answer.status_code == 400, answer.text[:300]
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert len(answer.text) < 3000
        assert client.post("/v1/embeddings", json={"input": "a"}).status_code == 200


RERANKING_NONSENSE = {
    "not JSON": b"{",
    "a list": b"[]",
    "invalid UTF-8": b'{"query": "\xff\xfe", "documents": ["a"]}',
    "NaN": b'{"query": "a", "documents": ["a"], "top_n": NaN}',
    "a huge number": b'{"query": "a", "documents": ["a"], "max_tokens_per_doc": 1' + b"0" * 5000 + b"}",
    "deep nesting": b'{"query": "a", "documents": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a deep document": b'{"query": "a", "documents": [{"text": "a", "more": ' + b"[" * 300 + b"]" * 300 + b"}]}",
    "a deep query": b'{"query": ' + b'{"text": ' * 150 + b'"a"' + b"}" * 150 + b', "documents": ["a"]}',
    "100,000 documents": b'{"query": "a", "documents": [' + b'"a",' * 99_999 + b'"a"]}',
    "a million numbers": b'{"query": "a", "documents": [' + b"1," * 999_999 + b"1]}",
    "a million names": b'{"query": "a", "documents": ["a"], "rank_fields": [' + b"1," * 999_999 + b"1]}",
    "a key of a megabyte": b'{"' + b"k" * 1_000_000 + b'": 1, "query": "a", "documents": ["a"]}',
    "100,000 unknown fields": b'{"query": "a", "documents": ["a"]'
    + b"".join(b', "%x": 1' % number for number in range(100_000))
    + b"}",
    "an embedding request": b'{"input": "a"}',
}


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
@pytest.mark.parametrize("name", RERANKING_NONSENSE)
def test_nonsense_to_rerank_is_a_400(both: LiveServer, name: str, path: str) -> None:
    with both.client() as client:
        answer = client.post(path, content=RERANKING_NONSENSE[name], headers={"content-type": "application/json"})
        assert answer.status_code == 400, answer.text[:300]
        assert answer.json()["detail"] == answer.json()["error"]["message"]
        assert len(answer.text) < 3000
        assert client.post(path, json={"query": "a", "documents": ["a"]}).status_code == 200


def test_the_largest_numbers_are_numbers(both: LiveServer) -> None:
    largest = 10**30
    answer = both.rerank(query="a", documents=["a", "b"], top_n=largest, max_tokens_per_doc=largest, priority=-largest)
    assert len(answer.json()["results"]) == 2


LONE_SURROGATES = {
    "a text": (b'{"input": "ab\\ud800"}', "input", "input is not valid Unicode: lone surrogate at character 2"),
    "the second text": (b'{"input": ["a", "\\udfff abc"]}', "input", "input[1] is not valid Unicode"),
    "in Jina's form": (b'{"input": ["a", {"text": "\\uD83D"}]}', "input", "input[1].text is not valid Unicode"),
    "after a whole pair": (b'{"input": ["\\ud83d\\ude86", "\\ud83d"]}', "input", "input[1] is not valid Unicode"),
    "a name": (b'{"model": "\\ud800", "input": "a"}', "model", "model is not valid Unicode"),
    "the name of a field": (b'{"\\ud800": 1, "input": "a"}', None, "the name of a field is not valid Unicode"),
}


@pytest.mark.parametrize("path", ["/v1/embeddings", "/invocations"])
@pytest.mark.parametrize("name", LONE_SURROGATES)
def test_a_lone_surrogate_is_named_by_its_place(server: LiveServer, path: str, name: str) -> None:
    body, param, message = LONE_SURROGATES[name]

    answer = httpx.post(f"{server.url}{path}", content=body)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("invalid_value", param)
    assert error["message"].startswith(message), error["message"]


def test_a_lone_surrogate_deep_in_a_body_costs_no_more_than_its_bytes(server: LiveServer) -> None:
    body = b'{"input": ' + b"[" * 900 + b'"a"' + b', "a"' * 30_000 + b', "\\ud800"' + b"]" * 900 + b"}"
    answer = httpx.post(f"{server.url}/v1/embeddings", content=body, timeout=60)
    assert answer.status_code == 400
    assert len(answer.content) < 1000


def test_what_only_looks_like_a_lone_surrogate_is_text(server: LiveServer) -> None:
    body = b'{"input": ["\\ud83d\\ude86", "\\\\ud83d"]}'  # a train; a backslash and letters
    assert httpx.post(f"{server.url}/v1/embeddings", content=body).status_code == 200


def test_a_body_may_begin_with_a_byte_order_mark(server: LiveServer) -> None:
    body = b'\xef\xbb\xbf{"input": "a"}'
    with server.client() as client:
        answers = [client.post("/v1/embeddings", content=content) for content in (body, body[3:])]
    assert answers[0].status_code == 200, answers[0].text
    assert answers[0].json() == answers[1].json()


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "gzip, identity"])
def test_a_compressed_body_is_a_415_that_says_to_send_it_plain(server: LiveServer, encoding: str) -> None:
    body = gzip.compress(b'{"input": "a"}')
    with server.client() as client:
        for path in ("/v1/embeddings", "/invocations"):
            answer = client.post(path, content=body, headers={"Content-Encoding": encoding})
            assert answer.status_code == 415
            error = answer.json()["error"]
            assert error["type"] == "invalid_request_error"
            assert "send it uncompressed" in error["message"]
            assert encoding in error["message"]
        plain = client.post("/v1/embeddings", content=b'{"input": "a"}', headers={"Content-Encoding": "identity"})
    assert plain.status_code == 200


def test_requests_that_are_no_http_are_refused(server: LiveServer) -> None:
    for content in (b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"A" * 100_000 + b"\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(content)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 400")
    assert server.embed(input="a").status_code == 200


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_that_is_too_large_is_refused(server: LiveServer, declared: bool) -> None:
    body = json.dumps({"input": "a " * 5_000_000}).encode()

    content = body if declared else (body[first : first + 65_536] for first in range(0, len(body), 65_536))
    answer = httpx.post(f"{server.url}/v1/embeddings", content=content, timeout=60)

    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"
    assert "more than 8000000 bytes; send the texts in parts" in answer.json()["error"]["message"]
    assert server.embed(input="a").status_code == 200


def test_a_client_that_closes_after_one_request_still_gets_the_refusal(server: LiveServer) -> None:
    request = urllib.request.Request(f"{server.url}/v1/embeddings", data=b"a" * 20_000_000)  # Connection: close
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=60)
    assert refusal.value.code == 413
    refusal.value.close()


def test_a_text_of_megabytes_is_refused_by_its_tokens(server: LiveServer) -> None:
    answer = server.embed(input="a " * 1_000_000)

    assert answer.status_code == 400
    assert "tokens or more" in answer.json()["error"]["message"]


def test_a_request_of_too_many_tokens_is_refused(start: Start) -> None:
    server = start("--max-length", "100", "--max-queue-tokens", "100", "--max-inputs", "30")

    assert server.embed(input=["a"] * 31).json()["error"]["code"] == "too_many_inputs"
    assert server.embed(input=["a b c"] * 30).json()["error"]["code"] == "too_many_tokens"
    assert server.embed(input=["a b c"] * 20).status_code == 200


def test_a_slow_body_times_out_though_it_trickles(start: Start) -> None:
    server = start("--body-timeout", "1")
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(post(b"", length=1000))
        for _ in range(8):
            connection.sendall(b" ")
            time.sleep(0.1)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 408")
    assert server.embed(input="a").status_code == 200


def test_many_slow_clients_do_not_keep_others_out(server: LiveServer) -> None:
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(300)]
    try:
        for connection in slow:
            connection.sendall(post(b"{", length=1000))
        assert server.embed(input="a").status_code == 200
    finally:
        for connection in slow:
            connection.close()
    wait_for(lambda: server.metric("jinabert_onnx_open_requests") <= 1)


def test_a_full_queue_is_a_429_that_says_when_to_come_back(start: Start) -> None:
    server = start("--max-queue-tokens", "9000")
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: server.embed(input=LONG), range(20)))

    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert int(refused.headers["retry-after"]) >= 1
    wait_for(lambda: server.metric("jinabert_onnx_queued_tokens") == 0)
    assert server.embed(input="a").status_code == 200


def test_a_request_that_takes_too_long_is_a_504_and_frees_its_place(start: Start) -> None:
    server = start("--timeout", "0.3", "--threads", "1")

    answer = server.embed(input=[LONG] * 7)

    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "timeout"
    wait_for(lambda: server.metric("jinabert_onnx_queued_tokens") == 0)
    assert server.embed(input="a").status_code == 200


def test_the_work_of_a_client_that_has_gone_is_dropped(start: Start) -> None:
    server = start("--threads", "1")
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(post(json.dumps({"input": [LONG] * 7}).encode()))
        wait_for(lambda: server.metric("jinabert_onnx_queued_tokens") > 0)

    wait_for(lambda: server.metric("jinabert_onnx_queued_tokens") == 0)

    assert server.metric("jinabert_onnx_tokens_total") < 4 * 8192
    wait_for(lambda: server.metric("jinabert_onnx_requests_total", route="/v1/embeddings", status="499") == 1)


def test_a_memory_limit_refuses_what_cannot_fit(start: Start) -> None:
    server = start("--max-memory", "230MB")

    many = ["the house at the river " * 80] * 500
    for texts in (LONG, many):  # a text whose batch does not fit, and a body that cannot be read
        answer = server.embed(input=texts)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "memory_limit"
    assert server.embed(input=["a", "b " * 300]).status_code == 200


def test_clients_that_go_leave_nothing_behind(start: Start) -> None:
    """Bodies that wait for a thread are let go with their clients, and count until then."""
    limit = 230_000_000
    server = start("--max-memory", f"{limit}B", "--timeout", "30")
    slow = json.dumps({"input": ["the house at the river " * 1500] * 10}).encode()
    body = json.dumps({"input": "a b " * 500_000}).encode()  # 2 MB

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        busy = [pool.submit(httpx.post, f"{server.url}/v1/embeddings", content=slow, timeout=60) for _ in range(4)]
        for _ in range(100):
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", server.port), timeout=30) as client,
            ):
                client.sendall(post(body))
        assert {answer.result().status_code for answer in busy} <= {200, 400, 413, 429, 504}

    assert server.peak_memory() <= limit
    assert server.embed(input="a").status_code == 200


def test_texts_and_keys_are_in_no_log(start: Start, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    server = start("--api-key-file", str(keys), "--log-format", "json")
    headers = {"Authorization": f"Bearer {KEY}", "X-Request-ID": "my-request.1"}
    with server.client() as client:
        answers = [
            client.post("/v1/embeddings", json={"input": ["tellnobody"] * 2}, headers=headers),
            client.post("/v1/embeddings", json={"input": ["tellnobody", 3]}, headers=headers),
            client.post("/v1/embeddings", content=b'{"input": "tellnobody', headers=headers),
            client.get("/tellnobody?tellnobody=tellnobody", headers=headers),
        ]

    assert [answer.status_code for answer in answers] == [200, 400, 400, 404]
    assert {answer.headers["x-request-id"] for answer in answers} == {"my-request.1"}
    wait_for(lambda: '"status":404' in server.log)  # a request's line follows its answer
    lines = [json.loads(line) for line in server.log.splitlines()]
    requests = [line for line in lines if line["message"] == "request"]
    assert [line["status"] for line in requests[-4:]] == [200, 400, 400, 404]
    assert requests[-4]["texts"] == 2
    assert requests[-4]["tokens"] == answers[0].json()["usage"]["total_tokens"]
    assert {line["id"] for line in requests[-4:]} == {"my-request.1"}
    assert "tellnobody" not in server.log
    assert KEY not in server.log


def test_a_request_id_that_could_forge_a_log_is_replaced(server: LiveServer) -> None:
    given = "x" * 200 + " forged"
    with server.client() as client:
        answer = client.post("/v1/embeddings", json={"input": "a"}, headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] != given
    assert len(answer.headers["x-request-id"]) == 32
