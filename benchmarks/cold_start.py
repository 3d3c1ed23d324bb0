"""Cold start: process start to the first vector of a 16-token text, in fresh processes with the files cached.

    python benchmarks/cold_start.py BUNDLE [--precision int8] [--repeats 15]

The first process of each precision hashes the files, which is remembered, and warms their cache; it is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

from first_vector import TOKENS
from timing import finish

CHILD = Path(__file__).with_name("first_vector.py")
LIMIT_MILLISECONDS = 500  # for int8 of base size


def start_once(bundle: Path, precision: str, threads: int) -> dict[str, float]:
    """Milliseconds of each step of one fresh process, and `total`."""
    command = [sys.executable, str(CHILD), str(bundle), precision, str(threads)]
    start = time.monotonic()
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    if not answer["finite"] or answer["tokens"] != TOKENS:
        raise SystemExit(f"{precision}: a text of {answer['tokens']} tokens, or its vector is not finite")
    clock = {"start": start} | answer["clock"]
    steps = {name: (clock[name] - clock[former]) * 1000 for former, name in pairwise(clock)}
    return steps | {"total": (clock["first run"] - start) * 1000}


def measure(bundle: Path, precision: str, threads: int, repeats: int) -> dict[str, float]:
    """Medians of `repeats` processes, after one to warm the file cache."""
    rows = [start_once(bundle, precision, threads) for _ in range(repeats + 1)][1:]
    return {name: round(statistics.median(row[name] for row in rows), 1) for name in rows[0]}


def main() -> None:
    """Measure and print one line a precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", nargs="+", default=["int8"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    results = {
        precision: measure(arguments.bundle, precision, arguments.threads, arguments.repeats)
        for precision in arguments.precision
    }
    for precision, row in results.items():
        print(f"{precision:<6}" + "".join(f"  {name} {value:g}" for name, value in row.items()) + "   (milliseconds)")
    if "int8" in results:
        print(f"int8: {results['int8']['total']:.0f} ms; at base size at most {LIMIT_MILLISECONDS} are wanted")
    finish("cold_start", results)


if __name__ == "__main__":
    main()
