"""The trained checkpoint, its bundle (exported beforehand, `make build/bundles/ready` does it) and few of its texts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from jinabert_onnx import Embedder
from jinabert_onnx_eval.texts.read import EvalTexts, read_texts
from support.paths import TRAINED
from support.references import write_few_texts


@pytest.fixture(scope="session")
def model() -> Embedder:
    return Embedder.load(TRAINED)


@pytest.fixture(scope="session")
def few_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_few_texts(tmp_path_factory.mktemp("texts") / "few.json")


@pytest.fixture(scope="session")
def texts(few_texts: Path) -> EvalTexts:
    return read_texts(few_texts)


@pytest.fixture
def trained_copy(tmp_path: Path) -> Path:
    """A bundle that a test may change."""
    return Path(shutil.copytree(TRAINED, tmp_path / "bundle"))


@pytest.fixture
def write_json(tmp_path: Path) -> Callable[[object], Path]:
    """Writes a file of texts."""

    def write(content: object) -> Path:
        path = tmp_path / "texts.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write
