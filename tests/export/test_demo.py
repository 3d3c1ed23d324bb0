"""`make demo` as a newcomer runs it: the bundle stays, and every command that it prints works as printed."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import Run, error_of
from jinabert_onnx.bundle.integrity import check_files
from jinabert_onnx.bundle.manifest import open_bundle
from support.paths import GOLDENS, ROOT
from support.python import run_command

TEXTS = ["How is the weather today?", "Wie ist das Wetter heute?"]
READY = "http://127.0.0.1:8080/ready"
PATIENCE = 900  # seconds, for machines with much else to do


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that looks like a clone in which `make` has installed the program."""
    place = tmp_path_factory.mktemp("clone")
    for name, target in {"Makefile": ROOT / "Makefile", "tests": ROOT / "tests", ".venv": Path(sys.prefix)}.items():
        (place / name).symlink_to(target)
    return place


@pytest.fixture(scope="module")
def printed(place: Path) -> str:
    """What `make demo` prints; what it would install is there."""
    command = ["make", "--silent", "-o", ".venv/ready", "demo"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def commands(printed: str) -> dict[str, str]:
    """The printed lines of a shell, by what they do."""
    lines = [line.strip() for line in printed.splitlines() if line.startswith("    ") and "jinabert-onnx" in line]
    curl = [line.strip() for line in printed.splitlines() if line.startswith("    curl ")]
    assert len(lines) == 4
    assert len(curl) == 1
    return {shlex.split(line)[1]: line for line in lines} | {"curl": curl[0]}


def shell(command: str, place: Path) -> str:
    done = subprocess.run(command, shell=True, cwd=place, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_demo_keeps_its_bundle(printed: str, place: Path) -> None:
    bundle = open_bundle(place / "build" / "demo-bundle")
    check_files(bundle, bundle.manifest.files, "full")
    assert "The bundle is at build/demo-bundle" in printed


def test_the_tables_fit_a_terminal_of_80_columns(printed: str) -> None:
    table = [line for line in printed.splitlines() if line[:2] in ("1 ", "2 ", "3 ", "4 ", "5 ")]
    assert len(table) == 15  # the German texts, and a row of each English text for both precisions
    assert max(map(len, table)) <= 80


def test_the_printed_embed_command_gives_two_vectors(commands: dict[str, str], place: Path) -> None:
    rows = [json.loads(line) for line in shell(commands["embed"], place).splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    assert [len(row["embedding"]) for row in rows] == [8, 8]


@pytest.mark.parametrize(("name", "words"), [("info", ("tiny-de-en", " on cpu")), ("bench", ("fp32", "int8"))])
def test_the_printed_info_and_bench_tell(commands: dict[str, str], place: Path, name: str, words: tuple[str]) -> None:
    told = shell(commands[name], place)
    assert [word for word in words if word not in told] == []


def test_the_printed_server_answers_the_printed_request(commands: dict[str, str], place: Path) -> None:
    process = subprocess.Popen(commands["serve"], shell=True, cwd=place, start_new_session=True)
    try:
        wait_until_ready(process)
        answer = json.loads(shell(commands["curl"], place))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(PATIENCE)
    assert [len(row["embedding"]) for row in answer["data"]] == [8, 8]


def wait_until_ready(process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(READY, timeout=PATIENCE):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise AssertionError("the server is not ready")


def test_a_second_demo_replaces_the_bundle_of_the_first(printed: str, place: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(place / "build" / "demo-bundle", tmp_path / "a demo"))
    second = run_command("demo", GOLDENS / "plain-12h-bert-prefix", bundle, timeout=PATIENCE)
    assert second.returncode == 0, second.stderr
    assert open_bundle(bundle).manifest.source == "plain-12h-bert-prefix"
    (line,) = [line for line in second.stdout.splitlines() if " embed " in line]
    assert len(shell(line, tmp_path).splitlines()) == 2


def test_a_directory_that_is_no_bundle_is_never_replaced(run: Run, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    done = run("demo", GOLDENS / "plain-4h", tmp_path)
    assert "is not a bundle, so it is not replaced" in error_of(done)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]
