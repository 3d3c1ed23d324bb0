"""Peak memory and time of one text, by its length: each length in a process of its own.

python benchmarks/memory.py BUNDLE [--precision fp32 int8]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from timing import finish, peak_megabytes

LENGTHS = (1, 16, 128, 512, 2048, 8192)
_REST = 2  # special tokens of the benchmark checkpoint's tokenizer


def embed_one(bundle: str, precision: str, length: int) -> None:
    """Embed one text of `length` tokens, twice, and print what it took as JSON."""
    from jinabert_onnx import Embedder

    model = Embedder.load(bundle, precision=precision, provider="cpu")
    loaded = peak_megabytes()
    text = " ".join(["train"] * max(0, length - _REST))
    tokens = model.count_tokens(text)[0]
    start = time.perf_counter()
    model.encode(text)
    first = time.perf_counter() - start
    start = time.perf_counter()
    model.encode(text)
    print(
        json.dumps(
            {
                "tokens": tokens,
                "loaded_megabytes": loaded,
                "peak_megabytes": peak_megabytes(),
                "first_milliseconds": round(first * 1000, 1),
                "milliseconds": round((time.perf_counter() - start) * 1000, 1),
            }
        )
    )


def measure(bundle: Path, precision: str) -> list[dict[str, float]]:
    """Print and return one row a length, each from a process of its own."""
    print(f"\n{precision:<6}{'tokens':>8}{'loaded MB':>12}{'peak MB':>10}{'first ms':>12}{'again ms':>12}")
    rows = []
    for length in LENGTHS:
        command = [sys.executable, __file__, str(bundle), "--precision", precision, "--length", str(length)]
        row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        rows.append(row)
        print(
            f"{'':<6}{row['tokens']:>8}{row['loaded_megabytes']:>12}{row['peak_megabytes']:>10}"
            f"{row['first_milliseconds']:>12}{row['milliseconds']:>12}"
        )
    return rows


def main() -> None:
    """Start a process a length and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", nargs="+", default=["fp32", "int8"])
    parser.add_argument("--length", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.length is not None:
        embed_one(str(arguments.bundle), arguments.precision[0], arguments.length)
        return
    results = {precision: measure(arguments.bundle, precision) for precision in arguments.precision}
    finish("memory", results)


if __name__ == "__main__":
    main()
