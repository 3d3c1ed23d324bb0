"""A trained German/English bundle, rerankers, texts that they never saw, and no way to any other machine.

The bundles are exported beforehand (`make test-frameworks` does it).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from jinabert_onnx import CancelledError, CrossEncoder, Embedder
from support.network import only_hosts
from support.paths import BUNDLES, CHECKPOINT, TRAINED, TRAINED_RERANKER

# Haystack reports its use when it is imported, in processes that tests start too.
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "false"

HELDOUT = CHECKPOINT / "heldout.json"

NO_RERANKERS = [
    (TRAINED, "an embedding model, which gives vectors and scores no pairs"),
    (BUNDLES / "classifier-3-4h", "rank needs a reranker, which has one label, and this model has 3"),
]

RAGGED = [
    "",
    "a",
    "Wie ist das Wetter heute?",
    "word " * 700,
    "The meeting has been moved to Friday.",
    "ein Satz. " * 40,
]


class OneThread(ThreadPoolExecutor):
    """Keeps what it was last given to do."""

    def submit(self, *arguments: Any, **options: Any) -> Future[Any]:  # type: ignore[override]
        self.last = super().submit(*arguments, **options)
        return self.last


async def require_ends_when_cancelled(work: Coroutine[Any, Any, object]) -> None:
    """Run `work`, which takes long, and cancel it; fail unless its thread ends by our own CancelledError."""
    with OneThread(1) as executor:
        asyncio.get_running_loop().set_default_executor(executor)
        task = asyncio.ensure_future(work)
        while not (hasattr(executor, "last") and executor.last.running()):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert isinstance(executor.last.exception(timeout=100), CancelledError)


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


@pytest.fixture(
    scope="session", params=["reranker-6h fp32", f"{TRAINED_RERANKER.name} fp32", f"{TRAINED_RERANKER.name} int8"]
)
def cross_encoder(request: pytest.FixtureRequest) -> Iterator[CrossEncoder]:
    name, precision = request.param.split()
    with CrossEncoder.load(BUNDLES / name, precision=precision) as cross_encoder:
        yield cross_encoder


@pytest.fixture(scope="session")
def reranker() -> Iterator[CrossEncoder]:
    with CrossEncoder.load(TRAINED_RERANKER) as reranker:
        yield reranker


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
