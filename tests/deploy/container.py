"""An image's entry point as a process, in the image's environment alone."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from image import Image
from support.live_server import LiveServer, wait_for


@contextmanager
def run(image: Image, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[LiveServer]:
    """`docker run --read-only --tmpfs /tmp IMAGE ARGUMENTS`, healthy, then `docker stop`; only the port differs."""
    before = _files(image)
    port = _free_port()
    variables = image.variables({**(environment or {}), "PORT": str(port)})
    log_file = image.root / "tmp" / "log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            image.command(*arguments), cwd=image.directory, env=variables, stdout=log, stderr=log
        )
    server = LiveServer(process, log_file, port)
    try:
        wait_for(lambda: process.poll() is not None or _is_healthy(image, variables))
        assert process.poll() is None, server.log
        yield server
        assert server.stop() == 0, server.log
    finally:
        process.kill()
        process.wait()
    assert _files(image) == before, "something was written outside of /tmp"


def _is_healthy(image: Image, variables: Mapping[str, str]) -> bool:
    return subprocess.run(image.healthcheck(), env=variables, capture_output=True, check=False).returncode == 0


def _files(image: Image) -> set[Path]:
    return {path for path in image.root.rglob("*") if not path.is_relative_to(image.root / "tmp")}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
