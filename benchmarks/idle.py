"""CPU that a call leaves behind: what idle threads burn after it, with this project's session options and with
onnxruntime's own.

    python benchmarks/idle.py BUNDLE [--precision int8] [--calls 40]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.engine.background import BackgroundCall
from jinabert_onnx.engine.session_options import create_session
from timing import finish

WAIT_SECONDS = 0.1


def runner(session: onnxruntime.InferenceSession) -> Callable[[], object]:
    """A run of one text of 16 tokens."""
    ids = np.arange(16, dtype=np.int64)[None]
    return lambda: session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})


def left_behind(run: Callable[[], object]) -> float:
    """Milliseconds of CPU in a tenth of a second after one run."""
    run()
    before = time.process_time()
    time.sleep(WAIT_SECONDS)
    return (time.process_time() - before) * 1000


def main() -> None:
    """Take turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--calls", type=int, default=40)
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    path = bundle.path / bundle.files_of(arguments.precision)[0]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    stock = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    with BackgroundCall(lambda: create_session(onnxruntime, path, arguments.precision, 2, ["cpu"])) as loading:
        ours = loading.result()
    runs = {"onnxruntime's options": runner(stock), "jinabert-onnx": runner(ours)}
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(arguments.calls):
        for name, run in runs.items():
            found[name].append(left_behind(run))
    results = {name: round(statistics.median(values), 3) for name, values in found.items()}
    for name, milliseconds in results.items():
        print(f"{name:<24}{milliseconds:>10} ms of CPU after a call")
    finish("idle", results)


if __name__ == "__main__":
    main()
