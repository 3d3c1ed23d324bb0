"""A function of a reranker: `rank`'s order over HTTP and by direct invocation, and the package that is made of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import HTTP, read_event
from jinabert_onnx import CrossEncoder
from jinabert_onnx.serverless.events import read_call, write_answer
from jinabert_onnx.serverless.function import Function
from support.paths import BUNDLES, TRAINED_RERANKER
from support.python import run_command

QUERY, DOCUMENTS = "Wie ist das Wetter?", ["The sun is shining.", "", "Das Wetter ist schön. " * 400]
REQUEST = {"query": QUERY, "documents": DOCUMENTS}


@pytest.fixture(scope="module")
def reranker() -> CrossEncoder:
    return CrossEncoder.load(TRAINED_RERANKER, precision="int8")


@pytest.fixture(scope="module")
def function(reranker: CrossEncoder) -> Function:
    return Function(reranker, str(TRAINED_RERANKER))


def answer(function: Function, event: object) -> dict:
    call = read_call(event)
    return write_answer(call, function.answer(call, 60))


def require_ranked(content: dict, reranker: CrossEncoder, with_texts: bool) -> None:
    ranked = reranker.rank(QUERY, DOCUMENTS)
    assert [result["index"] for result in content["results"]] == [each.index for each in ranked]
    scores = [result["relevance_score"] for result in content["results"]]
    assert scores == pytest.approx([each.score for each in ranked], abs=1e-6)
    assert all(("document" in result) == with_texts for result in content["results"])


@pytest.mark.parametrize("sender", HTTP)
@pytest.mark.parametrize(("version", "with_texts"), [("v1", True), ("v2", False)])
def test_events_of_http_are_answered(
    function: Function, reranker: CrossEncoder, sender: str, version: str, with_texts: bool
) -> None:
    event = read_event(sender, path=f"/prod/{version}/rerank", rawPath=f"/{version}/rerank", body=json.dumps(REQUEST))
    answered = answer(function, event)

    assert answered["statusCode"] == 200, answered
    assert answered["headers"]["x-rerank-fingerprint"] == str(reranker.fingerprint)
    require_ranked(json.loads(answered["body"]), reranker, with_texts)


def test_direct_invocation_reranks(function: Function, reranker: CrossEncoder) -> None:
    require_ranked(answer(function, REQUEST), reranker, with_texts=True)


def test_vectors_are_refused_by_what_the_model_is(function: Function) -> None:
    answered = answer(function, read_event("rest_api"))

    assert answered["statusCode"] == 400
    told = "the model 'tiny-de-en-reranker' scores pairs of texts and cannot embed; no model here can"
    assert json.loads(answered["body"])["detail"] == told


def test_health_tells_of_labels(function: Function) -> None:
    event = read_event("rest_api", path="/health", httpMethod="GET", body=None)
    health = json.loads(answer(function, event)["body"])
    assert (health["status"], health["labels"]) == ("ready", 1)
    assert "dimensions" not in health


def test_a_package_of_a_reranker_runs_before_it_is_written(tmp_path: Path) -> None:
    package = tmp_path / "function.zip"
    made = run_command("lambda-zip", TRAINED_RERANKER, package)
    assert made.returncode == 0, made.stderr
    assert package.stat().st_size > 1_000_000


def test_a_package_of_a_classifier_is_not_written(tmp_path: Path) -> None:
    package = tmp_path / "function.zip"
    made = run_command("lambda-zip", BUNDLES / "classifier-3-4h", package)
    assert made.returncode == 1
    assert "has 3 labels" in made.stderr
    assert list(tmp_path.iterdir()) == []
