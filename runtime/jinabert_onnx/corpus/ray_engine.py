"""The missing shards of a plan on a cluster, through Ray Data: each actor holds one model and writes shards by itself.

Only numbers of shards and counts travel; texts and vectors go through a file system that all nodes share. So a lost
node costs no more than the shards it was working on, which others do again. Knows nothing of columns or formats.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinabert_onnx.bundle.fingerprint import Fingerprint
from jinabert_onnx.errors import ClusterError, InputError, first_line, needed
from jinabert_onnx.progress import Progress
from jinabert_onnx.version import __version__

from .plan import ModelSource, Plan, Shard
from .ray_worker import Worker

if TYPE_CHECKING:
    from types import FrameType, ModuleType

_ANSWER = 10.0  # seconds in which a cluster's port must take a connection
_MOST_CPUS = 4  # most CPUs an actor where --threads leaves it open
_LOOK = 10.0  # seconds between looks at what nodes there are
_NO_ROOM = 300.0  # seconds without room for an actor; a cloud needs minutes for a new node
_IDLE = 0.1  # share of the CPUs that may be left over by actors of more CPUs


@dataclass(frozen=True)
class Pool:
    """How many actors, and of each the CPUs (as many threads compute) and GPUs."""

    actors: int
    cpus: int
    gpus: int


def embed(plan: Plan, shards: Sequence[Shard], directory: Path, model: ModelSource, progress: Progress) -> None:
    """Embed `shards` into `directory` on the cluster that RAY_ADDRESS names, or on this machine, in any order.

    Raises:
        MissingDependencyError: Ray is not installed here.
        InputError: RAY_ADDRESS is that of a Ray Client.
        ClusterError: the cluster cannot be reached or has no room, or a node or a shard failed; what is done stays.
    """
    if not shards:
        return
    ray = import_ray()
    with redirect_stdout(sys.stderr), _connected(ray):  # Ray tells of lost nodes on stdout, which is for results
        pool = choose_pool(_live(ray), model, len(shards))
        sys.stderr.write(f"jinabert-onnx: Ray: {_described(pool)}\n")
        with _watched(ray, pool):
            for rows in _run(ray, plan, shards, directory, model, pool):
                progress.advance(rows)


def choose_pool(nodes: Sequence[Mapping[str, float]], model: ModelSource, shards: int) -> Pool:
    """Actors for nodes with these resources ("CPU", "GPU"), no more than there are shards.

    Each has as many CPUs as `model` has threads, or with "auto" the most, up to 4, that leave over at most a tenth of
    the cluster's: fewer models need less memory, and more than a few threads compute no better than more models.

    Raises:
        ClusterError: no node has room for an actor.
    """
    gpus = 1 if model.options.provider == "cuda" else 0
    sizes = [int(node.get("CPU", 0)) for node in nodes]
    threads = model.options.threads
    cpus = threads if isinstance(threads, int) else _cpus_of_an_actor(sizes)
    actors = _room(nodes, cpus, gpus)
    if not actors:
        largest = _cpus(max(sizes, default=0))
        raise ClusterError(
            f"no node of the Ray cluster has {_size(cpus, gpus)} for a worker; its largest has {largest}"
        )
    return Pool(min(actors, shards), cpus, gpus)


def _room(nodes: Sequence[Mapping[str, float]], cpus: int, gpus: int) -> int:
    """Actors of so many CPUs and GPUs that nodes with these resources can hold."""
    sizes = [(int(node.get("CPU", 0)), int(node.get("GPU", 0))) for node in nodes]
    return sum(min(node // cpus, node_gpus // gpus) if gpus else node // cpus for node, node_gpus in sizes)


def _live(ray: ModuleType) -> list[Mapping[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _cpus_of_an_actor(nodes: Sequence[int]) -> int:
    for cpus in range(_MOST_CPUS, 1, -1):
        if sum(node // cpus * cpus for node in nodes) >= (1 - _IDLE) * sum(nodes) > 0:
            return cpus
    return 1


def _run(
    ray: ModuleType, plan: Plan, shards: Sequence[Shard], directory: Path, model: ModelSource, pool: Pool
) -> Iterator[int]:
    """The rows of each shard that is done. Raises ClusterError, whatever Ray Data raises."""
    try:
        for row in _results(ray, plan, shards, directory, model, pool).iter_rows():
            if row["failure"]:
                raise ClusterError(row["failure"])
            yield row["rows"]
    except ClusterError:
        raise
    except Exception as error:
        raise ClusterError(_said_by_ray(error)) from error


def _results(
    ray: ModuleType, plan: Plan, shards: Sequence[Shard], directory: Path, model: ModelSource, pool: Pool
) -> Any:
    """The work as a data set of Ray Data; lost actors and their tasks start anew, which it does for ever."""
    positions = ray.data.from_items(
        [{"position": position} for position in range(len(shards))], override_num_blocks=len(shards)
    )
    if hasattr(positions.context, "execution_no_progress_timeout_s"):  # older Ray has none
        positions.context.execution_no_progress_timeout_s = -1  # of this data set alone; a shard may take hours
    return positions.map_batches(
        Worker,
        batch_size=1,
        # One task at a time: what waits at an actor cannot go to another that is free.
        compute=ray.data.ActorPoolStrategy(size=pool.actors, max_tasks_in_flight_per_actor=1),
        fn_constructor_args=(plan, tuple(shards), directory.resolve(), _for_actors(plan, model, pool), __version__),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus,
    )


@contextmanager
def _watched(ray: ModuleType, pool: Pool) -> Iterator[None]:
    """Fail once no live node has had room for an actor for a while: Ray Data would wait for ever, in silence.

    Ends the wait as Ctrl-C does, which Ray heeds wherever it is. So it works in the main thread, and not on Windows.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    had_room, lost = time.monotonic(), False

    def look(number: int, frame: FrameType | None) -> None:
        nonlocal had_room, lost
        with suppress(Exception):  # a head that does not answer is Ray's to notice
            if _room(_live(ray), pool.cpus, pool.gpus):
                had_room = time.monotonic()
        if time.monotonic() - had_room > _NO_ROOM:
            lost = True
            raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, look)
    timer = signal.setitimer(signal.ITIMER_REAL, _LOOK, _LOOK)
    try:
        yield
    except KeyboardInterrupt:
        if not lost:
            raise
        wanted = _size(pool.cpus, pool.gpus)
        raise ClusterError(
            f"no node of the Ray cluster has had {wanted} for a worker for {_NO_ROOM:.0f} seconds; "
            "start nodes and run the same command again"
        ) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, handler)


