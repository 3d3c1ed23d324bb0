"""The handler answers what AWS sends it, in the shape that each sender reads, and says what is wrong with a request."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import HTTP, TEXTS, Context, Handler, read_event, vectors_of
from jinabert_onnx import Embedder
from support.paths import BUNDLES, DENSE_GOLDEN, TRAINED
from support.python import Ended, run_python
from support.references import read_dense_golden


def body_of(answer: dict, status: int = 200) -> dict:
    """The JSON of an answer of HTTP."""
    assert answer["statusCode"] == status
    assert answer["isBase64Encoded"] is False
    assert answer["headers"]["content-type"] == "application/json"
    return json.loads(answer["body"])


def post(handler: Handler, request: object) -> dict:
    """The answer of a function URL."""
    body = request if isinstance(request, str) else json.dumps(request)
    return handler(read_event("function_url", body=body))


@pytest.mark.parametrize("sender", HTTP)
def test_what_http_brings_is_embedded(handler: Handler, model: Embedder, expected: np.ndarray, sender: str) -> None:
    answer = handler(read_event(sender))
    content = body_of(answer)
    np.testing.assert_array_equal(vectors_of(content), expected)
    assert content["model"] == "tiny-de-en"
    assert content["usage"]["total_tokens"] == sum(model.count_tokens(TEXTS))
    assert answer["headers"]["x-embedding-fingerprint"] == str(model.fingerprint)
    assert answer == json.loads(json.dumps(answer))


def test_who_invokes_directly_gets_the_response_itself(handler: Handler, expected: np.ndarray) -> None:
    answer = handler(read_event("direct"))
    np.testing.assert_array_equal(vectors_of(answer), expected)
    assert set(answer) == {"object", "data", "model", "usage"}


def test_what_a_request_asks_for_is_done(handler: Handler, model: Embedder) -> None:
    content = body_of(post(handler, {"input": TEXTS[0], "dimensions": 16, "encoding_format": "base64"}))
    vector = np.frombuffer(base64.b64decode(content["data"][0]["embedding"]), dtype="<f4")
    np.testing.assert_array_equal(vector, model.encode(TEXTS[0], truncate_dim=16, normalize_embeddings=True))
    raw = body_of(post(handler, {"input": TEXTS, "normalized": False}))
    np.testing.assert_array_equal(vectors_of(raw), model.encode(TEXTS))


def test_jinas_forms_are_taken(handler: Handler, model: Embedder, expected: np.ndarray) -> None:
    request = {"input": [{"text": text} for text in TEXTS], "embedding_type": ["float"]}
    np.testing.assert_array_equal(vectors_of(body_of(post(handler, request))), expected)
    np.testing.assert_array_equal(vectors_of(handler(request)), expected)


@pytest.mark.parametrize("sender", HTTP)
@pytest.mark.parametrize(("mark", "is_base64"), [("", True), ("\ufeff", False), ("\ufeff", True)])
def test_a_body_may_be_base64_and_begin_with_a_byte_order_mark(
    handler: Handler, expected: np.ndarray, sender: str, mark: str, is_base64: bool
) -> None:
    body = mark + json.dumps({"input": TEXTS})
    body = base64.b64encode(body.encode()).decode() if is_base64 else body
    answer = handler(read_event(sender, body=body, isBase64Encoded=is_base64))
    np.testing.assert_array_equal(vectors_of(body_of(answer)), expected)


@pytest.mark.parametrize("sender", HTTP)
@pytest.mark.parametrize("field", ["headers", "multiValueHeaders"])
def test_a_compressed_body_is_a_415(handler: Handler, sender: str, field: str) -> None:
    body = base64.b64encode(gzip.compress(b'{"input": "a"}')).decode()
    headers = {"Content-Encoding": "gzip" if field == "headers" else ["gzip"]}
    event = {name: value for name, value in read_event(sender).items() if name not in ("headers", "multiValueHeaders")}
    answer = handler(event | {field: headers, "body": body, "isBase64Encoded": True})
    assert "send it uncompressed" in problem_of(body_of(answer, 415))["message"]


@pytest.mark.parametrize("request_", [{"input": ["a", "\ud800"]}, {"input": ["a", {"text": "\ud800"}]}])
def test_a_lone_surrogate_is_named_by_its_place(handler: Handler, request_: dict) -> None:
    over_http = problem_of(body_of(post(handler, request_), 400))
    assert over_http["param"] == "input"
    assert re.match(r"input\[1\](\.text)? is not valid Unicode", over_http["message"])
    assert problem_of(handler(request_)) == over_http


def test_late_chunking_reads_the_texts_as_one(handler: Handler, model: Embedder) -> None:
    content = body_of(post(handler, {"input": TEXTS, "late_chunking": True}))
    ends = [len(TEXTS[0]), len(TEXTS[0]) + 1 + len(TEXTS[1])]
    chunks = model.encode_chunks("\n".join(TEXTS), [(0, ends[0]), (ends[0] + 1, ends[1])], normalize_embeddings=True)
    np.testing.assert_allclose(vectors_of(content), chunks.vectors, atol=1e-6)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/prod/v1/embeddings", "/a/b/v1/embeddings/"])
def test_a_stage_before_the_path_is_passed_over(handler: Handler, path: str) -> None:
    assert handler(read_event("http_api", rawPath=path))["statusCode"] == 200
    assert handler(read_event("rest_api", path=path))["statusCode"] == 200


def get(handler: Handler, path: str) -> dict:
    event = read_event("rest_api", path=path, httpMethod="GET", body=None)
    return handler(event)


def test_health_and_models_tell_what_runs(handler: Handler, model: Embedder) -> None:
    health = body_of(get(handler, "/prod/health"))
    assert (health["status"], health["precision"]) == ("ready", "int8")
    assert health["fingerprint"] == str(model.fingerprint)
    assert (health["attention"], health["attention_reason"]) == (model.kernels.attention, model.kernels.reason)
    assert (health["layers"], health["layers_reason"]) == (model.kernels.layers, model.kernels.layers_reason)
    models = body_of(get(handler, "/v1/models"))
    assert [item["id"] for item in models["data"]] == ["tiny-de-en"]
    assert post(handler, {"input": "a", "model": models["data"][0]["id"]})["statusCode"] == 200


def problem_of(content: dict) -> dict:
    assert set(content) == {"error", "detail"}
    assert content["detail"] == content["error"]["message"]
    assert set(content["error"]) == {"message", "type", "param", "code"}
    return content["error"]


@pytest.mark.parametrize("path", ["/", "", "/v1", "/v1/embeddings/x", "/xhealth", "/v1/completions"])
def test_an_unknown_route_is_a_404(handler: Handler, path: str) -> None:
    assert problem_of(body_of(get(handler, path), 404))["code"] == "not_found"


@pytest.mark.parametrize(("path", "method"), [("/v1/embeddings", "GET"), ("/health", "POST"), ("/v1/models", "PUT")])
def test_another_method_is_a_405_that_names_the_right_one(handler: Handler, path: str, method: str) -> None:
    answer = handler(read_event("rest_api", path=path, httpMethod=method))
    assert problem_of(body_of(answer, 405))["code"] == "method_not_allowed"
    assert answer["headers"]["allow"] != method


WRONG = [
    ({}, 400, "missing_field"),
    ({"input": []}, 400, "invalid_value"),
    ({"input": [1, 2]}, 400, "token_ids_refused"),
    ({"input": "a", "dimensions": 257}, 400, "invalid_value"),
    ({"input": "a", "inptu": "b"}, 400, "unknown_field"),
    ({"input": "a", "model": "other"}, 404, "model_not_found"),
    ({"input": "word " * 9000}, 400, "context_length_exceeded"),
    ([TEXTS], 400, "invalid_json"),
    (None, 400, "invalid_json"),
]


@pytest.mark.parametrize(("request_", "status", "code"), WRONG)
def test_a_wrong_request_is_refused_alike_both_ways(handler: Handler, request_: object, status: int, code: str) -> None:
    over_http = problem_of(body_of(post(handler, request_), status))
    assert over_http["code"] == code
    assert problem_of(handler(request_)) == over_http


@pytest.mark.parametrize(
    ("body", "is_base64", "code"),
    [
        (None, False, "invalid_json"),
        ("", False, "invalid_json"),
        ("not JSON", False, "invalid_json"),
        ('{"input": "\ud800"}', False, "invalid_json"),
        ("not base64", True, "invalid_base64"),
        ("ä", True, "invalid_base64"),
        (base64.b64encode(b'{"input": "\xff"}').decode(), True, "invalid_json"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(handler: Handler, body: str | None, is_base64: bool, code: str) -> None:
    answer = handler(read_event("function_url", body=body, isBase64Encoded=is_base64))
    assert problem_of(body_of(answer, 400))["code"] == code


@pytest.mark.parametrize("event", [None, 7, "text", [], {"requestContext": None}, {"requestContext": {}}])
def test_an_odd_event_is_no_crash(handler: Handler, event: object) -> None:
    answer = handler(event)
    assert "error" in (json.loads(answer["body"]) if "body" in answer else answer)


def test_work_ends_before_lambda_ends_the_call(raw_handler: Callable[[object, Context], dict]) -> None:
    body = json.dumps({"input": ["word " * 8000] * 40, "truncate": True})
    answer = raw_handler(read_event("function_url", body=body), Context(2_000))
    assert problem_of(body_of(answer, 504))["code"] == "timeout"
    assert problem_of(raw_handler(read_event("direct"), Context(100)))["code"] == "timeout"
    assert body_of(raw_handler(read_event("function_url"), Context()))["data"]


def test_a_response_that_lambda_would_not_return_is_a_413(handler: Handler) -> None:
    texts = [f"text {number}" for number in range(2048)]
    problem = problem_of(handler({"input": texts}))
    assert problem["code"] == "response_too_large"
    assert "at most 6291556" in problem["message"]
    assert "base64" in problem["message"]
    assert len(handler({"input": texts, "encoding_format": "base64"})["data"]) == 2048


def test_a_load_balancer_takes_less(handler: Handler) -> None:
    body = json.dumps({"input": [f"text {number}" for number in range(400)]})
    answer = handler(read_event("load_balancer", body=body))
    assert "at most 1048576" in problem_of(body_of(answer, 413))["message"]
    assert answer["headers"] == {"content-type": "application/json"}
    assert len(body_of(handler(read_event("function_url", body=body)))["data"]) == 400


def test_nothing_is_logged_of_a_request(
    handler: Handler, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        for request_ in ({"input": "geheim"}, {"input": "geheim", "geheim": 1}, {"input": ["geheim", 1]}):
            handler(request_)
            post(handler, request_)
    assert "geheim" not in caplog.text
    assert capfd.readouterr() == ("", "")


# A start of the function in a process of its own, which goes on as a test says.
START = """
import json, resource, sys
from pathlib import Path
from jinabert_onnx.serverless.aws_lambda import handler

