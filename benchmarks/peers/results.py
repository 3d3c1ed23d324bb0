"""What a run found as data, by shape and peer, and the file that keeps it. Prints nothing."""

from __future__ import annotations

import datetime
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinabert_onnx.bench.machine import describe, versions
from jinabert_onnx.bench.roofline import Rates, Sizes
from jinabert_onnx.files.atomic import atomic_file

from .agreement import compare
from .registry import ROOT, Peer
from .turns import Timing, Turns
from .workload import Shape


def shapes_of(
    turns: Turns, peers: Mapping[str, Peer], shapes: Sequence[Shape], sizes: Sizes, rates: Rates
) -> dict[str, dict[str, Any]]:
    """Return of each shape its size, the least milliseconds of its products, and its peers.

    Of a peer: the median, all passes, memory, and how its vectors agree with the reference's.

    Raises:
        MismatchError: vectors of another shape: a peer runs another model.
    """
    return {
        shape.name: {
            "texts": len(shape.lengths),
            "tokens": sum(shape.lengths),
            "ceiling_milliseconds": {
                kind: round(1000 * rates.seconds(sizes, shape.lengths, kind), 2) for kind in ("fp32", "int8")
            },
            "peers": _peers_of(turns, shape.name, peers),
            "missing": turns.missing.get(shape.name, {}),
        }
        for shape in shapes
    }


def _peers_of(turns: Turns, shape: str, peers: Mapping[str, Peer]) -> dict[str, dict[str, Any]]:
    timings = turns.timings.get(shape, {})
    agreement = compare(turns.work, shape, peers, timings)
    return {name: _figures(timing) | agreement.get(name, {}) for name, timing in timings.items()}


def _figures(timing: Timing) -> dict[str, Any]:
    return {
        "milliseconds": round(timing.median, 2),
        "passes": [round(value, 2) for value in timing.milliseconds],
        "peak_megabytes": timing.peak_megabytes,
    }


def disagreements(shapes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a line for each peer whose vectors are not the reference's."""
    return [
        f"{shape}: {name} DISAGREES with {found['against']}: difference {found['difference']:.1e}, cosine "
        f"{found['cosine']:.6f}"
        for shape, measured in shapes.items()
        for name, found in measured["peers"].items()
        if not found.get("agrees", True)
    ]


def write(path: Path, results: Mapping[str, Any]) -> None:
    """Write results with the date, the command and the machine; the file appears whole or not at all."""
    record = {
        "benchmark": "side_by_side",
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", *(_from_top(word) for word in sys.argv)]),
        "machine": asdict(describe()) | versions(),
        "results": results,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as stream:
        stream.write(f"{json.dumps(record)}\n".encode())


def _from_top(word: str) -> str:
    """Paths as seen from the top of the repository."""
    path = Path(word).resolve()
    return str(path.relative_to(ROOT)) if ("/" in word or path.exists()) and path.is_relative_to(ROOT) else word


def memory_megabytes() -> float:
    """Return the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
