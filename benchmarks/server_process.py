"""`jinabert-onnx serve` as a process of its own, on a free port, and what it takes of the machine. Linux only."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

PATIENCE = 120.0  # seconds for the server to start, and for an answer


@dataclass(frozen=True)
class Server:
    """The server's process, and where it listens."""

    process: subprocess.Popen[bytes]
    port: int

    def peak_megabytes(self) -> float:
        """Return the most resident memory so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024 / 1e6

    def cpu_seconds(self) -> float:
        """Return the time that its threads have run."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def is_ready(self) -> bool:
        """Return whether it listens and has warmed up."""
        with suppress(OSError), urlopen(f"http://127.0.0.1:{self.port}/ready", timeout=PATIENCE) as answer:
            return bool(answer.status == 200)
        return False


@contextmanager
def serving(bundles: Sequence[Path], precision: str, threads: int, max_memory: str) -> Iterator[Server]:
    """Yield a server that is ready; afterwards it is stopped.

    Raises:
        SystemExit: it does not start; has its log.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    options = ["--precision", precision, "--threads", threads, "--max-memory", max_memory, "--port", port]
    command = [Path(sys.executable).parent / "jinabert-onnx", "serve", *bundles, *options]
    with tempfile.TemporaryFile() as log, subprocess.Popen(list(map(str, command)), stderr=log) as process:
        server, end = Server(process, port), time.monotonic() + PATIENCE
        try:
            while not server.is_ready():
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise SystemExit(f"the server did not start:\n{log.read().decode()}")
                time.sleep(0.1)
            yield server
        finally:
            process.terminate()
