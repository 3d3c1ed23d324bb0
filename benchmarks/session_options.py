"""Which level of onnxruntime's graph optimisation to load a bundle with: load time, then milliseconds a run.

    python benchmarks/session_options.py BUNDLE [--precision fp32 int8]

The runtime's choice (`jinabert_onnx.engine.session`) follows from this table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from jinabert_onnx.bundle.manifest import open_bundle
from timing import finish, interleaved

SHAPES = ((1, 16, 25), (1, 128, 15), (8, 128, 5), (1, 512, 5), (1, 2048, 2))  # batch, tokens, repeats
LEVELS = onnxruntime.GraphOptimizationLevel
OPTIONS: dict[str, tuple[Any, list[str]]] = {
    "disabled": (LEVELS.ORT_DISABLE_ALL, []),
    "basic": (LEVELS.ORT_ENABLE_BASIC, []),
    "extended": (LEVELS.ORT_ENABLE_EXTENDED, []),
    "extended, no SkipLayerNorm": (LEVELS.ORT_ENABLE_EXTENDED, ["SkipLayerNormFusion"]),
    "all": (LEVELS.ORT_ENABLE_ALL, []),
}


def load(path: Path, level: Any, left_out: list[str]) -> Any:
    """A session on two threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    options.graph_optimization_level = level
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"], disabled_optimizers=left_out)


def runner(session: Any, batch: int, tokens: int, vocabulary: int) -> Callable[[], object]:
    """A run of one batch of random tokens."""
    ids = np.random.default_rng(0).integers(vocabulary, size=(batch, tokens))
    return lambda: session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})


def measure(path: Path, vocabulary: int) -> dict[str, dict[str, float]]:
    """Seconds to load and milliseconds a shape, by option."""
    table: dict[str, dict[str, float]] = {}
    sessions = {}
    for name, (level, left_out) in OPTIONS.items():
        start = time.perf_counter()
        sessions[name] = load(path, level, left_out)
        table[name] = {"load_seconds": round(time.perf_counter() - start, 2)}
    for batch, tokens, repeats in SHAPES:
        runs = {name: runner(session, batch, tokens, vocabulary) for name, session in sessions.items()}
        for name, milliseconds in interleaved(runs, repeats).items():
            table[name][f"{batch} x {tokens}"] = milliseconds
    return table


def main() -> None:
    """Measure and print a table for each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", nargs="+", default=["fp32", "int8"])
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    results = {}
    for precision in arguments.precision:
        path = bundle.path / bundle.files_of(precision)[0]
        results[precision] = measure(path, bundle.manifest.model.vocab_size)
        columns = list(results[precision]["basic"])
        print(f"\n{precision:<28}" + "".join(f"{column:>14}" for column in columns))
        for name, row in results[precision].items():
            print(f"{name:<28}" + "".join(f"{row[column]:>14}" for column in columns))
    finish("session_options", results)


if __name__ == "__main__":
    main()
