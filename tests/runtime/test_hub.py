"""Bundles by hub id, from a hub on the loopback interface: what is asked for, what is repaired, what is refused."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import NOWHERE, Hub, environment, serve
from jinabert_onnx.bundle.integrity import check_files
from jinabert_onnx.bundle.manifest import open_bundle
from support.bundles import flip_a_byte
from support.paths import BUNDLES
from support.python import run_python

WEIGHTS = "onnx/model_int8.onnx"

# Opens int8 of the given repository in a process of its own: prints the bundle's directory, or the error.
OPEN = """
import sys
from jinabert_onnx.errors import JinaBertError
from jinabert_onnx.bundle.locate import open_source, require_files

revision, offline = "v1" if "v1" in sys.argv else None, "local_files_only" in sys.argv
try:
    bundle = open_source(sys.argv[1], revision, offline)
    if "wait" in sys.argv:
        print("opened", flush=True)
        input()
    require_files(sys.argv[1], bundle, "int8", "full", offline)
except JinaBertError as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(bundle.path)
"""


def start(home: Path, endpoint: str, *arguments: str, offline: bool = False) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPEN, *arguments],
        env=environment(home, endpoint, offline),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_alone(how: str, home: Path, hub: Hub) -> subprocess.Popen[str]:
    """A process that has its cache alone, by an argument, by a variable, or as the hub cannot be reached."""
    arguments = ["local_files_only"] if how == "local_files_only" else []
    endpoint = NOWHERE if how == "unreachable" else hub.endpoint
    return start(home, endpoint, "owner/bundle", *arguments, offline=how == "HF_HUB_OFFLINE")


def opened(process: subprocess.Popen[str]) -> Path:
    """The directory that a process opened, where int8 is whole."""
    output, errors = process.communicate("\n", timeout=120)
    assert process.returncode == 0, errors
    path = Path(output.splitlines()[-1])
    check_files(open_bundle(path), ["tokenizer.json", "probes.json", WEIGHTS], "full")
    return path


def refused(process: subprocess.Popen[str]) -> str:
    """The error of a process that opened nothing."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert output == ""
    assert "Traceback" not in errors
    return errors.splitlines()[-1]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    directory = tmp_path_factory.mktemp("served")
    v1, main, mixed = directory / "v1", directory / "main", directory / "mixed"
    shutil.copytree(BUNDLES / "plain-4h", v1)
    shutil.copytree(BUNDLES / "plain-12h", main)
    shutil.copytree(v1, mixed)
    shutil.copy(main / WEIGHTS, mixed / WEIGHTS)
    with serve({"owner/bundle": {"main": main, "v1": v1}, "owner/mixed": {"main": mixed}}) as hub:
        yield hub


