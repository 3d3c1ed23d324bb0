"""Timing on machines that others use too: everything interleaved, medians, and what the machine is."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path


def interleaved(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each function, after one run to warm up, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat:
                times[name].append((time.perf_counter() - start) * 1000)
    return {name: round(statistics.median(values), 2) for name, values in times.items()}


def machine() -> dict[str, object]:
    """The processor and the versions, for the results."""
    return {
        "cpu": _cpu_name(),
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    } | {name: version(name) for name in ("numpy", "onnxruntime", "tokenizers")}


def finish(name: str, results: object) -> None:
    """Print the last line, JSON with everything."""
    print(json.dumps({"benchmark": name, "machine": machine(), "results": results}))


def _cpu_name() -> str:
    flags = ("avx2", "avx512f", "avx512_vnni", "amx_int8")
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    held = [flag for flag in flags if flag in fields.get("flags", "").split()]
    return f"{fields.get('model name', platform.processor())} ({', '.join(held)})"
