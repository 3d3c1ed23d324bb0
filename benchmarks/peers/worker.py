"""A peer's side of the line protocol: load, say so, then run what each line asks for. Needs numpy only.

    PYTHONPATH=benchmarks python -m peers.worker {ids,texts} MODULE ARGUMENT ...     (asked by side_by_side.py)
    PYTHONPATH=benchmarks python -m peers.worker make MODULE ARGUMENT ...

calls `load` or `make` of a module beside this one. `load` gives the model and what to tell of it.

Requests and answers are JSON, one a line, on stdin and stdout. Whatever libraries print goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]
Run = Callable[[Ids, Ids], Vectors]  # ids and mask (batch, sequence) to embeddings (batch, sequence, hidden)
Encode = Callable[[list[str]], Vectors]  # texts to vectors (batch, hidden)
About = Mapping[str, object]  # versions, settings, what preparing the model took


def serve(load: Callable[[], tuple[Any, About]], takes: str = "ids") -> None:
    """Answer until stdin ends, from token ids or from texts: tokenizing and pooling are then within the time."""
    run = _run_ids if takes == "ids" else _run_texts
    answers = _claim_stdout()
    start = time.perf_counter()
    model, about = load()
    _say(answers, {"about": about, "load_milliseconds": _since(start)})
    for line in sys.stdin:
        times = run(model, json.loads(line))
        _say(answers, {"milliseconds": times, "peak_megabytes": _peak_megabytes()})


def _run_ids(run: Run, request: dict[str, Any]) -> list[float]:
    """Run the batches of one input file as often as asked, and leave the last vectors in a file."""
    batches = _read_batches(Path(request["input"]))
    outputs, times = _timed(lambda: [run(ids, mask) for _, ids, mask in batches], request)
    np.save(request["vectors"], _pool(batches, outputs))
    return times


def _run_texts(encode: Encode, request: dict[str, Any]) -> list[float]:
    """The same with batches of texts, whose vectors come pooled."""
    batches = json.loads(Path(request["input"]).read_text("utf-8"))
    outputs, times = _timed(lambda: [encode(batch["texts"]) for batch in batches], request)
    places = np.concatenate([batch["places"] for batch in batches])
    vectors = np.empty((len(places), outputs[0].shape[1]), np.float32)
    vectors[places] = np.concatenate(outputs)
    np.save(request["vectors"], vectors)
    return times


def _timed(work: Callable[[], list[Vectors]], request: dict[str, Any]) -> tuple[list[Vectors], list[float]]:
    """The last pass's outputs, and the milliseconds of each pass that is not to warm up."""
    times = []
    for turn in range(request["warm"] + request["runs"]):
        start = time.perf_counter()
        outputs = work()
        if turn >= request["warm"]:
            times.append(_since(start))
    return outputs, times


def _read_batches(path: Path) -> list[tuple[Ids, Ids, Ids]]:
    """The batches of one input: (places of its texts, ids, mask)."""
    with np.load(path) as stored:
        count = len(stored.files) // 3
        return [(stored[f"places{n}"], stored[f"ids{n}"], stored[f"mask{n}"]) for n in range(count)]


def _pool(batches: list[tuple[Ids, Ids, Ids]], outputs: Sequence[Vectors]) -> Vectors:
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


def main(what: str, module: str, *arguments: str) -> None:
    """Serve the peer of a module, or have it make something."""
    peer = import_module(f"peers.{module}")
    if what == "make":
        peer.make(*arguments)
    else:
        serve(lambda: peer.load(*arguments), what)


if __name__ == "__main__":
    main(*sys.argv[1:])
