"""What a request may ask for, and what it gets: the fields of OpenAI's and of Jina's API."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable

import httpx
import numpy as np
import pytest
from conftest import Start
from jinabert_onnx import Embedder
from support.live_server import LiveServer
from support.paths import BUNDLES, DENSE_GOLDEN, TRAINED
from support.references import read_dense_golden

TEXTS = ["How is the weather today?", "Wie ist das Wetter heute? " * 30, "", "列车 🚆", "\x00", "a\x00" * 100]


def vectors_of(answer: httpx.Response) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [entry["index"] for entry in data] == list(range(len(data)))
    return np.array([entry["embedding"] for entry in data], dtype=np.float32)


def test_vectors_are_those_of_encode_scaled_to_length_1(server: LiveServer, model: Embedder) -> None:
    answer = server.embed(input=TEXTS, model="tiny-de-en")

    np.testing.assert_allclose(vectors_of(answer), model.encode(TEXTS, normalize_embeddings=True), atol=1e-6)
    content = answer.json()
    tokens = sum(model.count_tokens(TEXTS))
    assert content["object"] == "list"
    assert content["model"] == "tiny-de-en"
    assert content["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert answer.headers["x-embedding-fingerprint"] == str(model.fingerprint)


def test_texts_may_be_objects_as_in_jinas_api(server: LiveServer, model: Embedder) -> None:
    expected = model.encode(TEXTS, normalize_embeddings=True)
    for texts in ([{"text": text} for text in TEXTS], [{"text": TEXTS[0]}, *TEXTS[1:]]):
        np.testing.assert_allclose(vectors_of(server.embed(input=texts)), expected, atol=1e-6)


TYPE_FIELDS = [("encoding_format", str), ("embedding_type", str), ("embedding_type", lambda kind: [kind])]
types_of_both_apis = pytest.mark.parametrize(("field", "form"), TYPE_FIELDS, ids=["OpenAI", "Jina", "list of Jina"])


@types_of_both_apis
@pytest.mark.parametrize("dimensions", [None, 64])
def test_floats_are_numbers_or_base64_of_little_endian_bytes(
    server: LiveServer, model: Embedder, field: str, form: Callable, dimensions: int | None
) -> None:
    expected = model.encode(TEXTS, normalize_embeddings=True, truncate_dim=dimensions)
    numbers, text = (
        server.embed(input=TEXTS, dimensions=dimensions, **{field: form(kind)}) for kind in ("float", "base64")
    )
    np.testing.assert_allclose(vectors_of(numbers), expected, atol=1e-6)
    rows = [np.frombuffer(base64.b64decode(entry["embedding"]), dtype="<f4") for entry in text.json()["data"]]
    np.testing.assert_allclose(rows, expected, atol=1e-6)


@types_of_both_apis
@pytest.mark.parametrize("kind", ["binary", "ubinary"])
@pytest.mark.parametrize("dimensions", [None, 64])
def test_binary_vectors_are_those_of_encode(
    server: LiveServer, model: Embedder, field: str, form: Callable, kind: str, dimensions: int | None
) -> None:
    answer = server.embed(input=TEXTS[:2], dimensions=dimensions, **{field: form(kind)})
    expected = model.encode(TEXTS[:2], normalize_embeddings=True, truncate_dim=dimensions, output_dtype=kind)
    np.testing.assert_array_equal(vectors_of(answer), expected)


def test_vectors_may_stay_as_the_model_gives_them(server: LiveServer, model: Embedder) -> None:
    np.testing.assert_allclose(
        vectors_of(server.embed(input=TEXTS, normalized=False)), model.encode(TEXTS), rtol=1e-6, atol=1e-6
    )


def test_vectors_of_a_dense_fine_tune_go_through_its_last_layer(start: Start) -> None:
    server = start("--precision", "fp32", bundles=[BUNDLES / DENSE_GOLDEN.name])
    texts, expected = read_dense_golden()
    found = vectors_of(server.embed(input=texts, normalized=False, truncate=True))
    assert found.shape == (len(texts), 40)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_late_chunking_reads_all_texts_as_one(server: LiveServer, model: Embedder) -> None:
    texts = ["Berlin is the capital of Germany.", "It has 3.8 million people.", "Die Stadt liegt an der Spree."]
    joined = "\n".join(texts)
    spans = [(joined.index(text), joined.index(text) + len(text)) for text in texts]

    found = vectors_of(server.embed(input=texts, late_chunking=True))

    np.testing.assert_allclose(found, model.encode_chunks(joined, spans, normalize_embeddings=True).vectors, atol=1e-6)
    assert np.abs(found - model.encode(texts, normalize_embeddings=True)).max() > 0.01


def test_late_chunking_goes_beyond_the_limit_in_windows(start: Start) -> None:
    server = start("--max-length", "100")
    model = Embedder.load(TRAINED, precision="int8")
    model.max_seq_length = 100
    texts = [f"Satz {number} über das Wetter und den Zug." for number in range(40)]
    joined = "\n".join(texts)
    ends = np.cumsum([len(text) + 1 for text in texts]) - 1
    spans = [(int(end) - len(text), int(end)) for text, end in zip(texts, ends, strict=True)]

    found = vectors_of(server.embed(input=texts, late_chunking=True))

    np.testing.assert_allclose(found, model.encode_chunks(joined, spans, normalize_embeddings=True).vectors, atol=1e-6)


def test_a_text_that_is_too_long_is_refused_by_how_much_unless_truncated(server: LiveServer, model: Embedder) -> None:
    long = "the house at the river " * 2000
    tokens = model.count_tokens(long)[0]

    refused = server.embed(input=["short", long])

    assert refused.status_code == 400
    error = refused.json()["error"]
    assert f"input[1] has {tokens} tokens, {tokens - 8192} more than the limit of 8192" in error["message"]
    assert error["code"] == "context_length_exceeded"
    cut = server.embed(input=long, truncate=True)
    expected = model.encode(long, truncation="head", normalize_embeddings=True)
    np.testing.assert_allclose(vectors_of(cut)[0], expected, atol=1e-6)
    assert cut.json()["usage"]["total_tokens"] == 8192


def test_user_and_task_are_ignored(server: LiveServer) -> None:
    assert server.embed(input="a", user="someone", task="retrieval.query").status_code == 200


BAD = {
    "no input": ({}, "input is missing", "input"),
    "null": ({"input": None}, "not null", "input"),
    "number": ({"input": 3}, "not a number", "input"),
    "empty list": ({"input": []}, "not an empty list", "input"),
    "mixed": ({"input": ["a", 3]}, r"input\[1\] is a number", "input"),
    "nested": ({"input": [["a"]]}, r"input\[0\] is not a list of token ids", "input"),
    "another object": ({"input": ["a", {"image": "b"}]}, r"input\[1\] is another object", "input"),
    "more than a text": ({"input": [{"text": "b", "id": "1"}]}, r"input\[0\] is another object", "input"),
    "text of an object": ({"input": [{"text": ["b"]}]}, r"input\[0\] is another object", "input"),
    "two types": ({"input": "a", "embedding_type": ["float", "binary"]}, "a list must hold one type", "embedding_type"),
    "null as type": ({"input": "a", "embedding_type": [None]}, "a list must hold one type", "embedding_type"),
    "no type": ({"input": "a", "embedding_type": []}, "a list must hold one type", "embedding_type"),
    "type": ({"input": "a", "embedding_type": ["hex"]}, "'float', 'base64'", "embedding_type"),
    "object": ({"input": {"text": "a"}}, "not an object", "input"),
    "unknown field": ({"input": "a", "normalised": True}, "'normalised' is unknown", "normalised"),
    "dimensions 0": ({"input": "a", "dimensions": 0}, "greater than or equal to 1", "dimensions"),
    "dimensions 257": ({"input": "a", "dimensions": 257}, "vectors have 256", "dimensions"),
    "dimensions of text": ({"input": "a", "dimensions": "8"}, "valid integer", "dimensions"),
    "binary of 12": ({"input": "a", "dimensions": 12, "encoding_format": "binary"}, "multiple of 8", "dimensions"),
    "bits of 12": ({"input": "a", "dimensions": 12, "embedding_type": "binary"}, "12 is not a multiple", "dimensions"),
    "format": ({"input": "a", "encoding_format": "hex"}, "'float', 'base64'", "encoding_format"),
    "two formats": ({"input": "a", "encoding_format": "float", "embedding_type": "binary"}, "differ", "embedding_type"),
    "truncate": ({"input": "a", "truncate": "END"}, "valid boolean", "truncate"),
    "empty chunk": ({"input": ["a", ""], "late_chunking": True}, r"input\[1\] .*empty", "input"),
    "blank chunk": ({"input": ["a", " \n", "b"], "late_chunking": True}, r"input\[1\]", "input"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_field_is_named(server: LiveServer, name: str) -> None:
    fields, message, param = BAD[name]

    answer = server.embed(**fields)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert re.search(message, error["message"]), error["message"]
    assert "truncate_dim" not in error["message"]  # which requests call dimensions


def test_token_ids_are_refused_with_the_reason(server: LiveServer) -> None:
    for ids in ([1, 2, 3], [[1, 2], [3]]):
        answer = server.embed(input=ids)
        assert answer.status_code == 400
        assert "check_embedding_ctx_length=False" in answer.json()["error"]["message"]


def test_token_ids_are_taken_where_the_server_was_told_to(start: Start, model: Embedder) -> None:
    server = start("--accept-token-ids")
    text = "How is the weather today?"
    ids = model.loaded.tokenizer.with_offsets(text).ids.tolist()

    answer = server.embed(input=[ids, ids[:2]])

    np.testing.assert_allclose(vectors_of(answer)[0], model.encode(text, normalize_embeddings=True), atol=1e-6)
    assert server.embed(input=[10**6]).status_code == 400
    assert server.embed(input=[-1]).status_code == 400
    assert server.embed(input=[5] * 9000).json()["error"]["code"] == "context_length_exceeded"
    assert server.embed(input=[5] * 9000, truncate=True).json()["usage"]["total_tokens"] == 8192


def test_another_models_name_is_not_served(server: LiveServer) -> None:
    answer = server.embed(input="a", model="text-embedding-3-small")

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert "tiny-de-en" in answer.json()["error"]["message"]


def test_a_model_may_have_several_names(start: Start) -> None:
    server = start("--model-name", "jina-de", "--model-name", "text-embedding-3-small")

    for name in ("jina-de", "text-embedding-3-small"):
        assert server.embed(input="a", model=name).json()["model"] == name
        assert httpx.get(f"{server.url}/v1/models/{name}").json()["id"] == name
    assert server.embed(input="a").json()["model"] == "jina-de"
    assert [entry["id"] for entry in httpx.get(f"{server.url}/v1/models").json()["data"]] == [
        "jina-de",
        "text-embedding-3-small",
    ]


def test_sagemaker_asks_elsewhere_for_the_same(server: LiveServer) -> None:
    body = {"input": ["a", "b"]}
    with server.client() as client:
        assert client.get("/ping").status_code == 200
        assert client.post("/invocations", json=body).json() == client.post("/v1/embeddings", json=body).json()


def test_probes_and_metrics_say_what_really_runs(server: LiveServer, model: Embedder) -> None:
    server.embed(input=["a", "b"])
    with server.client() as client:
        health, metrics = client.get("/health").json(), client.get("/metrics").text
        assert client.get("/ready").json() == {"status": "ready"}

    assert health["status"] == "ready"
    assert health["provider"] == model.provider == "cpu"
    assert health["precision"] == "int8"
    assert health["fingerprint"] == str(model.fingerprint)
    assert f'fingerprint="{model.fingerprint}"' in metrics
    for name in (
        "requests_total",
        "queue_seconds_count",
        "batch_rows_count",
        "batch_tokens_count",
        "request_seconds_count",
        "tokens_total",
    ):
        assert server.metric(f"jinabert_onnx_{name}", model="tiny-de-en") > 0
    assert server.metric("process_resident_memory_bytes") > 1e7


def test_probes_may_ask_for_the_head_alone(server: LiveServer) -> None:
    with server.client() as client:
        for path in ("/health", "/ready", "/ping"):
            head, whole = client.head(path), client.get(path)
            assert head.status_code == whole.status_code == 200
            assert head.content == b""
            for name in ("content-type", "content-length"):
                assert head.headers[name] == whole.headers[name]


def test_metrics_count_what_clients_sent_and_no_warm_up(start: Start) -> None:
    server = start()
    names = ("texts_total", "tokens_total", "batch_rows_count", "queue_seconds_count")
    assert {name: server.metric(f"jinabert_onnx_{name}") for name in names} == dict.fromkeys(names, 0.0)

    tokens = server.embed(input=["a", "b c"]).json()["usage"]["total_tokens"]

    assert server.metric("jinabert_onnx_texts_total") == 2
    assert server.metric("jinabert_onnx_tokens_total") == tokens


def test_the_description_is_of_what_is_served(server: LiveServer) -> None:
    with server.client() as client:
        description = client.get("/openapi.json").json()
        assert client.get("/docs").status_code == 200
    schema = description["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["input"]
    assert "429" in description["paths"]["/v1/embeddings"]["post"]["responses"]
    assert json.dumps(schema).count("token ids") == 0
