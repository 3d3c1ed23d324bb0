"""Cold start: from the start of a process to its first vector, by step, in fresh processes that take turns.

Files are in the system's cache and were hashed before, as they are on a machine that has started the model once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

from jinabert_onnx.errors import RunError

from .children import Place, run_child
from .plan import Configuration
from .record import ColdStart

TOKENS = 16


def measure_cold_starts(
    configurations: Sequence[Configuration], place: Place, text: str, repeats: int, advance: Callable[[], None]
) -> tuple[ColdStart, ...]:
    """`repeats` processes of each configuration, after one that warms the files' cache and is not counted.

    Raises:
        RunError: a process failed, or its vector is not finite.
    """
    found: dict[Configuration, list[dict[str, float]]] = {configuration: [] for configuration in configurations}
    for turn in range(repeats + 1):
        for configuration, runs in found.items():
            steps = start_once(configuration, place, text)
            if turn:
                runs.append(steps)
            advance()
    return tuple(ColdStart(c.precision, c.provider, c.threads, TOKENS, tuple(runs)) for c, runs in found.items())


def start_once(configuration: Configuration, place: Place, text: str) -> dict[str, float]:
    """Return seconds of each step of one fresh process, from the moment before it was started."""
    start = time.monotonic()
    answer = run_child(place, configuration, text)
    if not all(math.isfinite(value) for value in answer["vector"]):
        raise RunError(f"a process with {configuration} computed a vector that is not finite")
    clock = {"start": start} | answer["clock"]
    return {name: clock[name] - clock[former] for former, name in pairwise(clock)}
