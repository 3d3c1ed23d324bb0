"""The CPU threads that this process may actually use, and whether its CPU is fast at int8.

Containers get a share of a machine and still see all of it: the limits stand in files of the operating system.
Knows nothing of models or onnxruntime. Files that are missing, unreadable or malformed set no limit and raise nothing.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jinabert_onnx.errors import InputError
from jinabert_onnx.foreign_errors import is_from_reading

THREADS_VARIABLE = "JINABERT_ONNX_THREADS"
MAX_THREADS = 1024
_OPENMP_VARIABLE = "OMP_NUM_THREADS"

# Instruction sets, as Linux names them, with which onnxruntime's int8 products are faster than its float32 ones, best
# first. AVX2 alone gives a factor of about 2, the others more.
_X86_INT8 = ("amx_int8", "avx512_vnni", "avx_vnni", "avx2")
_ARM_INT8 = ("i8mm", "asimddp")
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}  # names of other systems, in Linux's words


@dataclass(frozen=True)
class ThreadCount:
    """A number of threads, and in words where it comes from."""

    threads: int
    reason: str


@dataclass(frozen=True)
class CpuFeatures:
    """Features of this CPU.

    `int8` is the instruction set that makes int8 products faster than float32 ones, as Linux names it; None where
    there is none or it is not known. `description` says the same in words.
    """

    architecture: str
    int8: str | None
    description: str


def available_threads(environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> ThreadCount:
    """Compute the number of threads to use: the least of CPU affinity, cgroup quota and `OMP_NUM_THREADS`.

    `JINABERT_ONNX_THREADS`, where set, is taken instead. `root` is where `/proc` and the cgroup mounts are looked for.
    cpusets are not read: the affinity that Linux reports lies within them.

    Raises:
        InputError: `JINABERT_ONNX_THREADS` is not a whole number from 1 to 1024.
    """
    configured = environment.get(THREADS_VARIABLE, "").strip()
    if configured:
        return ThreadCount(_parse_threads(configured), THREADS_VARIABLE)
    limits = [_affinity(), *map(_within_quota, _quotas(root)), *_openmp_limit(environment)]
    return min(limits, key=lambda limit: limit.threads)


def cpu_features(root: Path = Path("/"), system: str = sys.platform, machine: str | None = None) -> CpuFeatures:
    """Read what the CPU can do, from `/proc/cpuinfo` under `root` on Linux.

    `system` and `machine` default to this one's `sys.platform` and `platform.machine()`. On macOS every 64-bit ARM CPU
    has the dot product; on other systems nothing is known.
    """
    name = (machine or platform.machine()).lower()
    architecture = _MACHINES.get(name, name)
    if system == "darwin" and architecture == "aarch64":
        return _describe(architecture, _ARM_INT8, {"asimddp"})
    key, fast = ("Features", _ARM_INT8) if architecture == "aarch64" else ("flags", _X86_INT8)
    return _describe(architecture, fast, _cpuinfo_flags(_read(root / "proc/cpuinfo"), key))


def _describe(architecture: str, fast: Sequence[str], flags: set[str]) -> CpuFeatures:
    if not flags:
        return CpuFeatures(architecture, None, f"{architecture or 'a CPU'} with unknown instruction sets")
    int8 = next((name for name in fast if name in flags), None)
    return CpuFeatures(
        architecture, int8, f"{architecture} with {int8}" if int8 else f"{architecture} without {fast[-1]}"
    )


def _cpuinfo_flags(text: str, key: str) -> set[str]:
    """Return the flags that every processor in `/proc/cpuinfo` has: cores may differ, and a thread runs on any."""
    fields = (line.partition(":") for line in text.splitlines())
    flags = [set(value.split()) for name, _, value in fields if name.strip() == key]
    return set.intersection(*flags) if flags else set()


def _affinity() -> ThreadCount:
    if hasattr(os, "sched_getaffinity"):
        threads = len(os.sched_getaffinity(0))
        return ThreadCount(threads, f"CPU affinity of {threads}")
    threads = getattr(os, "process_cpu_count", os.cpu_count)() or 1  # the former from Python 3.13 on
    return ThreadCount(threads, f"{threads} CPUs")


def _openmp_limit(environment: Mapping[str, str]) -> list[ThreadCount]:
    """Read OMP_NUM_THREADS, which may list one number for each level of nesting."""
    threads = _number(environment.get(_OPENMP_VARIABLE, "").partition(",")[0])
    return [ThreadCount(threads, _OPENMP_VARIABLE)] if threads else []


def _parse_threads(text: str) -> int:
    threads = _number(text)
    if threads is None or not 1 <= threads <= MAX_THREADS:
        raise InputError(
            f"{THREADS_VARIABLE} is {text!r}; set it to a whole number from 1 to {MAX_THREADS}, or unset it"
        )
    return threads


def _number(text: str) -> int | None:
    """Parse a whole number; None for anything else, also for more digits than any limit has."""
    return int(text) if re.fullmatch(r"\s*[0-9]{1,18}\s*", text) else None


def _within_quota(cpus: float) -> ThreadCount:
    # Rounded to the nearest. A quota is time in each period of 100 ms: threads that together need more are all stopped
    # until the next one, some in the middle of a product that the others wait for, and the server around them too. Of
    # a base-size model in int8, a second thread made long texts 15 % slower under 1.1 CPUs, 11 % slower under 1.25,
    # 15 % faster under 1.5.
    return ThreadCount(max(1, int(cpus + 0.5)), f"cgroup quota of {cpus:g} CPU{'' if cpus == 1 else 's'}")


def _quotas(root: Path) -> Iterator[float]:
    """Yield the CPUs that each cgroup of this process allows, the parents' included, in either version of cgroups."""
    paths = _cgroup_paths(_read(root / "proc/self/cgroup"))
    for controller, mounted, place in _cgroup_mounts(_read(root / "proc/self/mountinfo")):
        top = root / place.lstrip("/")
        for folder in _ancestors(paths.get(controller, "/"), mounted):
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controller else ("cpu.max",)
            quota = _cpus(" ".join(_read(top / folder / name) for name in names))
            if quota:
                yield quota


