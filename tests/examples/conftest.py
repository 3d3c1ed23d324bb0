"""The trained bundle, and a directory for the documented commands."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from jinabert_onnx import Embedder
from support.paths import ROOT, TRAINED, TRAINED_RERANKER

sys.path.insert(0, str(ROOT / "examples" / "search"))  # tests look into the program too, not only at what it prints


@pytest.fixture(scope="session", params=["fp32", "int8"])
def model(request: pytest.FixtureRequest) -> Embedder:
    return Embedder.load(TRAINED, precision=request.param)


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with what the documented commands name: the examples and two bundles."""
    directory = tmp_path_factory.mktemp("workplace")
    (directory / "examples").symlink_to(ROOT / "examples")
    (directory / "bundle").symlink_to(TRAINED)
    (directory / "reranker").symlink_to(TRAINED_RERANKER)
    return directory
