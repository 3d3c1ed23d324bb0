"""Cold start of a function on AWS Lambda, as far as a machine can tell: a fresh process to its first answer, in steps.

    jinabert-onnx lambda-zip BUNDLE function.zip
    python benchmarks/lambda_cold_start.py function.zip [another.zip ...] [--threads 2] [--repeats 15]

Each package is unpacked and run by itself. The first process of each warms the cache of files and is not counted: what
Lambda takes to fetch and unpack a package, and to start a sandbox and its client, is not in it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from itertools import pairwise
from pathlib import Path

from timing import finish

CHILD = Path(__file__).with_name("lambda_first_answer.py")


def start_once(directory: Path, threads: int) -> dict[str, float]:
    """Milliseconds of each step of one fresh process, and `total` to the first answer."""
    command = [sys.executable, "-I", "-S", "-B", str(CHILD), str(directory)]
    environment = {"LAMBDA_TASK_ROOT": str(directory), "JINABERT_ONNX_THREADS": str(threads)}
    start = time.monotonic()
    found = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    if found["usage"]["total_tokens"] != 16:
        raise SystemExit(f"{directory}: a text of {found['usage']['total_tokens']} tokens, not 16")
    clock = {"start": start} | found["clock"]
    steps = {name: (clock[name] - clock[former]) * 1000 for former, name in pairwise(clock)}
    return steps | {"total": (clock["first answer"] - start) * 1000}


def measure(package: Path, threads: int, repeats: int) -> dict[str, float]:
    """Medians of `repeats` processes, and the sizes in MB."""
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(package) as archive:
        directory = Path(name)
        archive.extractall(directory)
        rows = [start_once(directory, threads) for _ in range(repeats + 1)][1:]
        unpacked = sum(member.file_size for member in archive.infolist())
    sizes = {"zip MB": package.stat().st_size, "unpacked MB": unpacked}
    medians = {name: round(statistics.median(row[name] for row in rows), 1) for name in rows[0]}
    return medians | {name: round(size / 1e6, 1) for name, size in sizes.items()}


def main() -> None:
    """Measure and print one line a package."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, nargs="+", metavar="PACKAGE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    results = {package.stem: measure(package, arguments.threads, arguments.repeats) for package in arguments.packages}
    for name, row in results.items():
        print(f"{name}: " + "  ".join(f"{step} {value:g}" for step, value in row.items()) + "   (milliseconds)")
    finish("lambda_cold_start", results)


if __name__ == "__main__":
    main()
