"""What was measured on: processor, memory, system, versions. No names of hosts or people.

Files that are missing tell nothing and raise nothing.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jinabert_onnx.engine import cpu
from jinabert_onnx.version import __version__

_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "numpy", "tokenizers")


@dataclass(frozen=True)
class Machine:
    """A machine as a program sees it.

    Attributes:
        cpu: the processor's name; features: what it can do for int8.
        cpus: threads that this process may use; cpus_reason: what sets their number.
        memory: bytes in all, of the container where it is limited; None where it is not known.
        system: operating system and release.
        load: the mean number of running processes over the minute before; None where it is not known.
    """

    cpu: str
    features: str
    cpus: int
    cpus_reason: str
    memory: int | None
    system: str
    load: float | None


def describe() -> Machine:
    """Return the machine as it is now.

    Raises:
        InputError: `JINABERT_ONNX_THREADS` is no number.
    """
    threads = cpu.available_threads()
    return Machine(
        cpu=_cpu_name(),
        features=cpu.cpu_features().description,
        cpus=threads.threads,
        cpus_reason=threads.reason,
        memory=_least(_meminfo("MemTotal"), _container_memory()[0]),
        system=f"{platform.system()} {platform.release().split('-')[0]}",
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def versions() -> dict[str, str]:
    """Return releases of what the times depend on."""
    found = {"jinabert-onnx": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def result_line(benchmark: str, results: object) -> str:
    """Return what a script ends with: one line of JSON, with the machine, the releases and `results`."""
    return json.dumps({"benchmark": benchmark, "machine": asdict(describe()) | versions(), "results": results})


def available_memory() -> int | None:
    """Return bytes that this process could come to hold beside what others do; None where it is not known."""
    limit, used = _container_memory()
    return _least(_meminfo("MemAvailable"), None if limit is None else max(0, limit - (used or 0)))


def _cpu_name() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _meminfo(field: str) -> int | None:
    for line in _read("/proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    return None


def _container_memory() -> tuple[int | None, int | None]:
    """Limit and use in bytes of the container, without cached files, of either version of cgroups, seen from inside."""
    for folder, limit, used, prefix in (
        ("/sys/fs/cgroup/", "memory.max", "memory.current", ""),
        ("/sys/fs/cgroup/memory/", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        text = _read(folder + limit).strip()
        if text.isdecimal():
            now = _read(folder + used).strip()
            return int(text), max(0, int(now) - _cached(folder, prefix)) if now.isdecimal() else None
    return None, None


def _cached(folder: str, prefix: str) -> int:
    """Bytes of files that a container keeps in memory, and gives back where others need it."""
    names = (f"{prefix}inactive_file", f"{prefix}active_file")
    lines = (line.split() for line in _read(folder + "memory.stat").splitlines())
    return sum(int(line[1]) for line in lines if len(line) == 2 and line[0] in names)


def _least(*sizes: int | None) -> int | None:
    return min((size for size in sizes if size is not None), default=None)


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return ""
