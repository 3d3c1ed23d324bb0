"""Cold start and memory, from fresh processes of this Python that load a bundle and embed one text or score one pair.

What to load is written to a process's stdin, what it found is its last line on stdout; nothing of it stays behind.
Files are in the system's cache and were hashed before, as they are on a machine that has started the model once.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinabert_onnx.engine.memory_model import MemoryModel
from jinabert_onnx.errors import RunError
from jinabert_onnx.text.pairs import TextOrPair

from .plan import Configuration, Skipped
from .record import ColdStart, Memory

TOKENS = 16  # of the text or pair whose result ends a cold start
_SCRIPT = Path(__file__).with_name("fresh_process.py")


@dataclass(frozen=True)
class Place:
    """Where a bundle is: a directory, or a hub id and commit that have been downloaded."""

    source: str
    revision: str | None


def run_child(place: Place, configuration: Configuration, item: TextOrPair) -> Mapping[str, Any]:
    """Run `fresh_process` for one text or pair; return its clock, what the model gave, and memory.

    Raises:
        RunError: it failed, or the system ended it.
    """
    request = {
        "source": place.source,
        "revision": place.revision,
        "precision": configuration.precision,
        "provider": configuration.provider,
        "threads": configuration.threads,
        "item": item,
    }
    # -P: the script's directory, whose names others have too, is not searched for imports.
    ended = subprocess.run(
        [sys.executable, "-P", str(_SCRIPT)], input=json.dumps(request).encode(), capture_output=True, check=False
    )
    if ended.returncode != 0:
        said = ended.stderr.decode("utf-8", errors="replace").strip().splitlines()
        why = f"signal {-ended.returncode}, most probably for lack of memory" if ended.returncode < 0 else "an error"
        raise RunError(f"a process with {configuration} ended by {why}{f' ({said[-1]})' if said else ''}")
    answer: Mapping[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return answer


def measure_cold_starts(
    configurations: Sequence[Configuration], place: Place, item: TextOrPair, repeats: int, advance: Callable[[], None]
) -> tuple[ColdStart, ...]:
    """`repeats` processes of each configuration in turns, after one that warms the files' cache and is not counted.

    Raises:
        RunError: a process failed, or its result is not finite.
    """
    found: dict[Configuration, list[dict[str, float]]] = {configuration: [] for configuration in configurations}
    for turn in range(repeats + 1):
        for configuration, runs in found.items():
            steps = _start_once(configuration, place, item)
            if turn:
                runs.append(steps)
            advance()
    return tuple(ColdStart(c.precision, c.provider, c.threads, TOKENS, tuple(runs)) for c, runs in found.items())


def _start_once(configuration: Configuration, place: Place, item: TextOrPair) -> dict[str, float]:
    """Return seconds of each step of one fresh process, from the moment before it was started."""
    start = time.monotonic()
    answer = run_child(place, configuration, item)
    if not all(math.isfinite(value) for value in answer["result"]):
        raise RunError(f"a process with {configuration} computed a result that is not finite")
    clock = {"start": start} | answer["clock"]
    return {name: clock[name] - clock[former] for former, name in pairwise(clock)}


def measure_memory(
    configuration: Configuration, place: Place, item: TextOrPair, length: int, model: MemoryModel
) -> Memory | Skipped:
    """Return what a process holds that runs `item`, of `length` tokens, alone; or why that is not known."""
    what = f"{configuration}: memory of {length} tokens"
    try:
        answer = run_child(place, configuration, item)
    except RunError as error:
        return Skipped(what, str(error))
    if answer["peak"] is None:
        return Skipped(what, "this system does not report the memory of a process")
    return Memory(
        precision=configuration.precision,
        provider=configuration.provider,
        threads=configuration.threads,
        length=length,
        loaded=answer["loaded"],
        peak=answer["peak"],
        afterwards=answer["afterwards"],
        modelled=model.peak([length]),
    )
