"""`jinabert-onnx serve` as a process of its own, on a free port of the loopback, from start to SIGTERM."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = Path(sys.executable).parent / "jinabert-onnx"
_ADDRESS = re.compile(r"^\S+ info serving .* on (http://127\.0\.0\.1:\d+) ", re.MULTILINE)
_PATIENCE = 60  # seconds for a start or an end, which take one or two


@contextmanager
def running(bundle: Path, log: Path, *options: str) -> Iterator[str]:
    """A server that is ready, by its address; afterwards SIGTERM must end it with exit code 0."""
    command = [PROGRAM, "serve", bundle, "--port", "0", "--host", "127.0.0.1", *options]
    environment = os.environ | {"JINABERT_ONNX_API_KEYS": ""}
    with log.open("w") as stderr, subprocess.Popen(command, stderr=stderr, env=environment) as process:
        try:
            address = _wait_until_ready(process, log)
            yield address
            process.send_signal(signal.SIGTERM)
            assert process.wait(_PATIENCE) == 0, log.read_text("utf-8")
        finally:
            process.kill()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end and process.poll() is None:
        found = _ADDRESS.search(log.read_text("utf-8"))
        if found and _is_ready(found[1]):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"the server is not ready: {log.read_text('utf-8')}")


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/ready", timeout=_PATIENCE) as response:
            return response.status == 200
    except urllib.error.HTTPError as error:
        error.close()
        return False
