"""The cluster gives what this process alone gives: row for row, whatever is lost on the way."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import NODES, OTHER, PATIENCE, LiveCluster, done, planned, start
from support.live_server import wait_for
from support.paths import TRAINED

WORDS = ["Der", "Bahnhof", "ist", "links", "the", "printer", "does", "not", "work", "und", "das", "Wetter", "bleibt"]


def text(number: int) -> str:
    """Ragged: 0 to 160 words, in no order of length."""
    return " ".join(WORDS[(number + index) % len(WORDS)] for index in range(number * 37 % 161))


def json_lines(path: Path, rows: int, good: bool = False) -> Path:
    """Every 50th row is bad, in one of three ways, or all are good."""
    lines = [json.dumps({"text": text(row), "id": row}) for row in range(rows)]
    for row in () if good else range(0, rows, 50):
        lines[row] = ("{", '{"text": null}', '{"id": 1}')[row // 50 % 3]
    path.write_text("\n".join(lines), "utf-8")
    return path


def parquet(path: Path, rows: int) -> Path:
    texts = [None if row % 50 == 0 else text(row) for row in range(rows)]
    pq.write_table(pa.table({"body": texts, "id": range(rows)}), path, row_group_size=100)
    return path


def local(source: Path, output: Path, *options: str) -> Path:
    command = start(TRAINED, source, output, *options)
    assert command.end() == 0, command.told
    return output


def require_same(found: Path, expected: Path) -> None:
    """Equal vectors in equal order, columns and metadata; equal lists of rows set aside; nothing else left."""
    tables = pq.read_table(found), pq.read_table(expected)
    assert tables[0].equals(tables[1], check_metadata=True)
    rejected = [path.with_name(f"{path.name}.rejected.jsonl").read_text("utf-8") for path in (found, expected)]
    assert rejected[0] == rejected[1]
    assert len(rejected[0].splitlines()) > 1
    assert not found.with_name(f"{found.name}.parts").exists()


def test_json_lines_in_fp32_give_the_rows_of_the_local_engine(cluster: LiveCluster, tmp_path: Path) -> None:
    source = json_lines(tmp_path / "texts.jsonl", 160, good=True)
    command = start(TRAINED, source, tmp_path / "ray.npy", address=cluster.address)
    assert command.end() == 0, command.told
    assert command.stdout.read_bytes() == b""
    assert "Ray: 3 workers of 1 CPU each" in command.told
    expected = np.load(local(source, tmp_path / "local.npy"))
    np.testing.assert_array_equal(np.load(tmp_path / "ray.npy"), expected)
    assert len(expected) == 160
    assert not (tmp_path / "ray.npy.parts").exists()


def test_parquet_in_int8_gives_the_rows_and_columns_of_the_local_engine(cluster: LiveCluster, tmp_path: Path) -> None:
    source = parquet(tmp_path / "texts.parquet", 160)
    options = ("--precision", "int8", "--text-column", "body", "--keep", "id", "--normalize")
    command = start(TRAINED, source, tmp_path / "ray.parquet", *options, address=cluster.address)
    assert command.end() == 0, command.told
    require_same(tmp_path / "ray.parquet", local(source, tmp_path / "local.parquet", *options))


def test_a_node_that_is_killed_on_the_way_costs_no_row(cluster: LiveCluster, tmp_path: Path) -> None:
    source = json_lines(tmp_path / "texts.jsonl", 1600)
    output = tmp_path / "ray.parquet"
    command = start(TRAINED, source, output, address=cluster.address)
    wait_for(lambda: done(output) > 3 or command.process.poll() is not None, PATIENCE)
    cluster.kill_node()
    try:
        assert command.process.poll() is None
        assert done(output) < 100  # of as many shards
        assert command.end() == 0, command.told
    finally:
        cluster.add_node()
    assert "Ray: 3 workers of 1 CPU each" in command.told  # one of them on the node that was lost
    require_same(output, local(source, tmp_path / "local.parquet"))


def test_a_command_that_was_killed_goes_on_where_it_was(cluster: LiveCluster, tmp_path: Path) -> None:
    source = json_lines(tmp_path / "texts.jsonl", 800)
    output = tmp_path / "ray.parquet"
    first = start(TRAINED, source, output, address=cluster.address)
    wait_for(lambda: done(output) > 3 or first.process.poll() is not None, PATIENCE)
    first.kill()
    assert not output.exists()
    second = start(TRAINED, source, output, address=cluster.address)
    assert second.end() == 0, second.told
    went_on = re.search(r"going on: (\d+) of 50 shards are done", second.told)
    assert went_on is not None, second.told
    assert 3 < int(went_on[1]) < 50
    require_same(output, local(source, tmp_path / "local.parquet"))


def test_what_goes_wrong_on_a_node_is_one_line_and_leaves_nothing(cluster: LiveCluster, tmp_path: Path) -> None:
    """The bundle is exchanged after the command has read it and before the workers do, some seconds later."""
    bundle = tmp_path / "bundle"
    shutil.copytree(TRAINED, bundle)
    source = json_lines(tmp_path / "texts.jsonl", 160)
    output = tmp_path / "ray.parquet"
    command = start(bundle, source, output, address=cluster.address)
    wait_for(lambda: planned(output) or command.process.poll() is not None, PATIENCE)
    bundle.rename(tmp_path / "before")
    shutil.copytree(OTHER, bundle)
    assert command.end() == 1
    errors = [line for line in command.told.splitlines() if line.startswith("jinabert-onnx: error")]
    assert len(errors) == 1, command.told
    assert re.fullmatch(
        r"jinabert-onnx: error: \S+: its bundle is a different one: fingerprint \S+, not \S+; give .*", errors[0]
    )
    assert "Traceback" not in command.told
    assert list(tmp_path.glob("ray.parquet*")) == []  # no shard was done


def test_a_node_without_us_is_one_line(cluster: LiveCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shadow = tmp_path / "path" / "jinabert_onnx.py"
    shadow.parent.mkdir()
    shadow.write_text("raise ModuleNotFoundError('No module named jinabert_onnx')")
    with monkeypatch.context() as environment:
        environment.setenv("PYTHONPATH", str(shadow.parent))
        cluster.add_node()
    try:
        source = json_lines(tmp_path / "texts.jsonl", 1600)
        command = start(TRAINED, source, tmp_path / "ray.parquet", address=cluster.address)
        assert command.end() == 1
    finally:
        cluster.kill_node()
    told = "error: a node cannot start workers (ModuleNotFoundError: No module named jinabert_onnx); install"
    assert told in command.told


def test_a_shard_may_take_longer_than_ray_data_waits_for_progress(
    cluster: LiveCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half an hour by default; here less than the workers take to start."""
    monkeypatch.setenv("RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S", "0.1")
    source = json_lines(tmp_path / "texts.jsonl", 40)
    command = start(TRAINED, source, tmp_path / "ray.parquet", address=cluster.address)
    assert command.end() == 0, command.told


