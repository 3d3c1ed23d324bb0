"""Lambda's Runtime API on a loopback port, and a function that polls it through AWS's own client, `awslambdaric`.

What the API does is documented by AWS (Lambda runtime API, version 2018-06-01): `next` blocks until there is an event;
`response`, `error` and `init/error` take what the function has to say.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

_CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")
_MOST_BYTES = 6_291_556  # of a response
_PATIENCE = 120  # seconds for whatever should come


@dataclass
class RuntimeApi:
    """Events for a function, and what it said."""

    address: str = ""
    waiting: queue.Queue[tuple[str, bytes, int]] = field(default_factory=queue.Queue)
    said: queue.Queue[tuple[str, Any]] = field(default_factory=queue.Queue)
    sent: int = 0

    def invoke(self, event: object, milliseconds: int = 60_000) -> tuple[str, Any]:
        """What the function says to `event`: ("response" or "error", its content)."""
        self.sent += 1
        deadline = int(time.time() * 1000) + milliseconds
        self.waiting.put((f"request-{self.sent}", json.dumps(event).encode(), deadline))
        return self.heard()

    def heard(self) -> tuple[str, Any]:
        return self.said.get(timeout=_PATIENCE)


@contextmanager
def runtime_api() -> Iterator[RuntimeApi]:
    api = RuntimeApi()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            assert self.path == "/2018-06-01/runtime/invocation/next"
            request_id, event, deadline = api.waiting.get()
            if not request_id:  # the server ends
                self.close_connection = True
                return
            headers = {
                "Lambda-Runtime-Aws-Request-Id": request_id,
                "Lambda-Runtime-Deadline-Ms": str(deadline),
                "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-central-1:123456789012:function:embeddings",
            }
            self._answer(200, event, headers)

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if len(content) > _MOST_BYTES:
                api.said.put(("too large", len(content)))
                self._answer(413, b'{"errorMessage": "Exceeded maximum allowed payload size"}', {})
                return
            api.said.put((self.path.removeprefix("/2018-06-01/runtime/").rpartition("/")[2], json.loads(content)))
            self._answer(202, b'{"status": "OK"}', {})

        def _answer(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield api
    finally:
        api.waiting.put(("", b"", 0))
        server.shutdown()
        thread.join()
        server.server_close()


def start_function(api: RuntimeApi, task: Path, client: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """The function in the directory `task`, as Lambda starts it: nothing but it and AWS's client can be imported."""
    client.mkdir()
    for name in _CLIENT:
        for file in distribution(name).files or []:
            top = file.parts[0]
            if top != ".." and not (client / top).exists():
                (client / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    variables = {
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
        "LAMBDA_TASK_ROOT": str(task),
        "PYTHONPATH": f"{task}:{client}",
        "HOME": "/nonexistent",
    }
    command = [sys.executable, "-S", "-s", "-m", "awslambdaric", "jinabert_onnx.serverless.aws_lambda.handler"]
    return subprocess.Popen(
        command,
        cwd=task,
        env=variables | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
