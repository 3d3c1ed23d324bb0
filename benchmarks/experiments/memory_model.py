"""The model of peak memory beside what processes take: each batch in a process of its own, read from the system.

    python benchmarks/experiments/memory_model.py BUNDLE ... [--precision fp32 int8 fp16] [--kernels off]

Texts are held-out ones, joined and cut to the length. The last row of a precision runs after every page of the table
was read, as a process that lives long comes to it. MB are millions of bytes. Linux only.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinabert_onnx.bench.machine import result_line
from jinabert_onnx.bundle.manifest import PRECISIONS, TOKENIZER, Bundle, open_bundle
from jinabert_onnx.encoding.load_options import LoadOptions
from jinabert_onnx.encoding.loading import open_model
from jinabert_onnx.engine.batching import pad
from jinabert_onnx.engine.memory_model import MemoryModel, memory_model
from jinabert_onnx.text.tokenizer import Tokenizer
from numpy.typing import NDArray

HELD_OUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "tiny-de-en" / "heldout.json"
SHAPES = ((1, 16), (1, 128), (1, 512), (1, 2048), (1, 8192), (8, 128), (4, 512), (32, 512), (8, 2048))
SETTLED = (1, 2048)
STRIDE = 16  # every so many tokens of the vocabulary read all of the table: Linux maps 64 KiB around each
SELF_TEST = (3, 10)  # texts and tokens, about as many as `Embedder.load` runs
BLOCK = 512  # tokens
MEGABYTE = 1_000_000


def run_one(path: str, precision: str, kernels: str, shape: Sequence[int], settled: bool) -> None:
    """Load a model, run one batch (texts, tokens of each) of the ids on stdin, and print the most bytes held."""
    options = LoadOptions(precision, "cpu", integrity="off", local_files_only=True, kernels=kernels)
    model = open_model(path, options).model
    ids = np.frombuffer(sys.stdin.buffer.read(), dtype=np.int64)
    run = model.session.run
    run(*pad([ids[: SELF_TEST[1]]] * SELF_TEST[0]))
    if settled:
        table = np.arange(0, model.bundle.manifest.model.vocab_size, STRIDE)
        for start in range(0, len(table), BLOCK):
            run(*pad([table[start : start + BLOCK]]))
    run(*pad(np.array_split(ids, shape[0])))
    lines = Path("/proc/self/status").read_text().splitlines()
    print(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")))


def measure(path: Path, bundle: Bundle, precision: str, kernels: str) -> list[dict[str, object]]:
    """Print and return a row a shape: what was measured, what the model says, the difference in percent."""
    native = kernels == "require"
    model = memory_model(bundle.manifest, precision, native)
    # Not in the process that is measured, where the tokenizer's encodings would stay.
    ids = np.concatenate(Tokenizer(path / TOKENIZER)(_texts(), BLOCK).input_ids)
    print(f"\n{path.name}, {precision}: {model.resident() / MEGABYTE:.0f} MB once loaded, as modelled")
    print(f"{'batch x tokens':<22}{'measured MB':>12}{'modelled MB':>13}{'error %':>9}")
    options = ["--precision", precision, "--kernels", kernels]
    rows = [_row(path, shape, model, ids, options) for shape in SHAPES]
    return [*rows, _row(path, SETTLED, model.settled(), ids, [*options, "--settled"])]


def _row(
    path: Path, shape: tuple[int, int], model: MemoryModel, ids: NDArray[np.int64], options: list[str]
) -> dict[str, object]:
    name = f"{shape[0]} x {shape[1]}{', table read' if '--settled' in options else ''}"
    command = [sys.executable, __file__, str(path), *options, "--shape", *map(str, shape)]
    tokens = ids[: shape[0] * shape[1]].tobytes()
    measured = int(subprocess.run(command, input=tokens, check=True, capture_output=True).stdout)
    modelled = model.peak([shape[1]] * shape[0])
    error = 100 * (modelled / measured - 1)
    print(f"{name:<22}{measured / MEGABYTE:>12.0f}{modelled / MEGABYTE:>13.0f}{error:>+9.1f}", flush=True)
    return {
        "shape": name,
        "measured_megabytes": round(measured / MEGABYTE, 1),
        "modelled_megabytes": round(modelled / MEGABYTE, 1),
        "error_percent": round(error, 1),
    }


def _texts() -> list[str]:
    return [pair[language] for pair in json.loads(HELD_OUT.read_text("utf-8"))["pairs"] for language in ("en", "de")]


def main() -> None:
    """Start a process a row and print a table a precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="+")
    parser.add_argument("--precision", nargs="+", help="default: all that the bundle holds")
    parser.add_argument("--kernels", choices=("off", "require"), default="off", help="default: off")
    parser.add_argument("--shape", nargs=2, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--settled", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.shape is not None:
        run_one(str(arguments.bundle[0]), arguments.precision[0], arguments.kernels, arguments.shape, arguments.settled)
        return
    results = {}
    for path in arguments.bundle:
        bundle = open_bundle(path)
        held = [name for name in bundle.manifest.precisions if name in (arguments.precision or PRECISIONS)]
        results[path.name] = {precision: measure(path, bundle, precision, arguments.kernels) for precision in held}
    print(result_line("memory_model", results))


if __name__ == "__main__":
    main()