def test_what_ray_data_raises_is_one_line(
    cluster: LiveCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of its own, which is none of `ray.exceptions`, raised where it raises it."""
    (tmp_path / "callback.py").write_text(
        "from ray.data._internal.execution.execution_callback import ExecutionCallback\n"
        "from ray.data.exceptions import ExecutionTimeoutError\n"
        "class Fails(ExecutionCallback):\n"
        "    def on_execution_step(self, executor):\n"
        "        raise ExecutionTimeoutError('no progress\\nof many lines')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("RAY_DATA_EXECUTION_CALLBACKS", "callback.Fails")
    source = json_lines(tmp_path / "texts.jsonl", 40)
    command = start(TRAINED, source, tmp_path / "ray.parquet", address=cluster.address)
    assert command.end() == 1
    assert "error: Ray: ExecutionTimeoutError: no progress; its logs are in /tmp/ray on each node" in command.told
    assert "Traceback" not in command.told
    assert not planned(tmp_path / "ray.parquet")


def test_a_full_cluster_ends_the_wait(cluster: LiveCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With less patience than the command has, which is minutes."""
    patience = "from jinabert_onnx.corpus import ray_engine as e; e._LOOK, e._NO_ROOM = 0.5, 2.0"
    (tmp_path / "sitecustomize.py").write_text(patience)
    source = json_lines(tmp_path / "texts.jsonl", 1600)
    output = tmp_path / "ray.parquet"
    with monkeypatch.context() as environment:
        environment.setenv("PYTHONPATH", str(tmp_path))
        command = start(TRAINED, source, output, address=cluster.address)
    wait_for(lambda: done(output) > 3 or command.process.poll() is not None, PATIENCE)
    for _ in range(NODES):
        cluster.kill_node()
    try:
        assert command.process.poll() is None
        assert command.end() == 1
    finally:
        for _ in range(NODES):
            cluster.add_node()
        cluster.cluster.wait_for_nodes()
    assert "error: no node of the Ray cluster has had 1 CPU for a worker for 2 seconds; start nodes" in command.told
    assert "Traceback" not in command.told
    assert re.search(r"failed; \d+ of 100 shards are done; run the same command again to resume", command.told)
    assert planned(output)


@pytest.mark.parametrize(
    ("address", "options", "told"),
    [
        ("ray://127.0.0.1:1", (), "error: RAY_ADDRESS is ray://127.0.0.1:1, of a Ray Client; run this on a node"),
        ("127.0.0.1:1", (), "error: no Ray cluster at 127.0.0.1:1 ([Errno 111] Connection refused); start it"),
        (None, ("--threads", "7"), "error: no node of the Ray cluster has 7 CPUs for a worker; its largest has 1 CPU"),
    ],
    ids=["a client's address", "nothing there", "nodes too small"],
)
def test_a_cluster_that_cannot_be_used_is_one_line(
    cluster: LiveCluster, tmp_path: Path, address: str | None, options: tuple[str, ...], told: str
) -> None:
    source = json_lines(tmp_path / "texts.jsonl", 40)
    command = start(TRAINED, source, tmp_path / "ray.npy", *options, address=address or cluster.address)
    assert command.end() == 1
    assert told in command.told
    assert "Traceback" not in command.told
    assert not (tmp_path / "ray.npy").exists()
