"""Whether processors without VNNI compute the same int8 vectors: the bundle's probe texts natively and under qemu.

    python benchmarks/experiments/saturation.py BUNDLE [--precision int8]        (apt-get install qemu-user)

With AVX2 and no VNNI, onnxruntime adds two products of u8 and s8 (at 2i and 2i + 1 of the summed axis) in 16
bits, and the sum saturates: 2 * 255 * 127 becomes 32767. With VNNI, and with SSE4.2 alone, it does not. qemu has
both kinds, so that the test says the same on every x86-64 machine: `max` has AVX2 and saturates, `max,-avx2` is
exact. Fails where the vectors of any two processors differ: the median text's cosine is below 0.9999999, or the
smallest is below 0.9995. One text may differ more than the median, since a rounding error of float32 can decide
which of two steps a quantised value falls on; saturation changes nearly every text.
"""

from __future__ import annotations

import argparse
import io
import platform
import shutil
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
from jinabert_onnx import Embedder
from jinabert_onnx.bench.machine import result_line
from jinabert_onnx.bundle.manifest import open_bundle
from jinabert_onnx.bundle.probes import compare, read_probes
from jinabert_onnx.encoding.pooling import Vectors

QEMU = "qemu-x86_64"
PROCESSORS = {"native": None, "AVX2": "max", "no AVX2": "max,-avx2"}
MIN_COSINE = {"median": 0.9999999, "smallest": 0.9995}


def embed(bundle: Path, precision: str) -> Vectors:
    """Return the vectors of the bundle's probe texts, (texts, hidden), on the processor that runs this."""
    model = Embedder.load(bundle, precision=precision, provider="cpu", threads=1)
    return model.encode(read_probes(open_bundle(bundle)).texts)


def embed_on(processor: str | None, bundle: Path, precision: str) -> Vectors:
    """Return the same in a process of its own: under qemu with the named processor, or natively."""
    emulator = [] if processor is None else [QEMU, "-cpu", processor]
    command = [*emulator, sys.executable, __file__, str(bundle), "--precision", precision, "--vectors"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {done.returncode}")
    vectors: Vectors = np.load(io.BytesIO(done.stdout))
    return vectors


def agreement(one: Vectors, other: Vectors) -> dict[str, float]:
    """Return the cosine of the median and of the worst text, and the largest difference of a value."""
    texts = [compare(*rows) for rows in zip(one[:, None], other[:, None], strict=True)]
    cosines = [text.min_cosine for text in texts]
    return {
        "median": float(np.median(cosines)),
        "smallest": float(np.min(cosines)),
        "largest difference": max(text.max_difference for text in texts),
    }


def require_emulator() -> None:
    """One clear line where the test cannot run."""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise SystemExit(f"this Python is for {platform.machine()}; only one for x86-64 can run under {QEMU}")
    if shutil.which(QEMU) is None:
        raise SystemExit(f"no {QEMU} here; install it (Debian: apt-get install qemu-user) and run this again")


def main() -> None:
    """Compare the processors, or be the process that embeds on one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--vectors", action="store_true", help=argparse.SUPPRESS)  # the process under qemu
    arguments = parser.parse_args()
    if arguments.vectors:
        np.save(sys.stdout.buffer, embed(arguments.bundle, arguments.precision))
        return
    require_emulator()
    report(arguments.bundle, arguments.precision)


def report(path: Path, precision: str) -> None:
    """Embed on every processor, print one line a pair of them, and fail where two differ."""
    vectors = {name: embed_on(processor, path, precision) for name, processor in PROCESSORS.items()}
    found = {f"{one} - {two}": agreement(vectors[one], vectors[two]) for one, two in combinations(vectors, 2)}
    for pair, figures in found.items():
        print(f"{pair:<18}" + "".join(f"  {name} {value:.9g}" for name, value in figures.items()), flush=True)
    print(result_line("saturation", {"precision": precision, "processors": found}))
    if not all(row[name] >= least for row in found.values() for name, least in MIN_COSINE.items()):  # NaN fails too
        raise SystemExit(f"failed: the {precision} vectors depend on the processor")


if __name__ == "__main__":
    main()
