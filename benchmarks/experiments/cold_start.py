"""Cold start: process start to the first vector of a 16-token text, in fresh processes with the files cached.

    python benchmarks/experiments/cold_start.py BUNDLE [--precision int8] [--repeats 15]

The first process of each precision hashes the files, which is remembered, and warms their cache; it is not counted.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np
from jinabert_onnx.bench.children import Place
from jinabert_onnx.bench.cold_start import TOKENS, measure_cold_starts
from jinabert_onnx.bench.machine import result_line
from jinabert_onnx.bench.plan import Configuration
from jinabert_onnx.bench.texts import TextMaker

LIMIT_MILLISECONDS = 500  # for int8 of base size


def measure(bundle: Path, precisions: list[str], threads: int, repeats: int) -> dict[str, dict[str, float]]:
    """Return the median milliseconds of each step, and `total`, by precision; the processes of all take turns."""
    configurations = [Configuration(precision, "cpu", threads) for precision in precisions]
    text = TextMaker(bundle).make(TOKENS, np.random.default_rng(0))
    found = measure_cold_starts(configurations, Place(str(bundle), None), text, repeats, lambda: None)
    rows = {start.precision: [{**run, "total": sum(run.values())} for run in start.processes] for start in found}
    return {precision: _medians(runs) for precision, runs in rows.items()}


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(1000 * statistics.median(run[name] for run in runs), 1) for name in runs[0]}


def main() -> None:
    """Measure and print one line a precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", nargs="+", default=["int8"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    results = measure(arguments.bundle, arguments.precision, arguments.threads, arguments.repeats)
    for precision, row in results.items():
        print(f"{precision:<6}" + "".join(f"  {name} {value:g}" for name, value in row.items()) + "   (milliseconds)")
    if "int8" in results:
        print(f"int8: {results['int8']['total']:.0f} ms; at base size at most {LIMIT_MILLISECONDS} are wanted")
    print(result_line("cold_start", results))


if __name__ == "__main__":
    main()
