"""A peer's side of the line protocol: load, say so, then run what each line asks for. Needs numpy only.

Requests and answers are JSON, one a line, on stdin and stdout. Whatever libraries print goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]
Run = Callable[[Ids, Ids], Vectors]  # ids and mask (batch, sequence) to embeddings (batch, sequence, hidden)


def serve(load: Callable[[], tuple[Run, dict[str, str]]]) -> None:
    """Answer until stdin ends; `load` gives the model and what to tell of it (versions, settings)."""
    answers = _claim_stdout()
    start = time.perf_counter()
    run, about = load()
    _say(answers, {"about": about, "load_milliseconds": _since(start)})
    for line in sys.stdin:
        _say(answers, _answer(run, json.loads(line)))


def _answer(run: Run, request: dict[str, Any]) -> dict[str, Any]:
    """Run the batches of one input file as often as asked, and leave the last vectors in a file."""
    batches = _read_batches(Path(request["input"]))
    times = []
    for turn in range(request["warm"] + request["runs"]):
        start = time.perf_counter()
        outputs = [run(ids, mask) for _, ids, mask in batches]
        if turn >= request["warm"]:
            times.append(_since(start))
    np.save(request["vectors"], _pool(batches, outputs))
    return {"milliseconds": times, "peak_megabytes": _peak_megabytes()}


def _read_batches(path: Path) -> list[tuple[Ids, Ids, Ids]]:
    """The batches of one input: (places of its texts, ids, mask)."""
    with np.load(path) as stored:
        count = len(stored.files) // 3
        return [(stored[f"places{n}"], stored[f"ids{n}"], stored[f"mask{n}"]) for n in range(count)]


def _pool(batches: list[tuple[Ids, Ids, Ids]], outputs: list[Vectors]) -> Vectors:
    """Mean over the mask, one row a text, in the order of the texts."""
    vectors = np.empty((sum(len(places) for places, _, _ in batches), outputs[0].shape[2]), np.float32)
    for (places, _, mask), output in zip(batches, outputs, strict=True):
        weights = (mask / mask.sum(axis=1, keepdims=True)).astype(np.float32)  # (batch, sequence)
        vectors[places] = np.matmul(weights[:, None, :], output)[:, 0]
    return vectors


def _claim_stdout() -> TextIO:
    """The real stdout for answers alone; prints of libraries, also in C, end on stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _say(answers: TextIO, message: dict[str, Any]) -> None:
    print(json.dumps(message), file=answers, flush=True)


def _peak_megabytes() -> float:
    """The most memory held since the start; what `getrusage` says would begin with the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024, 1)


def _since(start: float) -> float:
    return round((time.perf_counter() - start) * 1000, 3)
