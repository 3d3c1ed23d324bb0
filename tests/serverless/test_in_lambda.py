"""The unpacked package, alone, answers through AWS's own runtime client."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import HTTP, TEXTS, Package, read_event, vectors_of
from jinabert_onnx import Embedder
from runtime_api import RuntimeApi, runtime_api, start_function


@dataclass(frozen=True)
class Running:
    """A function that polls for events."""

    api: RuntimeApi
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def function(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    client = tmp_path_factory.mktemp("client") / "packages"
    with runtime_api() as api:
        process = start_function(api, package.unpacked, client, {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024"})
        try:
            yield Running(api, process)
        finally:
            process.terminate()
            process.communicate()


@pytest.mark.parametrize("sender", HTTP)
def test_events_of_http_are_answered(function: Running, expected: np.ndarray, model: Embedder, sender: str) -> None:
    kind, answer = function.api.invoke(read_event(sender))
    assert (kind, answer["statusCode"], answer["isBase64Encoded"]) == ("response", 200, False)
    assert answer["headers"]["x-embedding-fingerprint"] == str(model.fingerprint)
    content = json.loads(answer["body"])
    assert content["model"] == "tiny-de-en"  # whatever the bundle's directory is called in the package
    np.testing.assert_allclose(vectors_of(content), expected, atol=1e-5)


def test_direct_invocation_is_answered(function: Running, expected: np.ndarray) -> None:
    kind, content = function.api.invoke(read_event("direct"))
    assert kind == "response"
    np.testing.assert_allclose(vectors_of(content), expected, atol=1e-5)


def test_a_request_that_is_wrong_is_an_answer_and_no_failure(function: Running) -> None:
    kind, content = function.api.invoke({"inputs": TEXTS})
    assert (kind, content["error"]["code"]) == ("response", "missing_field")
    kind, answer = function.api.invoke(read_event("rest_api", path="/nowhere"))
    assert (kind, answer["statusCode"]) == ("response", 404)


def test_the_deadline_is_lambdas(function: Running) -> None:
    body = json.dumps({"input": ["word " * 8000] * 40, "truncate": True})
    kind, answer = function.api.invoke(read_event("function_url", body=body), milliseconds=2_000)
    assert (kind, answer["statusCode"]) == ("response", 504)


@pytest.mark.parametrize("sender", ["direct", "function_url"])
def test_what_is_too_large_to_return_does_not_crash_the_function(function: Running, sender: str) -> None:
    """Up to the last byte that the API takes: at some number of texts a response becomes an error of ours."""
    outcomes = set()
    for count in range(1500, 2049, 137):
        request = {"input": [f"text {number % 100}" for number in range(count)]}
        event = request if sender == "direct" else read_event(sender, body=json.dumps(request))
        kind, answer = function.api.invoke(event)
        assert kind == "response"
        content = answer if sender == "direct" else json.loads(answer["body"])
        outcomes.add("data" if "data" in content else content["error"]["code"])
    assert outcomes >= {"data", "response_too_large"}
    assert function.process.poll() is None


def test_a_start_without_a_model_fails_with_one_clear_message(package: Package, tmp_path: Path) -> None:
    with runtime_api() as api:
        environment = {"JINABERT_ONNX_MODEL": str(tmp_path / "nothing")}
        process = start_function(api, package.unpacked, tmp_path / "packages", environment)
        kind, content = api.heard()
        log, _ = process.communicate()
    assert kind == "error"
    assert content["errorType"] == "BundleNotFoundError"
    assert "nothing: no such directory" in content["errorMessage"]
    assert log.count("[ERROR] BundleNotFoundError: ") == 1
    assert process.returncode == 1


def test_running_writes_nothing_into_the_package(function: Running, package: Package) -> None:
    """Lambda's disk is read-only: what Python would like to write there it would do again at each start."""
    function.api.invoke(read_event("direct"))
    assert [path for path in package.unpacked.rglob("*") if path.suffix == ".py" or path.name == "__pycache__"] == []
