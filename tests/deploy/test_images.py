"""The Dockerfiles, followed line by line without a container engine, and what they build, run."""

from __future__ import annotations

import json
import re
from importlib.metadata import distributions
from pathlib import Path

import pytest
from container import run
from image import Image, exec_form
from support.paths import ROOT
from support.python import run_python

NOT_IN_AN_IMAGE = {"torch", "onnx", "onnxscript", "onnx-ir", "safetensors", "transformers", "optimum", "pip", "pytest"}
REQUEST = {"input": ["How is the weather today?", "Wie ist das Wetter heute?"]}
FUNCTION_URL_EVENT = {
    "version": "2.0",
    "rawPath": "/v1/embeddings",
    "rawQueryString": "",
    "headers": {"content-type": "application/json"},
    "requestContext": {"http": {"method": "POST", "path": "/v1/embeddings"}},
    "body": json.dumps(REQUEST),
    "isBase64Encoded": False,
}
INVOKE = """
import importlib, json, sys, types
context = types.SimpleNamespace(get_remaining_time_in_millis=lambda: 30_000)
module, _, name = sys.argv[1].rpartition(".")
answer = getattr(importlib.import_module(module), name)(json.loads(sys.argv[2]), context)
print(json.dumps(answer))
"""


def installed(image: Image, directory: str) -> dict[str, str]:
    """Name and version of every package in the image's `directory`."""
    (place,) = image.root.glob(directory)
    found = distributions(path=[str(place)])
    return {re.sub("[-_.]+", "-", package.name).lower(): package.version for package in found}


def pinned() -> dict[str, str]:
    lines = re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements" / "wheel.txt").read_text("utf-8"), re.MULTILINE)
    return {re.sub("[-_.]+", "-", name).lower(): version for name, version in lines}


def test_the_build_is_sent_what_it_copies_and_nothing_else(context: Path) -> None:
    sent = {path.name for path in context.iterdir()}
    assert sent == {"pyproject.toml", "requirements", "README.md", "LICENSE", "runtime", "export", "native"}
    assert not list(context.rglob("__pycache__"))


def test_the_server_answers_and_ends_well_when_it_is_stopped(server_image: Image) -> None:
    with run(server_image) as server:
        assert [len(item["embedding"]) for item in server.embed(**REQUEST).json()["data"]] == [256, 256]


def test_the_server_has_native_kernels_that_run(server_image: Image) -> None:
    with run(server_image, environment={"JINABERT_ONNX_KERNELS": "require"}) as server:
        assert len(server.embed(**REQUEST).json()["data"]) == 2


def test_the_server_runs_as_a_user_of_its_own_and_is_stopped_as_it_expects(server_image: Image) -> None:
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", server_image.settings["USER"])
    assert server_image.settings["STOPSIGNAL"] == "SIGTERM"
    assert server_image.settings["EXPOSE"] == server_image.environment["PORT"]


@pytest.mark.parametrize(
    ("fixture", "directory"),
    [("server_image", "opt/jinabert-onnx/lib/python*/site-packages"), ("lambda_image", "var/task")],
)
def test_an_image_has_the_runtime_in_the_versions_of_the_constraints_and_nothing_of_the_exporter(
    fixture: str, directory: str, request: pytest.FixtureRequest
) -> None:
    packages = installed(request.getfixturevalue(fixture), directory)
    assert {"jinabert-onnx", "onnxruntime", "numpy", "tokenizers", "pydantic", "orjson"} <= packages.keys()
    assert packages.keys().isdisjoint(NOT_IN_AN_IMAGE)
    del packages["jinabert-onnx"], packages["jinabert-onnx-kernels"]  # built from the repository itself
    assert packages.items() <= pinned().items()


def test_the_lambda_function_answers(lambda_image: Image) -> None:
    (handler,) = exec_form(lambda_image.settings["CMD"])
    task_root = lambda_image.environment["LAMBDA_TASK_ROOT"]
    surroundings = lambda_image.variables({"PYTHONPATH": task_root})
    call = ("-S", "-c", INVOKE, handler, json.dumps(FUNCTION_URL_EVENT))  # -S: only what the image has
    result = run_python(*call, cwd=Path(task_root), env=surroundings)
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["statusCode"] == 200, answer
    assert [len(item["embedding"]) for item in json.loads(answer["body"])["data"]] == [256, 256]


def test_the_lambda_function_starts_from_compiled_modules(lambda_image: Image) -> None:
    assert list(lambda_image.path("/var/task/jinabert_onnx").glob("__pycache__/embedder.*.pyc"))
