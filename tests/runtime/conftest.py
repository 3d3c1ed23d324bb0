"""Bundles and their reference vectors."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx import Embedder
from support.bundles import edit_json
from support.paths import BUNDLES, DATA, TRAINED

GOLDENS = ("plain-4h", "plain-12h", "plain-12h-bert-prefix", "plain-6h-reglu", "qk-post-norm-12h")


@dataclass(frozen=True)
class Golden:
    """A bundle, and what the original implementation gave for some texts."""

    bundle: Path
    texts: list[str]
    lengths: np.ndarray
    pooled: np.ndarray  # (texts, hidden)
    token_embeddings: np.ndarray  # (sum of lengths, hidden)


def read_golden(name: str) -> Golden:
    arrays = np.load(DATA / "goldens" / name / "golden.npz")
    texts = json.loads((DATA / "goldens" / name / "golden_texts.json").read_text("utf-8"))["texts"]
    return Golden(BUNDLES / name, texts, arrays["lengths"], arrays["pooled"], arrays["token_embeddings"])


@pytest.fixture(scope="session", params=GOLDENS)
def golden(request: pytest.FixtureRequest) -> Golden:
    return read_golden(request.param)


@pytest.fixture(scope="session")
def model() -> Embedder:
    return Embedder.load(TRAINED)


@pytest.fixture(scope="session", params=["plain-12h", "qk-post-norm-12h"])
def variant_bundle(request: pytest.FixtureRequest) -> Path:
    """A small bundle of either variant."""
    return BUNDLES / str(request.param)


@pytest.fixture
def bundle_copy(tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(BUNDLES / "plain-4h", tmp_path / "bundle"))


@pytest.fixture
def edit_manifest(bundle_copy: Path) -> Callable[[Callable[[dict], None]], Path]:
    """Change the manifest of `bundle_copy` by a function; the bundle's path comes back."""

    def edit(change: Callable[[dict], None]) -> Path:
        edit_json(bundle_copy / "manifest.json", change)
        return bundle_copy

    return edit