@pytest.fixture(scope="module")
def cached(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds int8 of `owner/bundle`."""
    home = tmp_path_factory.mktemp("cached") / "home"
    opened(start(home, hub.endpoint, "owner/bundle"))
    return home


@pytest.fixture
def home(cached: Path, tmp_path: Path) -> Path:
    """A copy of `cached` that a test may alter."""
    return Path(shutil.copytree(cached, tmp_path / "home", symlinks=True))


def blob_of(home: Path, name: str) -> Path:
    """The file that holds the content of `name` in the cache."""
    (link,) = home.glob(f"hub/models--owner--bundle/snapshots/*/{name}")
    return link.resolve()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def test_only_one_precision_is_downloaded_and_only_once(hub: Hub, tmp_path: Path) -> None:
    before = len(hub.downloaded("owner/bundle"))
    first = opened(start(tmp_path, hub.endpoint, "owner/bundle"))
    names = hub.downloaded("owner/bundle")
    assert [path.name for path in (first / "onnx").iterdir()] == ["model_int8.onnx"]
    assert len(names) - before == len([path for path in first.rglob("*") if path.is_file()])

    assert opened(start(tmp_path, hub.endpoint, "owner/bundle")) == first
    assert hub.downloaded("owner/bundle") == names


def test_a_revision_is_taken_whole(hub: Hub, tmp_path: Path) -> None:
    bundle = open_bundle(opened(start(tmp_path, hub.endpoint, "owner/bundle", "v1")))
    assert bundle.manifest.model.num_attention_heads == 4


def test_weights_are_of_the_commit_of_the_manifest_though_the_branch_moves_on(hub: Hub, tmp_path: Path) -> None:
    old, new = (hub.repositories["owner/bundle"][name] for name in ("main", "v1"))
    with serve({"owner/bundle": {"main": old, "old": old}}) as moving:
        process = start(tmp_path, moving.endpoint, "owner/bundle", "wait")
        assert process.stdout is not None
        assert process.stdout.readline() == "opened\n"
        moving.repositories = {"owner/bundle": {"main": new, "old": old}}
        bundle = open_bundle(opened(process))
    assert bundle.manifest.model.num_attention_heads == 12


@pytest.mark.parametrize("how", ["local_files_only", "HF_HUB_OFFLINE"])
def test_without_the_network_the_cache_is_used_and_no_request_made(how: str, hub: Hub, home: Path) -> None:
    before = list(hub.requests)

    opened(start_alone(how, home, hub))
    blob_of(home, WEIGHTS).unlink()
    missing = refused(start_alone(how, home, hub))
    empty = refused(start_alone(how, home / "empty", hub))

    assert missing.startswith(("DownloadError: owner/bundle", "BundleError: "))
    assert empty.startswith("DownloadError: owner/bundle: not a local directory")
    assert hub.requests == before


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (WEIGHTS, cut),
        (WEIGHTS, flip_a_byte),
        (WEIGHTS, Path.unlink),
        ("tokenizer.json", flip_a_byte),
        ("manifest.json", cut),
    ],
)
def test_a_damaged_file_of_the_cache_is_downloaded_again(
    name: str, damage: Callable[[Path], object], hub: Hub, home: Path
) -> None:
    blob = blob_of(home, name)
    content = blob.read_bytes()
    damage(blob)
    before = hub.downloaded("owner/bundle")

    opened(start(home, hub.endpoint, "owner/bundle"))

    assert blob.read_bytes() == content
    assert sorted([*before, name]) == hub.downloaded("owner/bundle")


@pytest.mark.parametrize("how", ["local_files_only", "HF_HUB_OFFLINE", "unreachable"])
def test_a_damaged_file_that_cannot_be_downloaded_again_is_refused(how: str, hub: Hub, home: Path) -> None:
    flip_a_byte(blob_of(home, WEIGHTS))
    before = list(hub.requests)

    message = refused(start_alone(how, home, hub))

    assert message.startswith("BundleError: ")
    assert f"{WEIGHTS}: altered, its SHA-256 differs from the manifest's; load it" in message
    assert hub.requests == before


def test_files_that_do_not_belong_together_are_refused_after_one_more_download(hub: Hub, tmp_path: Path) -> None:
    message = refused(start(tmp_path, hub.endpoint, "owner/mixed"))

    assert "after downloading it again too; the files of owner/mixed do not belong together" in message
    assert hub.downloaded("owner/mixed").count(WEIGHTS) == 2


# Opens the given repository, and is interrupted by a signal while it waits for an answer.
INTERRUPTED = """
import signal, sys
from jinabert_onnx.bundle.hub import fetch_again, resolve

class TimeIsUpError(Exception):
    pass

def handle(number, frame):
    raise TimeIsUpError("the time is up")

signal.signal(signal.SIGALRM, handle)
for call in (lambda: resolve("owner/bundle", None, ["*"]), lambda: fetch_again("owner/bundle", "0" * 40, "name")):
    try:
        signal.setitimer(signal.ITIMER_REAL, 2)
        call()
    except Exception as error:
        print(type(error).__name__)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that send signals")
def test_what_a_signals_handler_raises_during_a_download_is_no_error_of_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        result = run_python("-c", INTERRUPTED, env=environment(tmp_path, endpoint))
    assert result.stdout.split() == ["TimeIsUpError"] * 2, result.stderr
