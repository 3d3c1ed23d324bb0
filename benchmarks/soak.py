"""One model, several threads, mixed work for minutes: are results always the first ones, and does anything grow?

    python benchmarks/soak.py BUNDLE [--precision int8] [--minutes 5] [--workers 4]

Every call is one of a fixed list of kinds: short, ragged and long texts, windows, chunks, a stream, other arguments,
and calls that run out of time. Its result is compared with that of the same call before the threads were started. Ends
with exit code 1 if any differs or fails. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jinabert_onnx import DeadlineError, Embedder
from jinabert_onnx.encoding.vector_types import AnyVectors
from timing import finish

HELD_OUT = Path(__file__).resolve().parent.parent / "tests" / "data" / "tiny-de-en" / "heldout.json"
FLOAT_BOUND = 1e-5  # largest difference of a channel from the first result
BOUNDS = {"int8 vectors": 1.0}  # a value between two steps may go to either
RARE = ("to the limit", "out of time")
OFTEN = 8  # times as often as a rare kind
HURRY = 0.02  # seconds that a call to run out of time is given
IDLE_SECONDS = 2.0

Call = Callable[[], AnyVectors]


@dataclass
class Tally:
    """What the threads found: calls of each kind, the largest difference of each, and what went wrong."""

    calls: Counter[str] = field(default_factory=Counter)
    differences: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def calls_of(model: Embedder) -> dict[str, Call]:
    """The kinds of calls, each a function without arguments."""
    held_out = json.loads(HELD_OUT.read_text("utf-8"))
    sentences, long = [entry["text"] for entry in held_out["sentences"]], held_out["long"]
    book = " ".join(long)
    ragged = [*sentences[:6], long[0], " ".join(sentences[6:9]), "", long[1][:900]]

    def rows(texts: list[str]) -> AnyVectors:
        found = model.encode(texts, 3, output_value="token_embeddings", show_progress_bar=False)
        return np.concatenate(found)

    def out_of_time() -> AnyVectors:
        with contextlib.suppress(DeadlineError):
            return model.encode(book, truncation="head", timeout=HURRY)
        return np.zeros(1, np.float32)

    return {
        "one sentence": lambda: model.encode(sentences[0]),
        "40 sentences": lambda: model.encode(sentences[:40], 16, normalize_embeddings=True, show_progress_bar=False),
        "ragged": lambda: model.encode(ragged, show_progress_bar=False),
        "a document": lambda: model.encode(long[2], max_length=1500, truncation="head"),
        "to the limit": lambda: model.encode(book, truncation="head"),
        "windows": lambda: model.encode(long[:3], max_length=256, truncation="mean", show_progress_bar=False),
        "64 channels": lambda: model.encode(sentences[40:60], truncate_dim=64, show_progress_bar=False),
        "int8 vectors": lambda: model.encode(sentences[60:80], output_dtype="int8", show_progress_bar=False),
        "token embeddings": lambda: rows(sentences[80:90]),
        "report": lambda: model.encode_with_report(ragged, max_length=128, truncation="tail").vectors,
        "stream": lambda: np.stack(list(model.encode_stream(sentences[90:150], show_progress_bar=False))),
        "chunks": lambda: model.encode_chunks(long[3]).vectors,
        "out of time": out_of_time,
    }


def work(calls: Mapping[str, Call], first: Mapping[str, AnyVectors], tally: Tally, end: float, seed: int) -> None:
    """Make calls of random kinds until `end`, and compare."""
    choose = random.Random(seed)
    kinds = [name for name in calls for _ in range(1 if name in RARE else OFTEN)]
    while time.monotonic() < end:
        name = choose.choice(kinds)
        try:
            found, wrong = difference(calls[name](), first[name]), ""
        except Exception as error:  # whatever it is, the others go on and it is told at the end
            found, wrong = 0.0, f"{name}: {type(error).__name__}: {error}"
        with tally.lock:
            tally.calls[name] += 1
            tally.differences[name] = max(found, tally.differences.get(name, 0.0))
            if wrong:
                tally.failures.append(wrong)


def difference(result: AnyVectors, expected: AnyVectors) -> float:
    """The largest difference of a channel; infinite where shapes differ or a value is not a number."""
    if result.shape != expected.shape:
        return math.inf
    largest = float(np.abs(result.astype(np.float64) - expected).max())
    return largest if math.isfinite(largest) else math.inf


def sample() -> dict[str, float]:
    """Resident megabytes, open files and threads of this process, now."""
    status = Path("/proc/self/status").read_text().splitlines()
    fields = {key: value.split()[0] for key, _, value in (line.partition(":") for line in status) if value.split()}
    return {
        "resident_megabytes": round(int(fields["VmRSS"]) * 1024 / 1e6, 1),
        "peak_megabytes": round(int(fields["VmHWM"]) * 1024 / 1e6, 1),
        "open_files": len([*Path("/proc/self/fd").iterdir()]),
        "threads": int(fields["Threads"]),
    }


def soak(model: Embedder, minutes: float, workers: int) -> tuple[list[dict[str, float | str]], Tally]:
    """Let `workers` threads call the model; a row a minute, the last when all have ended."""
    calls, tally = calls_of(model), Tally()
    first = {name: call() for name, call in calls.items()}
    start = time.monotonic()
    end = start + 60 * minutes
    threads = [threading.Thread(target=work, args=(calls, first, tally, end, seed)) for seed in range(workers)]
    print(f"{'minute':>8}{'calls':>8}{'resident MB':>13}{'peak MB':>9}{'files':>7}{'threads':>9}")
    rows = [_row(0, tally)]
    for thread in threads:
        thread.start()
    for minute in range(1, math.ceil(minutes) + 1):
        time.sleep(max(0.0, min(start + 60 * minute, end) - time.monotonic()))
        rows.append(_row(minute, tally))
    for thread in threads:
        thread.join()
    time.sleep(IDLE_SECONDS)
    rows.append(_row(math.inf, tally))
    return rows, tally


def _row(minute: float, tally: Tally) -> dict[str, float | str]:
    now = sample()
    made = sum(tally.calls.values())
    name = "idle" if minute == math.inf else f"{minute:g}"
    print(
        f"{name:>8}{made:>8}{now['resident_megabytes']:>13}{now['peak_megabytes']:>9}{now['open_files']:>7}"
        f"{now['threads']:>9}",
        flush=True,
    )
    return {"minute": name, "calls": made, **now}


def wrong_kinds(tally: Tally) -> list[str]:
    """The kinds whose results were not the first ones."""
    return [name for name, found in tally.differences.items() if found > BOUNDS.get(name, FLOAT_BOUND)]


def main() -> None:
    """Load the model, run, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", default="int8", help="default: %(default)s")
    parser.add_argument("--minutes", type=float, default=5, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=4, help="threads that call the model (default: %(default)s)")
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    with Embedder.load(arguments.bundle, precision=arguments.precision, provider="cpu") as model:
        rows, tally = soak(model, arguments.minutes, arguments.workers)
    print(f"\n{'calls':<20}{'number':>8}{'largest difference':>20}")
    for name, number in sorted(tally.calls.items()):
        print(f"{name:<20}{number:>8}{tally.differences[name]:>20.2g}")
    wrong = wrong_kinds(tally)
    for problem in [*tally.failures[:5], *(f"{name}: another result than at first" for name in wrong)]:
        print(problem, file=sys.stderr)
    results = {"bundle": arguments.bundle.name, "precision": arguments.precision, "workers": arguments.workers}
    found = {"rows": rows, "calls": tally.calls, "differences": tally.differences, "failures": len(tally.failures)}
    finish("soak", results | found)
    sys.exit(1 if tally.failures or wrong else 0)


if __name__ == "__main__":
    main()
