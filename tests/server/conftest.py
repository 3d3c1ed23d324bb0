"""Live servers, each a process of its own, and bundles that were exported beforehand (`make test-server` does it)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from jinabert_onnx import Embedder

ROOT = Path(__file__).resolve().parent.parent.parent
BUNDLES = ROOT / "build" / "bundles"
PATIENCE = 60.0  # seconds that nothing here should take


@dataclass
class LiveServer:
    """A server's process, where it listens, and what it logs."""

    process: subprocess.Popen[bytes]
    log_file: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_file.read_text("utf-8", errors="replace")

    def client(self, timeout: float = PATIENCE) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=timeout)

    def embed(self, **fields: object) -> httpx.Response:
        with self.client() as client:
            return client.post("/v1/embeddings", json=fields)

    def metric(self, line: str) -> float:
        """The value of the line of /metrics that begins so."""
        found = re.search(rf"^{re.escape(line)} (\S+)$", httpx.get(f"{self.url}/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def memory(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


Start = Callable[..., LiveServer]


def launch(log_file: Path, *options: str, environment: dict[str, str] | None = None) -> LiveServer:
    command = [sys.executable, "-m", "jinabert_onnx", "serve", *options, "--port", "0"]
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, stderr=log, stdout=log, env=os.environ | (environment or {}))
    server = LiveServer(process, log_file, port=0)
    wait_for(lambda: process.poll() is not None or re.search(r"http://[^ ]+:(\d+)", server.log))
    found = re.search(r"http://[^ ]+?:(\d+) ", server.log)
    assert found, server.log
    server.port = int(found[1])
    wait_for(lambda: httpx.get(f"{server.url}/ready").status_code == 200)
    return server


def wait_for(holds: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def trained() -> Path:
    return BUNDLES / "tiny-de-en"


@pytest.fixture(scope="session")
def model(trained: Path) -> Embedder:
    return Embedder.load(trained, precision="int8")


@pytest.fixture(scope="session")
def server(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One for all tests that do not need another."""
    live = launch(tmp_path_factory.mktemp("server") / "log", str(trained), "--precision", "int8")
    yield live
    assert live.process.poll() is None, live.log
    assert live.stop() == 0, live.log


@pytest.fixture
def start(trained: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts servers with other options; ends those that a test has not ended."""
    started: list[LiveServer] = []

    def one(*options: str, bundle: Path = trained, environment: dict[str, str] | None = None) -> LiveServer:
        log = tmp_path / f"log{len(started)}"
        started.append(launch(log, str(bundle), "--precision", "int8", *options, environment=environment))
        return started[-1]

    yield one
    for live in started:
        if live.process.poll() is None:
            live.process.kill()
            live.process.wait()
