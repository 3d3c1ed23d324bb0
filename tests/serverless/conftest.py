"""Bundles, events of AWS, the handler in this process, and the package that `lambda-zip` makes, once."""

from __future__ import annotations

import importlib
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx import Embedder
from support.paths import TRAINED
from support.python import Ended, run_command

EVENTS = Path(__file__).with_name("events")
TEXTS = ["How is the weather today?", "Wie ist das Wetter heute?"]  # of the events
HTTP = ("rest_api", "http_api", "function_url", "load_balancer")

Handler = Callable[[object], dict]


@dataclass(frozen=True)
class Context:
    """What is used of Lambda's context."""

    milliseconds: int = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


def read_event(name: str, **changes: object) -> dict:
    """An event, with some of its fields changed."""
    return json.loads((EVENTS / f"{name}.json").read_text("utf-8")) | changes


@pytest.fixture(scope="session")
def model() -> Embedder:
    return Embedder.load(TRAINED, precision="int8")


@pytest.fixture(scope="session")
def expected(model: Embedder) -> np.ndarray:
    """What the events must be answered with."""
    return model.encode(TEXTS, normalize_embeddings=True)


def vectors_of(content: dict) -> np.ndarray:
    assert [item["index"] for item in content["data"]] == list(range(len(content["data"])))
    return np.array([item["embedding"] for item in content["data"]], dtype=np.float32)


@pytest.fixture(scope="session")
def raw_handler() -> Callable[[object, Context], dict]:
    """The handler as Lambda calls it, with the trained model in int8."""
    os.environ |= {"JINABERT_ONNX_MODEL": str(TRAINED), "JINABERT_ONNX_PRECISION": "int8"}
    return importlib.import_module("jinabert_onnx.serverless.aws_lambda").handler


@pytest.fixture(scope="session")
def handler(raw_handler: Callable[[object, Context], dict]) -> Handler:
    """The handler with a minute of time."""
    return lambda event: raw_handler(event, Context())


@dataclass(frozen=True)
class Package:
    """A zip file, what the command said, and its content."""

    path: Path
    said: Ended
    unpacked: Path


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """What `lambda-zip` makes of the trained bundle; not to be altered."""
    directory = tmp_path_factory.mktemp("package")
    path = directory / "function.zip"
    said = run_command("lambda-zip", TRAINED, path)
    assert said.returncode == 0, said.stderr
    with zipfile.ZipFile(path) as archive:
        archive.extractall(directory / "task")
    return Package(path, said, directory / "task")