def import_ray() -> ModuleType:
    """Ray with Ray Data, which tells nobody of its use.

    Raises:
        MissingDependencyError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its core writes to stderr what no reader can act on
    with needed("--engine ray needs Ray", "cpu,ray", "install it on every node"):
        import ray
        import ray.data
    found: ModuleType = ray
    return found


@contextmanager
def _connected(ray: ModuleType) -> Iterator[None]:
    """A connection for as long as the block runs; one that the caller has already is used and left."""
    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS", "")
    _require_answer(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ClusterError(f"Ray: {first_line(error)}; start a cluster with `ray start`, or set RAY_ADDRESS") from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray's own would end the process with another exit code
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Refuse an address where nothing listens: Ray itself would wait for minutes."""
    if "://" in address:
        raise InputError(
            f"RAY_ADDRESS is {address}, of a Ray Client; run this on a node of the cluster, with RAY_ADDRESS=auto"
        )
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return  # "auto", or nothing: Ray looks for a cluster on this machine
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"no Ray cluster at {address} ({error}); start it, or set another RAY_ADDRESS") from error


def _for_actors(plan: Plan, model: ModelSource, pool: Pool) -> ModelSource:
    """Return what an actor loads: in the plan's precision, because each node would choose "auto" by its processor."""
    place = Path(model.source)
    precision = Fingerprint.parse(plan.fingerprint).precision
    return ModelSource(
        str(place.resolve()) if place.is_dir() else model.source,
        replace(model.options, precision=precision, threads=pool.cpus),
    )


def _said_by_ray(error: BaseException) -> str:
    """One line. Actors do nothing when they are made: what fails there is that a node cannot read what they are."""
    if isinstance(error, ImportError) or "creation task" in str(error):
        last = str(error).strip().splitlines()[-1]
        return f"a node cannot start workers ({last}); install jinabert-onnx[cpu,ray] {__version__} on every node"
    return f"Ray: {type(error).__name__}: {first_line(error)}; its logs are in /tmp/ray on each node"


def _described(pool: Pool) -> str:
    workers = "1 worker" if pool.actors == 1 else f"{pool.actors} workers"
    return f"{workers} of {_size(pool.cpus, pool.gpus)} each"


def _size(cpus: int, gpus: int) -> str:
    return f"{_cpus(cpus)}{' and a GPU' if gpus else ''}"


def _cpus(count: int) -> str:
    return "1 CPU" if count == 1 else f"{count} CPUs"
