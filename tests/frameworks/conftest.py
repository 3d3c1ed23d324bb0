"""A trained German/English bundle, texts that it never saw, and no way to any other machine.

The bundle is exported beforehand (`make test-frameworks` does it).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinabert_onnx import Embedder
from support.network import only_hosts
from support.paths import BUNDLES, CHECKPOINT, TRAINED

HELDOUT = CHECKPOINT / "heldout.json"

RAGGED = [
    "",
    "a",
    "Wie ist das Wetter heute?",
    "word " * 700,
    "The meeting has been moved to Friday.",
    "ein Satz. " * 40,
]


@pytest.fixture(autouse=True)
def no_other_machine() -> Iterator[None]:
    """Fails the test if a framework asks for a host."""
    with only_hosts():
        yield


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As in tests/conftest.py, which pytest does not look for above the pytest.ini of this folder."""
    os.environ["JINABERT_ONNX_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def other() -> Path:
    """A bundle of another model, of another size."""
    return BUNDLES / "plain-4h"


@pytest.fixture(scope="session", params=["fp32", "int8"])
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    with Embedder.load(TRAINED, precision=request.param) as embedder:
        yield embedder


@pytest.fixture(scope="session")
def fp32() -> Iterator[Embedder]:
    with Embedder.load(TRAINED) as embedder:
        yield embedder


@pytest.fixture(scope="session")
def pairs() -> list[tuple[str, str]]:
    """German and English of one meaning, each text once."""
    found = {pair["de"]: pair["en"] for pair in json.loads(HELDOUT.read_text("utf-8"))["pairs"][:150]}
    return [(german, english) for english, german in {english: german for german, english in found.items()}.items()]


@pytest.fixture(params=["German finds English", "English finds German"])
def translations(request: pytest.FixtureRequest, pairs: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Queries in one language, and in the same order their translations into the other."""
    german, english = ([pair[side] for pair in pairs] for side in (0, 1))
    return (german, english) if request.param.startswith("German") else (english, german)


@pytest.fixture(scope="session")
def long_texts() -> list[str]:
    return json.loads(HELDOUT.read_text("utf-8"))["long"][:3]
