"""What needs no cluster: how many workers, what they refuse, and that no shard ends workers for ever."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from jinabert_onnx import ClusterError, Embedder
from jinabert_onnx.corpus import parts
from jinabert_onnx.corpus.plan import EncodeArguments, ModelSource, Plan, Shard, Source
from jinabert_onnx.corpus.ray_engine import Pool, choose_pool
from jinabert_onnx.corpus.ray_worker import ATTEMPTS, Worker
from jinabert_onnx.encoding.load_options import LoadOptions
from jinabert_onnx.version import __version__
from support.paths import TRAINED
from support.python import run_python


@pytest.mark.parametrize(
    ("nodes", "threads", "shards", "pool"),
    [
        ([0, 1, 1, 1], "auto", 100, Pool(3, 1, 0)),
        ([2, 2], "auto", 100, Pool(2, 2, 0)),
        ([16, 16], "auto", 100, Pool(8, 4, 0)),
        ([6, 6], "auto", 100, Pool(4, 3, 0)),  # of 4 would leave a third over
        ([1, 64], "auto", 100, Pool(16, 4, 0)),  # a small node does not make all actors small
        ([16, 16], 16, 100, Pool(2, 16, 0)),
        ([16, 16], 1, 100, Pool(32, 1, 0)),
        ([16, 16], "auto", 3, Pool(3, 4, 0)),  # no more than shards
    ],
)
def test_workers_fill_the_cluster(nodes: list[int], threads: int | str, shards: int, pool: Pool) -> None:
    resources = [{"CPU": float(cpus), "memory": 1e9} for cpus in nodes]
    assert choose_pool(resources, ModelSource("bundle", LoadOptions(threads=threads)), shards) == pool


def test_with_cuda_each_worker_has_a_gpu() -> None:
    nodes = [{"CPU": 8.0}, {"CPU": 8.0, "GPU": 1.0}, {"CPU": 16.0, "GPU": 2.0}]
    assert choose_pool(nodes, ModelSource("bundle", LoadOptions(provider="cuda")), 100) == Pool(3, 4, 1)
    with pytest.raises(ClusterError, match="has 4 CPUs and a GPU for a worker"):
        choose_pool(nodes[:1], ModelSource("bundle", LoadOptions(provider="cuda")), 100)


def test_an_empty_cluster_is_refused() -> None:
    with pytest.raises(ClusterError, match="no node of the Ray cluster has 1 CPU for a worker; its largest has 0 CPUs"):
        choose_pool([{"memory": 1e9}], ModelSource("bundle"), 100)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Of two texts; kept in the directory of the test, which is that of the parts too."""
    path = tmp_path / "texts.txt"
    path.write_text("one\ntwo")
    with Embedder.load(TRAINED) as model:
        fingerprint, width, length = str(model.fingerprint), 256, model.max_seq_length
    source = Source(str(path), path.stat().st_size, path.stat().st_mtime_ns)
    plan = Plan((source,), "text", "text", (), "npy", EncodeArguments(length), "tiny", fingerprint, width, 2, 2)
    parts.keep(tmp_path, plan, [SHARD])
    return plan


SHARD = Shard(index=0, source=0, first=0, rows=2, start=0, stop=7)
LOADING = ModelSource(str(TRAINED), LoadOptions(threads=1))


def failure(plan: Plan, directory: Path, version: str = __version__) -> str:
    answer = Worker(plan, [SHARD], directory, LOADING, version)({"position": [0]})
    assert answer["rows"] == [2]
    return str(answer["failure"][0])


def test_a_worker_embeds_the_shard_that_it_is_given(plan: Plan, tmp_path: Path) -> None:
    assert failure(plan, tmp_path) == ""
    assert (tmp_path / "shard-000000.npy").exists()


def test_a_node_with_another_version_is_refused(plan: Plan, tmp_path: Path) -> None:
    told = failure(plan, tmp_path, version="0.0.1")
    assert f"has jinabert-onnx {__version__}, and the command ran with 0.0.1; install the same" in told


def test_a_node_that_does_not_see_the_input_or_the_parts_is_refused(plan: Plan, tmp_path: Path) -> None:
    assert "does not see" in failure(plan, tmp_path / "elsewhere")
    Path(plan.sources[0].path).unlink()
    assert f"does not see {plan.sources[0].path}; input and output must lie on a file system" in failure(plan, tmp_path)


@pytest.mark.parametrize("kept", [None, "of other work"])
def test_a_node_with_its_own_directory_of_parts_is_refused(plan: Plan, tmp_path: Path, kept: str | None) -> None:
    own = tmp_path / "own"
    own.mkdir()
    if kept is not None:
        parts.keep(own, replace(plan, shard_rows=1), [SHARD])
    before = sorted(own.iterdir())
    assert f"does not see the work in {own}; input and output must lie on a file system" in failure(plan, own)
    assert sorted(own.iterdir()) == before


def test_an_input_that_changes_on_the_way_is_refused(plan: Plan, tmp_path: Path) -> None:
    Path(plan.sources[0].path).write_text("three\nfour")
    assert "has changed since the work on it began" in failure(plan, tmp_path)


def test_a_shard_that_ends_its_worker_each_time_is_given_up(plan: Plan, tmp_path: Path) -> None:
    """As where memory does not even suffice for the model: the process is killed while it loads onnxruntime."""
    dies = """
import os, pickle, signal, sys
class Killer:
    def find_spec(name, path=None, target=None):
        if name == "onnxruntime":
            os.kill(os.getpid(), signal.SIGKILL)
sys.meta_path.insert(0, Killer)
from jinabert_onnx.corpus.ray_worker import Worker
Worker(*pickle.load(sys.stdin.buffer))({"position": [0]})
"""
    arguments = pickle.dumps((plan, [SHARD], tmp_path, LOADING, __version__))
    for _ in range(ATTEMPTS):
        ended = subprocess.run([sys.executable, "-c", dies], input=arguments, check=False)
        assert ended.returncode == -signal.SIGKILL
    told = failure(plan, tmp_path)
    assert f"shard-000000 (rows 0 to 1) ended {ATTEMPTS} workers, probably for lack of memory; give a smaller" in told


def test_without_ray_the_command_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("one\ntwo")
    run = (
        "import sys; sys.modules['ray'] = None; from jinabert_onnx.cli import main\n"
        f"sys.exit(main(['embed', {str(TRAINED)!r}, '--input', 'texts.txt', '--output', 'o.npy', '--engine', 'ray']))"
    )
    found = run_python("-c", run, cwd=tmp_path)
    assert found.returncode == 1
    assert "error: --engine ray needs Ray" in found.stderr
    assert "pip install 'jinabert-onnx[cpu,ray]'" in found.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["texts.txt"]
