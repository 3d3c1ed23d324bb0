"""Clients that mean no good, and ones that know no better: none takes the server's memory or time from others."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pytest
from conftest import Start
from hypothesis import given, settings
from hypothesis import strategies as st
from jinabert_onnx import Embedder
from jinabert_onnx.http.reading import count_tokens
from support.live_server import LiveServer, wait_for
from support.paths import TRAINED, TRAINED_RERANKER

MEGABYTE = 1_000_000
REQUEST = b'POST /v1/embeddings HTTP/1.1\r\nHost: a\r\n%sContent-Length: 14\r\n\r\n{"input": "a"}'

NESTED = b"[" * 190 + b"]" * 190
WIDE = "🚆 " + "a b " * 1000  # for which Python takes four bytes a letter

BODIES = {
    "one text": {"input": "a " * 3_900_000},
    "thousands of texts": {"input": ["a a a " * 650] * 2000},
    "no place to cut": {"input": "中" * 2_600_000},
    "one word": {"input": "a" * 7_900_000, "truncate": True},
    "long words": {"input": ("a" * 60_000 + " ") * 130, "truncate": True},
    "late chunking": {"input": ["a a a " * 650] * 2000, "late_chunking": True},
    "late chunking, no place to cut": {"input": ["中" * 260_000] * 10, "late_chunking": True},
    "nested lists": b'{"input": [' + b",".join([NESTED] * 20_800) + b"]}",
    "unknown fields": b'{"input": "a", ' + b",".join(b'"%x": 1' % number for number in range(715_000)) + b"}",
    "one document": {"query": "a", "documents": ["a " * 3_900_000]},
    "a long query": {"query": "a " * 3_900_000, "documents": ["a"]},
    "documents without a place to cut": {"query": "a", "documents": ["中" * 260_000] * 10},
    "many documents to read a little of": {"query": "a", "documents": [WIDE] * 1950, "max_tokens_per_doc": 1},
    "documents in nested lists": b'{"query": "a", "documents": [' + b",".join([NESTED] * 20_800) + b"]}",
    "objects in objects": {"query": "a", "documents": [[{"text": {}}] * 7] * 78_500},
    "a list that is ignored": {"query": "a", "documents": ["a"], "rank_fields": [1_234_567] * 870_000},
}


@pytest.mark.parametrize("name", BODIES)
def test_no_body_takes_much_memory(start: Start, name: str) -> None:
    server = start("--threads", "1", bundles=[TRAINED, TRAINED_RERANKER])
    before = server.memory()
    fields = BODIES[name]
    body = fields if isinstance(fields, bytes) else json.dumps(fields, ensure_ascii=False).encode()
    path = "/v1/rerank" if b'"query"' in body else "/v1/embeddings"
    assert len(body) > 7.7 * MEGABYTE

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: httpx.post(f"{server.url}{path}", content=body, timeout=60), range(4)))

    assert {answer.status_code for answer in answers} <= {400, 200}  # 200: words of so many tokens that they are cut
    assert server.peak_memory() - before < 300 * MEGABYTE
    wait_for(lambda: server.memory() - before < 60 * MEGABYTE)
    assert server.embed(input="a").status_code == 200


def test_a_small_body_of_many_documents_does_not_keep_others_waiting(both: LiveServer) -> None:
    """Of which the event loop reads no more than it can at once: a thread does."""
    body = b'{"query": "", "documents": [' + b'"",' * 1300 + b'""]}'
    assert len(body) < 4096
    with both.client() as client:
        answer = client.post("/v2/rerank", content=body)
    assert [result["index"] for result in answer.json()["results"]] == list(range(1301))


def test_lists_and_objects_in_texts_are_text(both: LiveServer) -> None:
    text = 'f([{"a": "\\"}]) ' * 10_000
    answer = both.rerank(query="a", documents=[text] * 5, max_tokens_per_doc=1)  # 150,000 of them
    assert answer.status_code == 200, answer.text

    refused = both.embed(input=[[]] * 100_001)
    assert refused.json()["error"]["message"] == "the body has more than 100000 lists and objects; send it in parts"


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab  \n\t.,!ü中文。、é1-_"), max_size=300), st.integers(1, 40))
def test_tokens_are_counted_as_if_read_whole(model: Embedder, text: str, times: int) -> None:
    text = text * times
    tokenizer = model.loaded.tokenizer

    assert "".join(tokenizer.pieces(text, 50)) == text
    assert count_tokens(tokenizer, text, 10**9, size=50) == (tokenizer.count(text), False)


def test_a_long_text_is_cut_to_the_same_tokens(server: LiveServer, model: Embedder) -> None:
    text = "".join(f"word{number}, and the river! " for number in range(60_000))

    found = server.embed(input=text, truncate=True).json()["data"][0]["embedding"]

    expected = model.encode(text, truncation="head", normalize_embeddings=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def send_until_refused(connection: socket.socket, content: bytes) -> None:
    """Send it again and again until the server has ended the connection, as it must."""
    for _ in range(10_000):
        try:
            connection.sendall(content)
        except (ConnectionResetError, BrokenPipeError):
            return
    raise AssertionError("all of it was taken")


@pytest.mark.parametrize("flood", [b"a: b\r\n" * 10_000, b"a" * 100_000], ids=["many headers", "one header"])
def test_headers_have_a_limit(server: LiveServer, flood: bytes) -> None:
    before = server.memory()
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        send_until_refused(connection, flood)
    assert server.memory() - before < 20 * MEGABYTE
    assert server.embed(input="a").status_code == 200


def test_requests_ahead_of_their_answers_have_a_limit(server: LiveServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(REQUEST % b"" * 3)  # a few are served, in order
        content = b""
        while content.count(b"HTTP/1.1 200") < 3:
            content += connection.recv(65_536)
        before = server.memory()
        send_until_refused(connection, REQUEST % b"" * 1000)
    assert server.memory() - before < 40 * MEGABYTE
    wait_for(lambda: server.metric("jinabert_onnx_open_requests") <= 1)


def test_a_connection_may_carry_megabytes_of_requests_one_after_the_other(server: LiveServer) -> None:
    with server.client() as client:
        for size, times in ((100_000, 30), (1000, 1500)):
            body = b'{"input": "a"' + b" " * size + b"}"
            assert {client.post("/v1/embeddings", content=body).status_code for _ in range(times)} == {200}


def ask_and_read_nothing(server: LiveServer, texts: int) -> socket.socket:
    """Send a request by a connection that takes few bytes at a time."""
    body = json.dumps({"input": ["a"] * texts}).encode()
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    connection.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    return connection


def test_clients_that_do_not_read_their_answers_are_ended(start: Start) -> None:
    server = start("--body-timeout", "1")
    before = server.memory()
    connections = [ask_and_read_nothing(server, 500) for _ in range(10)]

    answered = {"route": "/v1/embeddings", "status": "200"}
    wait_for(lambda: server.metric("jinabert_onnx_requests_total", **answered) == 10)
    wait_for(lambda: server.metric("jinabert_onnx_open_requests") <= 1)
    wait_for(lambda: server.memory() - before < 40 * MEGABYTE)

    for connection in connections:
        connection.close()


def test_a_client_that_stops_reading_is_noted_and_frees_its_place(start: Start) -> None:
    server = start("--body-timeout", "1")
    with ask_and_read_nothing(server, 2000):  # an answer of more than what the system holds of it
        wait_for(lambda: server.metric("jinabert_onnx_requests_total", route="/v1/embeddings", status="499") == 1)
        assert server.metric("jinabert_onnx_open_requests") <= 1
        assert server.embed(input="a").status_code == 200
    assert "Traceback" not in server.log


def test_an_offer_to_upgrade_does_not_lose_the_body(server: LiveServer) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(REQUEST % offer)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


def test_those_without_a_key_do_not_crowd_out_those_with_one(start: Start) -> None:
    key = "a-key-of-some-length"
    server = start(environment={"JINABERT_ONNX_API_KEYS": key})
    stop = threading.Event()

    def intruder() -> None:
        while not stop.is_set():
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
                with connection:
                    connection.sendall(REQUEST[:-8] % b"")
                    connection.recv(65_536)

    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        for _ in range(30):
            pool.submit(intruder)
        with server.client() as client:
            headers = {"Authorization": f"Bearer {key}"}
            answers = [client.post("/v1/embeddings", json={"input": "a"}, headers=headers) for _ in range(20)]
        stop.set()

    assert {answer.status_code for answer in answers} == {200}


def test_small_requests_do_not_make_a_large_one_look_endless(start: Start) -> None:
    server = start("--threads", "1", "--timeout", "20")
    for _ in range(60):
        server.embed(input="a")
    with server.busy(input=["the house at the river " * 80] * 40) as large:
        assert server.embed(input="a").status_code == 200
        assert large.result().status_code == 200


def test_connections_that_wait_to_be_taken_are_not_lost_at_the_end(start: Start) -> None:
    server = start()
    outcomes: list[bytes] = []

    def client() -> None:
        while True:
            try:
                connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
            except ConnectionRefusedError:
                return
            with connection:
                connection.sendall(REQUEST % b"Connection: close\r\n")
                outcomes.append(connection.recv(65_536)[:12])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client) for _ in range(8)]
        wait_for(lambda: len(outcomes) > 50)
        os.kill(server.process.pid, signal.SIGTERM)
        assert server.process.wait(60) == 0
        for done in clients:
            done.result()

    assert set(outcomes) == {b"HTTP/1.1 200"}


@pytest.mark.parametrize("seconds", [0.7, 0.9, 1.1])
def test_an_end_while_it_loads_is_no_crash(seconds: float) -> None:
    command = [sys.executable, "-m", "jinabert_onnx", "serve", str(TRAINED), "--precision", "int8", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    # It was ready to serve, or had not begun to load; Python itself ends by SIGINT if it was executing generated code.
    assert process.returncode in (0, 143, -signal.SIGTERM, -signal.SIGINT), errors
    assert b"Traceback" not in errors


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    server = start("--threads", "1")
    with server.busy(input=["the house at the river " * 1200] * 10) as long:
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping" in server.log)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 1
        with pytest.raises(httpx.TransportError):
            long.result()
    assert "Traceback" not in server.log
