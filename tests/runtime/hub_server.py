"""A hub on the loopback interface, with directories for repositories, and the environment of a process that asks it.

As much of its HTTP interface as `snapshot_download` and `hf_hub_download` speak.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

NOWHERE = "http://127.0.0.1:9"  # nothing listens on the discard port


def environment(home: Path, endpoint: str, offline: bool = False) -> dict[str, str]:
    """Variables of a process with the hub at `endpoint` and all caches below `home`, and no setting of this one's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "HUGGING")) and not name.lower().endswith("_proxy")
    }
    hub = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    ours = {"JINABERT_ONNX_CACHE": str(home / "jinabert-onnx")}
    return kept | hub | ours | ({"HF_HUB_OFFLINE": "1"} if offline else {})


@dataclass
class Hub:
    """`repositories` maps owner/name to its revisions, and these to directories; `requests` are (method, path)."""

    endpoint: str
    repositories: Mapping[str, Mapping[str, Path]]
    requests: list[tuple[str, str]] = field(default_factory=list)

    def downloaded(self, repository: str) -> list[str]:
        """The names of the files of `repository` whose content was asked for."""
        paths = [path for method, path in self.requests if method == "GET"]
        start = f"/{repository}/resolve/"
        return sorted(path.removeprefix(start).partition("/")[2] for path in paths if path.startswith(start))


@contextmanager
def serve(repositories: Mapping[str, Mapping[str, Path]]) -> Iterator[Hub]:
    """A hub that runs until the block ends."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.daemon_threads = True  # a client's idle connection must not hold up the end
        server.block_on_close = False
        hub = Hub(f"http://127.0.0.1:{server.server_port}", repositories)
        server.hub = hub  # type: ignore[attr-defined]
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answers, and remembers that it did."""
        path = unquote(urlsplit(self.path).path)
        self._hub.requests.append((self.command, path))
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            self._answer_about("/".join(parts[2:4]), parts[4:])
        elif len(parts) >= 5 and parts[2] == "resolve":
            self._answer_file("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._refuse("EntryNotFound")

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, format: str, *args: object) -> None:
        """Silence: requests are remembered instead."""

    @property
    def _hub(self) -> Hub:
        return self.server.hub  # type: ignore[attr-defined, no-any-return]

    def _answer_about(self, repository: str, rest: list[str]) -> None:
        """What a repository is and holds: .../revision/REVISION, or .../tree/REVISION."""
        kind, revision = rest[:2] if len(rest) >= 2 else ("revision", "main")
        directory = self._directory(repository, revision)
        if directory is None:
            return
        commit = _commit(directory)
        files = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*") if path.is_file()}
        if kind == "tree":
            self._answer_json(
                [
                    {"type": "file", "path": name, "size": path.stat().st_size, "oid": _etag(path)}
                    for name, path in files.items()
                ],
                commit,
            )
        else:
            siblings = [{"rfilename": name} for name in files]
            about = {"_id": commit[:24], "id": repository, "modelId": repository, "sha": commit, "private": False}
            self._answer_json(about | {"siblings": siblings, "tags": [], "downloads": 0, "likes": 0}, commit)

    def _answer_file(self, repository: str, revision: str, name: str) -> None:
        directory = self._directory(repository, revision)
        if directory is None:
            return
        path = directory / name
        if not path.is_file():
            self._refuse("EntryNotFound", _commit(directory))
            return
        self._answer(
            path.read_bytes(),
            {"X-Repo-Commit": _commit(directory), "ETag": f'"{_etag(path)}"', "Accept-Ranges": "none"},
        )

    def _directory(self, repository: str, revision: str) -> Path | None:
        """The directory of a branch, tag or commit; None once the refusal has been sent."""
        revisions = self._hub.repositories.get(repository)
        if revisions is None:
            self._refuse("RepoNotFound")
            return None
        directory = revisions.get(revision) or {_commit(path): path for path in revisions.values()}.get(revision)
        if directory is None:
            self._refuse("RevisionNotFound")
        return directory

    def _answer_json(self, content: object, commit: str) -> None:
        self._answer(json.dumps(content).encode(), {"Content-Type": "application/json", "X-Repo-Commit": commit})

    def _refuse(self, code: str, commit: str | None = None) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": code}
        if commit is not None:
            headers["X-Repo-Commit"] = commit
        self._answer(b"", headers, HTTPStatus.NOT_FOUND)

    def _answer(self, body: bytes, headers: Mapping[str, str], status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _commit(directory: Path) -> str:
    """A commit hash that is the directory's own: 40 hexadecimal digits."""
    return hashlib.sha1(str(directory).encode()).hexdigest()


def _etag(path: Path) -> str:
    """The hash that git names the file's content by."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