class Context:
    def get_remaining_time_in_millis(self):
        return 60_000

def answer(event):
    return handler(event, Context())
"""
ANSWER_LINES = "print(json.dumps([answer(json.loads(line)) for line in sys.stdin]))"
RUN_OUT_OF_MEMORY = """
answer({"input": "a"})
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (16 << 20), -1))
print(json.dumps([answer({"input": "geheim " * 8000, "truncate": True}), answer({"input": "a"})]))
"""


def start(code: str, events: list[dict], environment: dict[str, str]) -> Ended:
    return run_python("-c", START + code, stdin="\n".join(map(json.dumps, events)), env=environment)


def test_a_failure_inside_is_a_500_and_the_log_says_what_failed_but_no_text() -> None:
    environment = {"JINABERT_ONNX_MODEL": str(TRAINED), "JINABERT_ONNX_PRECISION": "int8"}
    process = start(RUN_OUT_OF_MEMORY, [], environment)
    failed, after = json.loads(process.stdout)
    assert problem_of(failed)["code"] == "internal_error"
    assert len(after["data"]) == 1
    assert process.stderr.startswith("a call failed: RunError: ")
    assert "geheim" not in process.stderr + process.stdout


HEALTH = read_event("rest_api", path="/health", httpMethod="GET")


def test_threads_and_memory_are_those_of_the_function() -> None:
    environment = {"JINABERT_ONNX_MODEL": str(TRAINED), "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "200"}
    process = start(ANSWER_LINES, [HEALTH, {"input": "word " * 8000, "truncate": True}], environment)
    health, embedded = json.loads(process.stdout)
    assert body_of(health)["threads"] == 1
    assert problem_of(embedded)["code"] == "memory_limit"


def test_the_environment_sets_precision_and_threads() -> None:
    environment = {
        "JINABERT_ONNX_MODEL": str(TRAINED),
        "JINABERT_ONNX_PRECISION": "fp32",
        "JINABERT_ONNX_THREADS": "3",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
    }
    health = body_of(json.loads(start(ANSWER_LINES, [HEALTH], environment).stdout)[0])
    assert (health["precision"], health["threads"]) == ("fp32", 3)


def test_vectors_of_a_dense_fine_tune_go_through_its_last_layer() -> None:
    environment = {"JINABERT_ONNX_MODEL": str(BUNDLES / DENSE_GOLDEN.name), "JINABERT_ONNX_PRECISION": "fp32"}
    texts, expected = read_dense_golden()
    process = start(ANSWER_LINES, [{"input": texts, "normalized": False, "truncate": True}], environment)
    found = vectors_of(json.loads(process.stdout)[0])
    assert found.shape == (len(texts), 40)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"JINABERT_ONNX_MODEL": "BUNDLE", "JINABERT_ONNX_PRECISION": "int4"}, "precision 'int4' is unknown"),
        ({"JINABERT_ONNX_MODEL": "BUNDLE", "JINABERT_ONNX_THREADS": "all"}, "JINABERT_ONNX_THREADS is 'all'"),
        ({"JINABERT_ONNX_MODEL": "BUNDLE", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128"}, "MemoryLimitError"),
        ({"LAMBDA_TASK_ROOT": "EMPTY"}, "bundle: no such directory"),
    ],
)
def test_a_start_that_fails_says_why(tmp_path: Path, environment: dict[str, str], words: str) -> None:
    places = {"BUNDLE": str(TRAINED), "EMPTY": str(tmp_path)}
    process = start(ANSWER_LINES, [], {name: places.get(value, value) for name, value in environment.items()})
    assert process.returncode == 1
    assert words in process.stderr.splitlines()[-1]
