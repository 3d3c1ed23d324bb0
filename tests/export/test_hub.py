"""Checkpoints and bundles by hub id, from a hub on the loopback interface, each time in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
import torch
from jinabert_onnx import Embedder
from jinabert_onnx.bundle import check_files, open_bundle
from safetensors.torch import load_file

# One layer, so that its export is quick; the other one stands at `main`, where `--revision` is not to lead.
SMALL, OTHER = "plain-12h-bert-prefix", "plain-4h"
NOT_NEEDED = (
    "README.md",
    "flax_model.msgpack",
    "pytorch_model.bin",
    "onnx/model.onnx",
    "onnx/config.json",
    "onnx/model.safetensors",
    "openvino/openvino_model.bin",
    "openvino/config.json",
)


# The hub: as much of its HTTP interface as `snapshot_download` speaks, with directories for repositories.


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


# The command line, and what it is to find there.


def run(*arguments: str | Path, home: Path, endpoint: str, offline: bool = False) -> subprocess.CompletedProcess[str]:
    """`jinabert-onnx` with the hub at `endpoint` and its cache below `home`, and no setting of this process's own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "HUGGING")) and not name.lower().endswith("_proxy")
    }
    hub = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, "-m", "jinabert_onnx", *map(str, arguments)],
        env=kept | hub | ({"HF_HUB_OFFLINE": "1"} if offline else {}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def error_of(process: subprocess.CompletedProcess[str]) -> str:
    """The one error line of a process that has failed as it should."""
    assert process.returncode == 1, process.stderr
    assert process.stdout == ""
    assert "Traceback" not in process.stderr
    errors = [line for line in process.stderr.splitlines() if "error" in line.lower()]
    assert len(errors) == 1, process.stderr
    assert errors[0].startswith("jinabert-onnx: error: ")
    assert process.stderr.endswith(errors[0] + "\n")
    return errors[0]


def add_unneeded_files(directory: Path) -> None:
    for name in NOT_NEEDED:
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(b"not to be downloaded")


@dataclass(frozen=True)
class Exported:
    """A bundle exported by hub id, the cache it went through, and what of the repository was downloaded."""

    bundle: Path
    home: Path
    downloaded: list[str]


@pytest.fixture(scope="module")
def hub(copy_checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    model = copy_checkpoint(SMALL)
    add_unneeded_files(model)
    pickled = copy_checkpoint(SMALL)
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    bundle = tmp_path_factory.mktemp("served") / "bundle"  # comes into being when `exported` is asked for
    with serve(
        {
            "owner/model": {"main": copy_checkpoint(OTHER), "v1": model},
            "owner/pickled.model": {"main": pickled},
            "owner/bundle": {"main": bundle},
        }
    ) as hub:
        yield hub


@pytest.fixture(scope="module")
def exported(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """`owner/model` at revision v1, exported to where the hub serves `owner/bundle` from."""
    home = tmp_path_factory.mktemp("home")
    bundle = hub.repositories["owner/bundle"]["main"]
    process = run("export", "owner/model", bundle, "--revision", "v1", home=home, endpoint=hub.endpoint)
    assert process.returncode == 0, process.stderr
    return Exported(bundle, home, hub.downloaded("owner/model"))


def test_export_takes_a_hub_id_and_its_revision(exported: Exported, read_golden):
    bundle = open_bundle(exported.bundle)
    check_files(bundle, bundle.manifest.files)
    golden = read_golden(SMALL)
    texts = json.loads((golden.path / "golden_texts.json").read_text())["texts"]

    vectors = Embedder.load(exported.bundle, provider="cpu").encode(texts)

    assert bundle.manifest.source == "owner/model"
    assert bundle.manifest.model.num_attention_heads == 12
    np.testing.assert_allclose(vectors, golden.pooled, rtol=0, atol=2e-5)


def test_export_downloads_nothing_that_it_does_not_need(exported: Exported):
    assert exported.downloaded == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


def test_offline_a_cached_checkpoint_is_exported_without_a_request(hub: Hub, exported: Exported, tmp_path: Path):
    before = list(hub.requests)

    process = run(
        "export",
        "owner/model",
        tmp_path / "out",
        "--revision",
        "v1",
        home=exported.home,
        endpoint=hub.endpoint,
        offline=True,
    )

    assert process.returncode == 0, process.stderr
    assert hub.requests == before
    first, again = (open_bundle(path).manifest for path in (exported.bundle, tmp_path / "out"))
    assert again.model == first.model
    assert again.files["probes.json"] == first.files["probes.json"]


def test_a_repository_with_only_a_pickle_is_exported(hub: Hub, exported: Exported, tmp_path: Path):
    process = run("export", "owner/pickled.model", tmp_path / "out", home=tmp_path / "home", endpoint=hub.endpoint)

    assert process.returncode == 0, process.stderr
    assert "pytorch_model.bin" in hub.downloaded("owner/pickled.model")
    probes = [open_bundle(path).manifest.files["probes.json"] for path in (exported.bundle, tmp_path / "out")]
    assert probes[0] == probes[1]


def test_a_bundle_is_embedded_by_its_hub_id(hub: Hub, exported: Exported, tmp_path: Path):
    """And only the weights of the precision that runs are fetched."""
    text = "t7 t20 t31"
    (exported.bundle / "onnx" / "model_of_another_precision.onnx").touch()
    arguments = ("embed", "owner/bundle", text, "--provider", "cpu")

    process = run(*arguments, home=tmp_path / "home", endpoint=hub.endpoint)

    assert process.returncode == 0, process.stderr
    row = json.loads(process.stdout)
    assert row["text"] == text
    local = Embedder.load(exported.bundle, provider="cpu").encode(text)
    np.testing.assert_allclose(row["embedding"], local, rtol=0, atol=1e-6)
    assert [name for name in hub.downloaded("owner/bundle") if name.startswith("onnx/")] == ["onnx/model.onnx"]
    before = list(hub.requests)
    offline = run(*arguments, home=tmp_path / "home", endpoint=hub.endpoint, offline=True)
    assert offline.stdout == process.stdout
    assert hub.requests == before


def test_a_cached_file_cut_short_is_one_error_line(hub: Hub, exported: Exported, tmp_path: Path):
    arguments = ("embed", "owner/bundle", "t7", "--provider", "cpu")
    assert run(*arguments, home=tmp_path / "home", endpoint=hub.endpoint).returncode == 0
    (cached,) = (tmp_path / "home").rglob("model.onnx")
    content = cached.read_bytes()
    cached.resolve().write_bytes(content[:-1])

    process = run(*arguments, home=tmp_path / "home", endpoint=hub.endpoint)

    message = error_of(process)
    assert str(cached) in message
    assert f"{len(content) - 1} bytes where the manifest says {len(content)}" in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("owner/missing",), ("owner/missing", "404")),
        (("owner/model", "--revision", "v9"), ("owner/model at revision v9", "404")),
    ],
    ids=["repository", "revision"],
)
def test_what_the_hub_does_not_have_is_one_error_line(arguments, words, hub: Hub, tmp_path: Path):
    source, *options = arguments

    process = run("export", source, tmp_path / "out", *options, home=tmp_path / "home", endpoint=hub.endpoint)

    message = error_of(process)
    assert not [word for word in words if word not in message], message
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == []


def test_a_checkpoint_in_a_repository_that_holds_none_is_one_error_line(hub: Hub, exported: Exported, tmp_path: Path):
    process = run("export", "owner/bundle", tmp_path / "out", home=tmp_path / "home", endpoint=hub.endpoint)

    assert "no weights" in error_of(process)
    assert not (tmp_path / "out").exists()


def test_a_bundle_in_a_repository_that_holds_a_checkpoint_is_one_error_line(hub: Hub, tmp_path: Path):
    process = run("embed", "owner/model", "t7", home=tmp_path / "home", endpoint=hub.endpoint)

    assert "not a bundle" in error_of(process)


@pytest.mark.parametrize("offline", [True, False], ids=["told", "unreachable"])
def test_offline_without_a_cache_is_one_error_line_and_no_request(offline: bool, hub: Hub, tmp_path: Path):
    before = list(hub.requests)
    # Nothing listens on the discard port of the loopback interface.
    endpoint = hub.endpoint if offline else "http://127.0.0.1:9"

    process = run("embed", "owner/model", "t7", home=tmp_path / "home", endpoint=endpoint, offline=offline)

    message = error_of(process)
    assert "owner/model" in message
    assert "not a local directory" in message
    assert hub.requests == before