def _cgroup_paths(text: str) -> dict[str, str]:
    """Parse `/proc/self/cgroup`: the path of this process by controller; version 2's has the name ""."""
    paths: dict[str, str] = {}
    for line in text.split("\n"):
        fields = line.split(":", 2)
        if len(fields) == 3:
            paths |= dict.fromkeys(fields[1].split(","), fields[2])
    return paths


def _cgroup_mounts(text: str) -> Iterator[tuple[str, str, str]]:
    """Parse `/proc/self/mountinfo`: (controller, mounted cgroup, mount point); version 2's controller is ""."""
    for line in text.split("\n"):
        mount, _, filesystem = line.partition(" - ")
        kind, _, options = [*filesystem.split(" "), "", "", ""][:3]
        fields = mount.split(" ")
        if len(fields) < 5:
            continue
        if kind == "cgroup2":
            yield "", fields[3], fields[4]
        elif kind == "cgroup" and "cpu" in options.split(","):
            yield "cpu", fields[3], fields[4]


def _ancestors(path: str, mounted: str) -> list[PurePosixPath]:
    """List `path` and its parents relative to the mount of `mounted`; in a container often only that mount."""
    whole, top = PurePosixPath(path), PurePosixPath(mounted)
    if ".." in whole.parts or not whole.is_absolute():  # outside of this process's cgroup namespace
        return [PurePosixPath()]
    # Without namespaces the path is the host's, of which the mount may show nothing: then files are missing, and
    # only the mount itself, where all parents end, has any.
    inside = whole.relative_to(top) if whole.is_relative_to(top) else PurePosixPath(path.lstrip("/"))
    return [inside, *inside.parents]


def _cpus(quota_and_period: str) -> float | None:
    """Compute CPUs from the two numbers; None where there is no limit ("max", or -1)."""
    numbers = [_number(word) for word in quota_and_period.split()]
    quota, period = numbers if len(numbers) == 2 else (None, None)
    return quota / period if quota and period else None


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte, from a malformed file
        if not is_from_reading(error):
            raise
        return ""
