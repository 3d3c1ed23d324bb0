"""Live servers, each a process of its own, and bundles that were exported beforehand (`make test-server` does it)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from jinabert_onnx import CrossEncoder, Embedder
from support.live_server import LiveServer, launch, serving
from support.paths import BUNDLES, TRAINED, TRAINED_RERANKER

Start = Callable[..., LiveServer]


@pytest.fixture(scope="session")
def model() -> Embedder:
    return Embedder.load(TRAINED, precision="int8")


@pytest.fixture(scope="session")
def reranker() -> CrossEncoder:
    return CrossEncoder.load(TRAINED_RERANKER, precision="int8")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One for all tests that do not need another."""
    with serving(TRAINED, tmp_path_factory.mktemp("server") / "log", "--precision", "int8") as live:
        yield live


@pytest.fixture(scope="session")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One that has an embedding model, a reranker, and a classifier of three labels."""
    bundles = [TRAINED, TRAINED_RERANKER, BUNDLES / "classifier-3-4h"]
    with serving(bundles, tmp_path_factory.mktemp("both") / "log", "--precision", "int8") as live:
        yield live


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers with other options; ends those that a test has not ended."""
    started: list[LiveServer] = []

    def one(
        *options: str, bundles: Sequence[Path] = (TRAINED,), environment: dict[str, str] | None = None
    ) -> LiveServer:
        log = tmp_path / f"log{len(started)}"
        started.append(launch(log, *map(str, bundles), "--precision", "int8", *options, environment=environment))
        return started[-1]

    yield one
    for live in started:
        if live.process.poll() is None:
            live.process.kill()
            live.process.wait()
