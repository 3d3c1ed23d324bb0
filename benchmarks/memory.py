"""Peak memory and time of one text, by its length, and what the longest leaves: each in a process of its own.

python benchmarks/memory.py BUNDLE [--precision fp32 int8] [--lengths 1 16 128 512 2048 8192]
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
SHORT = 16  # tokens of the text that stands for ordinary use before the longest one comes
IDLE_SECONDS = 2.0
_REST = 2  # special tokens of the benchmark checkpoint's tokenizer


def embed_one(bundle: str, precision: str, length: int) -> None:
    """Embed one text of `length` tokens, twice, and print what it took as JSON."""
    from jinabert_onnx import Embedder

    model = Embedder.load(bundle, precision=precision, provider="cpu")
    loaded = peak_megabytes()
    text = _text(length)
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


def return_to_idle(bundle: str, precision: str, length: int) -> None:
    """Embed a short text and one of `length` tokens, and print the memory at each point as JSON."""
    from jinabert_onnx import Embedder

    model = Embedder.load(bundle, precision=precision, provider="cpu")
    loaded = resident_megabytes()
    model.encode(_text(SHORT))
    before = resident_megabytes()
    model.encode(_text(length))
    peak = peak_megabytes()
    time.sleep(IDLE_SECONDS)
    idle = resident_megabytes()
    row = {"loaded": loaded, "before": before, "peak": peak, "idle": idle}
    print(json.dumps({f"{name}_megabytes": value for name, value in row.items()} | {"ratio": round(idle / before, 2)}))


def resident_megabytes() -> float:
    """Memory that this process holds now, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024, 1)


def measure(bundle: Path, precision: str, lengths: list[int]) -> list[dict[str, float]]:
    """Print and return one row a length, each from a process of its own."""
    print(f"\n{precision:<6}{'tokens':>8}{'loaded MB':>12}{'peak MB':>10}{'first ms':>12}{'again ms':>12}")
    rows = []
    for length in lengths:
        row = _in_process(bundle, precision, length)
        rows.append(row)
        print(
            f"{'':<6}{row['tokens']:>8}{row['loaded_megabytes']:>12}{row['peak_megabytes']:>10}"
            f"{row['first_milliseconds']:>12}{row['milliseconds']:>12}"
        )
    return rows


def measure_idle(bundle: Path, precision: str, length: int) -> dict[str, float]:
    """Print and return the resident memory around one text of `length` tokens."""
    row = _in_process(bundle, precision, length, "--idle")
    print(
        f"{precision}, {length} tokens: {row['loaded_megabytes']} MB loaded, {row['before_megabytes']} after a text of "
        f"{SHORT} tokens, {row['peak_megabytes']} at the peak, {row['idle_megabytes']} idle {IDLE_SECONDS:g} s later "
        f"({row['ratio']} times what it was before)"
    )
    return row


def _in_process(bundle: Path, precision: str, length: int, *flags: str) -> dict[str, float]:
    command = [sys.executable, __file__, str(bundle), "--precision", precision, "--length", str(length), *flags]
    row: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return row


def _text(tokens: int) -> str:
    return " ".join(["train"] * max(0, tokens - _REST))


def main() -> None:
    """Start a process a length and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", nargs="+", default=["fp32", "int8"])
    parser.add_argument("--lengths", nargs="+", type=int, default=LENGTHS)
    parser.add_argument("--length", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--idle", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.length is not None:
        task = return_to_idle if arguments.idle else embed_one
        task(str(arguments.bundle), arguments.precision[0], arguments.length)
        return
    results: dict[str, object] = {
        precision: measure(arguments.bundle, precision, arguments.lengths) for precision in arguments.precision
    }
    longest = max(arguments.lengths)
    results["idle"] = {
        precision: measure_idle(arguments.bundle, precision, longest) for precision in arguments.precision
    }
    finish("memory", results)


if __name__ == "__main__":
    main()
