"""An image's entry point as a process, in the image's environment alone, and requests to it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image import Image

PATIENCE = 60  # seconds until a server that is not healthy is given up


@dataclass(frozen=True)
class Container:
    """A server that runs."""

    process: subprocess.Popen[bytes]
    url: str

    def ask(self, path: str, body: object = None, key: str | None = None) -> Any:
        """The JSON that GET, or POST of `body`, gives; the text where it is none."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            content = response.read()
            return json.loads(content) if response.headers.get_content_type() == "application/json" else content

    def wait_until_it_grants(self, path: str) -> None:
        """Ask as a probe does, until the answer is a success."""
        end = time.monotonic() + PATIENCE
        while not self._grants(path):
            assert time.monotonic() < end, f"{path} is refused"
            time.sleep(0.2)

    def _grants(self, path: str) -> bool:
        try:
            self.ask(path)
        except urllib.error.HTTPError as refused:
            refused.close()
            return False
        return True

    def stop(self) -> int:
        """What `docker stop` does; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@contextmanager
def run(image: Image, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Container]:
    """`docker run --read-only --tmpfs /tmp IMAGE ARGUMENTS`, healthy; only the port is another, which is free here."""
    before = _files(image)
    port = _free_port()
    variables = image.variables({**(environment or {}), "PORT": str(port)})
    process = subprocess.Popen(image.command(*arguments), cwd=image.directory, env=variables)
    try:
        _wait_until_healthy(image, process, variables)
        yield Container(process, f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
    assert _files(image) == before, "something was written outside of /tmp"


def _wait_until_healthy(image: Image, process: subprocess.Popen[bytes], variables: Mapping[str, str]) -> None:
    end = time.monotonic() + PATIENCE
    while subprocess.run(image.healthcheck(), env=variables, capture_output=True, check=False).returncode != 0:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        assert time.monotonic() < end, "the server is not healthy"
        time.sleep(0.2)


def _files(image: Image) -> set[Path]:
    return {path for path in image.root.rglob("*") if not path.is_relative_to(image.root / "tmp")}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
