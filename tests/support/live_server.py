"""`jinabert-onnx serve` as a process of its own, on a free port of the loopback, from its start to SIGTERM."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

PATIENCE = 60.0  # seconds that nothing here should take
PROGRAM = Path(sys.executable).parent / "jinabert-onnx"
_ADDRESS = re.compile(r"serving .* on http://[^ ]+?:(\d+) ")  # in the text of the log, or in its JSON


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
        import httpx

        return httpx.Client(base_url=self.url, timeout=timeout)

    def embed(self, **fields: object) -> httpx.Response:
        with self.client() as client:
            return client.post("/v1/embeddings", json=fields)

    def rerank(self, path: str = "/v1/rerank", **fields: object) -> httpx.Response:
        with self.client() as client:
            return client.post(path, json=fields)

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of what /metrics has under this name, with these labels."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=PATIENCE) as response:
            metrics = response.read().decode()
        lines = re.findall(rf"^{re.escape(name)}(?:{{(.*)}})? (\S+)$", metrics, re.MULTILINE)
        return sum(
            float(value)
            for found, value in lines
            if labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', found)).items()
        )

    def memory(self) -> int:
        """Return the resident bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def peak_memory(self) -> int:
        """Return the most resident bytes so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert peak, status
        return int(peak[1]) * 1024

    @contextmanager
    def busy(self, path: str = "/v1/embeddings", **fields: object) -> Iterator[Future[httpx.Response]]:
        """Send a request whose tokens wait for their turn, and yield the answer to come."""
        with self.client() as client, ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client.post, path, json=fields)
            wait_for(lambda: self.metric("jinabert_onnx_queued_tokens") > 0)
            yield answer

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ready", timeout=PATIENCE) as response:
                return bool(response.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def launch(log_file: Path, *options: str, environment: dict[str, str] | None = None) -> LiveServer:
    """Start a server and return it once it is ready."""
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, "serve", *options, "--port", "0"], stderr=log, stdout=log, env=os.environ | (environment or {})
        )
    server = LiveServer(process, log_file, port=0)
    try:
        wait_for(lambda: process.poll() is not None or _ADDRESS.search(server.log))
        address = _ADDRESS.search(server.log)
        assert address, server.log
        server.port = int(address[1])
        wait_for(server.is_ready)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return server


@contextmanager
def serving(bundles: Path | Sequence[Path], log_file: Path, *options: str) -> Iterator[LiveServer]:
    """Yield a server that is ready; afterwards it must still run, and SIGTERM must end it with exit code 0."""
    paths = [bundles] if isinstance(bundles, Path) else bundles
    server = launch(log_file, *map(str, paths), *options, environment={"JINABERT_ONNX_API_KEYS": ""})
    try:
        yield server
        assert server.process.poll() is None, server.log
        assert server.stop() == 0, server.log
    finally:
        server.process.kill()
        server.process.wait()


def wait_for(holds: Callable[[], object], patience: float = PATIENCE) -> None:
    """Return once `holds` does; fail if it does not in time."""
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
