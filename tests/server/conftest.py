"""Live servers, each a process of its own, and bundles that were exported beforehand (`make test-server` does it)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jinabert_onnx import Embedder
from support.live_server import LiveServer, launch, serving
from support.paths import TRAINED

Start = Callable[..., LiveServer]


@pytest.fixture(scope="session")
def model() -> Embedder:
    return Embedder.load(TRAINED, precision="int8")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One for all tests that do not need another."""
    with serving(TRAINED, tmp_path_factory.mktemp("server") / "log", "--precision", "int8") as live:
        yield live


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers with other options; ends those that a test has not ended."""
    started: list[LiveServer] = []

    def one(*options: str, bundle: Path = TRAINED, environment: dict[str, str] | None = None) -> LiveServer:
        log = tmp_path / f"log{len(started)}"
        started.append(launch(log, str(bundle), "--precision", "int8", *options, environment=environment))
        return started[-1]

    yield one
    for live in started:
        if live.process.poll() is None:
            live.process.kill()
            live.process.wait()
