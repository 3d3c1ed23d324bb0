"""Bundles and their reference vectors."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from jinabert_onnx import Embedder
from support.bundles import edit_json
from support.paths import BUNDLES, TRAINED
from support.references import NAMES, Golden, read_golden


@pytest.fixture(scope="session", params=NAMES)
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
