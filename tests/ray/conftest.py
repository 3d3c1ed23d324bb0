"""A Ray cluster of several nodes in this machine, and the command line run against it as users do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
from ray.cluster_utils import Cluster
from support.paths import BUNDLES

OTHER = BUNDLES / "plain-4h"
PATIENCE = 120.0  # seconds that nothing here should take
STORE = 80 << 20  # bytes of a node's object store, nearly the least that Ray allows; shards do not go through it
NODES = 3


@dataclass
class LiveCluster:
    """A head without CPUs, so that it has no worker, and nodes of one CPU each."""

    cluster: Cluster
    nodes: list[Any] = field(default_factory=list)

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def add_node(self) -> None:
        self.nodes.append(self.cluster.add_node(num_cpus=1, object_store_memory=STORE))

    def kill_node(self) -> None:
        """End all processes of a node by SIGKILL."""
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)


@pytest.fixture(scope="session")
def cluster() -> Iterator[LiveCluster]:
    """Nodes that do not answer are given up after some seconds, not half a minute."""
    head = {
        "num_cpus": 0,
        "object_store_memory": STORE,
        "include_dashboard": False,
        "_system_config": {"health_check_period_ms": 500, "health_check_failure_threshold": 4},
    }
    live = LiveCluster(Cluster(initialize_head=True, head_node_args=head))
    for _ in range(NODES):
        live.add_node()
    live.cluster.wait_for_nodes()
    yield live
    live.cluster.shutdown()


@dataclass
class Command:
    """A running `jinabert-onnx embed`, with what it writes in files beside its output."""

    process: subprocess.Popen[bytes]
    stdout: Path
    stderr: Path

    def end(self) -> int:
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    @property
    def told(self) -> str:
        return self.stderr.read_text("utf-8")


def start(bundle: Path, source: Path, output: Path, *options: str, address: str | None = None) -> Command:
    """Embed on the cluster at `address`, or without Ray."""
    stdout, stderr = output.with_suffix(".stdout"), output.with_suffix(".stderr")
    command = [sys.executable, "-m", "jinabert_onnx", "embed", str(bundle)]
    command += ["--input", str(source), "--output", str(output), "--shard-rows", "16", *options]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    if address is not None:
        command += ["--engine", "ray"]
        environment["RAY_ADDRESS"] = address
    with stdout.open("wb") as out, stderr.open("wb") as err:
        return Command(subprocess.Popen(command, stdout=out, stderr=err, env=environment), stdout, stderr)


def done(output: Path) -> int:
    """Shards of an unfinished output that are done."""
    return len(list(output.with_name(f"{output.name}.parts").glob("shard-*[0-9].json")))


def planned(output: Path) -> bool:
    return output.with_name(f"{output.name}.parts").joinpath("plan.json").exists()
