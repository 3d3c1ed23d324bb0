"""The script as it is run: real workers in real environments, the tables, the record, and the committed page."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peers.registry import NODE, OWN, Files, Peer, peers
from peers.tables import section
from peers.workload import Takes
from safetensors.numpy import load_file, save_file
from support.paths import CHECKPOINT, ROOT, TRAINED
from support.python import Ended, run_python

BENCHMARKS = ROOT / "benchmarks"
OURS = ("ours-fp32", "ours-int8", "ours-fp32-native", "ours-int8-native")
PEERS = ("torch", "plain", *OURS, "fastembed", "ours-fp32-texts", "ours-int8-texts")


def script(name: str, *arguments: object) -> Ended:
    return run_python(BENCHMARKS / name, *arguments, cwd=ROOT, timeout=900)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("peers")


@pytest.fixture(scope="module")
def done(directory: Path) -> Ended:
    """A quick run of the cheap peers."""
    kept = ("--work", directory / "work", "--results", directory / "side_by_side.json")
    return script("side_by_side.py", CHECKPOINT, TRAINED, *kept, "--quick", "--only", *PEERS)


@pytest.fixture(scope="module")
def record(done: Ended, directory: Path) -> dict[str, Any]:
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads((directory / "side_by_side.json").read_text("utf-8"))
    return found


def test_every_peer_is_measured_and_agrees(record: dict[str, Any]):
    results = record["results"]
    assert list(results["peers"]) == list(PEERS)
    assert results["vectors_agree"] is True
    assert results["failures"] == []
    ids = [name for name in PEERS if results["peers"][name]["takes"] == "ids"]
    assert list(results["shapes"]["4x32"]["peers"]) == ids
    assert list(results["shapes"]["1x12"]["peers"]) == list(PEERS)
    for row in results["shapes"].values():
        for name, cell in row["peers"].items():
            assert cell["milliseconds"] > 0
            assert cell["cosine"] > (0.999 if "int8" in name else 0.999999)


def test_native_and_portable_peers_say_what_computes_their_attention(record: dict[str, Any]):
    peers = record["results"]["peers"]
    assert {peers[name]["attention"] for name in ("ours-fp32", "ours-int8")} == {"portable"}
    assert "portable" not in {peers[name]["attention"] for name in ("ours-fp32-native", "ours-int8-native")}


def test_the_last_line_is_the_record_s_results(done: Ended, record: dict[str, Any]):
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["benchmark"] == "side_by_side"
    assert last["results"] == record["results"]


def test_the_tables_show_every_figure_of_the_record(done: Ended, record: dict[str, Any]):
    for name, shape in record["results"]["shapes"].items():
        for peer, cell in shape["peers"].items():
            kind = "int8" if record["results"]["peers"][peer]["int8"] else "fp32"
            share = shape["ceiling_milliseconds"][kind] / cell["milliseconds"]
            line = next(line for line in done.stdout.splitlines() if f"`{peer}`" in line)
            assert f"({share:.0%})" in line, (peer, name)
    assert done.stdout.index(section(record["results"], "ids")) < done.stdout.index(section(record["results"], "texts"))
    assert record["command"].startswith("python benchmarks/side_by_side.py")
    assert record["machine"]["cpu"]


def test_a_bundle_of_other_weights_fails_the_run(directory: Path):
    checkpoint = directory / "changed"
    shutil.copytree(CHECKPOINT, checkpoint)
    file = checkpoint / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if name.endswith("mlp.wo.weight"))
    save_file(tensors | {name: (tensors[name] * np.float32(1.01)).astype(tensors[name].dtype)}, file, {"format": "pt"})
    work = directory / "changed-work"
    found = script("side_by_side.py", checkpoint, TRAINED, "--work", work, "--quick", "--only", "torch", "ours-fp32")
    assert found.returncode == 1
    assert "DISAGREES" in found.stdout
    assert json.loads(found.stdout.splitlines()[-1])["results"]["vectors_agree"] is False


def test_a_work_directory_of_another_checkpoint_is_refused(record: dict[str, Any], directory: Path):
    other = directory / "other"
    shutil.copytree(CHECKPOINT, other)
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    found = script("side_by_side.py", other, TRAINED, "--work", directory / "work", "--quick", "--only", "ours-fp32")
    assert found.returncode == 1
    assert "another checkpoint" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_missing_environment_is_named_with_its_target(directory: Path):
    from peers.preparing import prepare

    lacking = Peer("lacking", "plain", (), "", environment="nowhere")
    with pytest.raises(SystemExit, match=r"lacking needs .*: make \.venv-peers-nowhere/ready"):
        prepare({"lacking": lacking}, Files(CHECKPOINT, TRAINED, directory / "none"), 1)


def test_every_environment_has_its_lock_and_its_target():
    (targets,) = re.findall(r"^peers:(.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    needed = {peer.environment for peer in peers(Files(Path(), Path(), Path()), 2).values()} - {OWN}
    assert needed == set(re.findall(r"\.venv-peers-(\w+)/ready", targets))
    locks = {path.stem.removeprefix("peers-") for path in (ROOT / "requirements").glob("peers-*.txt")}
    assert locks == needed - {NODE}
    assert (BENCHMARKS / "peers" / "node" / "package-lock.json").exists()


@pytest.mark.parametrize(("file", "takes"), [("side_by_side.json", "ids"), ("side_by_side_texts.json", "texts")])
def test_the_committed_page_has_the_tables_of_the_committed_results(file: str, takes: Takes):
    results = json.loads((BENCHMARKS / "results" / file).read_text("utf-8"))["results"]
    assert section(results, takes) in (BENCHMARKS / "RESULTS.md").read_text("utf-8")


def test_nothing_but_the_workers_own_answers_is_on_their_stdout():
    """What a library prints must not be taken for an answer."""
    code = "import sys; from peers.worker import serve\ndef load():\n print('noise'); return None, {}\nserve(load)"
    environment = os.environ | {"PYTHONPATH": str(BENCHMARKS)}
    found = run_python("-c", code, stdin="", env=environment)
    assert [json.loads(line)["about"] for line in found.stdout.splitlines()] == [{}]
    assert "noise" in found.stderr
