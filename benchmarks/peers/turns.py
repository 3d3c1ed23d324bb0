"""Workers asked in turns: who runs when, how often, how long the rest between them is, and what was not run and why."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from .agreement import vectors_file
from .client import Limits, OverLimitError, PeerError, Worker
from .registry import Peer
from .workload import Shape, input_file

# Idle threads of some runtimes spin for up to 200 ms before they sleep, and would take another's turn from it.
PAUSE_SECONDS = 0.3

# What the timed passes of one peer over one shape may take together, so that a slow peer does not hold up all others.
# At least one turn is had; but a first pass that takes longer by itself counts as the only one.
SHAPE_SECONDS = 12.0


@dataclass
class Timing:
    """The timed passes of one peer over one shape, and the most that its process has held."""

    milliseconds: list[float]
    peak_megabytes: float

    @property
    def median(self) -> float:
        """Of the passes, in milliseconds."""
        return statistics.median(self.milliseconds)


@dataclass
class Turns:
    """A run of the benchmark: what is asked of whom, and what came of it.

    Attributes:
        skip: names of peers, and `peer:shape`, to leave out.
        about: what each peer tells of itself.
        timings: by shape and peer.
        missing: by shape and peer, why there is no figure.
        failures: which workers died, one line each.
    """

    work: Path
    limits: Limits
    skip: frozenset[str] = frozenset()
    about: dict[str, dict[str, object]] = field(default_factory=dict)
    timings: dict[str, dict[str, Timing]] = field(default_factory=dict)
    missing: dict[str, dict[str, str]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    _unstartable: set[str] = field(default_factory=set)

    def run(self, peers: Mapping[str, Peer], shapes: Sequence[Shape]) -> None:
        """Those that take ids beside each other, then those that take texts: a table each, and half of the memory."""
        (self.work / "vectors").mkdir(parents=True, exist_ok=True)
        for takes in ("ids", "texts"):
            group = [peer for peer in peers.values() if peer.takes == takes]
            asked = [shape for shape in shapes if shape.takes(takes)]
            self._run_shared(group, [shape for shape in asked if not shape.alone])
            for shape in (shape for shape in asked if shape.alone):
                for peer in group:
                    self._run_shared([peer], [shape])

    def _run_shared(self, peers: Sequence[Peer], shapes: Sequence[Shape]) -> None:
        """All peers alive beside each other, started when they are first asked and again if they were ended."""
        with ExitStack() as alive:
            workers: dict[str, Worker] = {}
            for shape in shapes:
                for peer in peers:
                    if self._is_asked(peer, shape) and (peer.name not in workers or workers[peer.name].dead):
                        self._start(peer, shape, alive, workers)
                self._interleave([worker for worker in workers.values() if not worker.dead], shape)

    def _start(self, peer: Peer, shape: Shape, alive: ExitStack, workers: dict[str, Worker]) -> None:
        try:
            worker = alive.enter_context(Worker(peer, self.work, self.limits.megabytes))
        except (PeerError, OverLimitError) as error:
            self._miss(peer, shape, error)
            self._unstartable.add(peer.name)
            return
        workers[peer.name] = worker
        loading = {"load_milliseconds": round(worker.load_milliseconds, 1)}
        self.about.setdefault(peer.name, worker.about | loading)

    def _interleave(self, workers: Sequence[Worker], shape: Shape) -> None:
        """One untimed pass of everyone, then the timed turns, of each as many as it has time for."""
        turns = {worker: self._warm_up(worker, shape) for worker in workers if self._is_asked(worker.peer, shape)}
        for turn in range(shape.turns):
            for worker in turns:
                if turn < turns[worker] and not worker.dead:
                    self._turn(worker, shape)
            _note(f"{shape.name}: turn {turn + 1} of {shape.turns} of {', '.join(one.peer.name for one in turns)}")

    def _warm_up(self, worker: Worker, shape: Shape) -> int:
        """Return how many turns there is time for: none if the first pass is the only one, or the last."""
        answer = self._ask(worker, shape, warm=0, runs=1)
        if answer is None:
            return 0
        (first,), peak = answer
        alone = first > 1000 * SHAPE_SECONDS
        self.timings.setdefault(shape.name, {})[worker.peer.name] = Timing([first] if alone else [], peak)
        return 0 if alone else max(1, int(1000 * SHAPE_SECONDS / (first * (shape.warm + shape.runs))))

    def _turn(self, worker: Worker, shape: Shape) -> None:
        answer = self._ask(worker, shape, shape.warm, shape.runs)
        if answer is not None:
            timing = self.timings[shape.name][worker.peer.name]
            timing.milliseconds += answer[0]
            timing.peak_megabytes = answer[1]

    def _ask(self, worker: Worker, shape: Shape, warm: int, runs: int) -> tuple[list[float], float] | None:
        """Milliseconds of the timed passes, and the peak of memory; None if the worker has ended."""
        time.sleep(PAUSE_SECONDS)
        peer = worker.peer
        inputs = input_file(self.work, shape, peer.takes, peer.whole)
        vectors = vectors_file(self.work, peer.name, shape.name)
        try:
            answer = worker.run(inputs, vectors, warm, runs, self.limits.seconds * shape.patience)
        except (PeerError, OverLimitError) as error:
            self._miss(peer, shape, error)
            return None
        return answer["milliseconds"], answer["peak_megabytes"]

    def _is_asked(self, peer: Peer, shape: Shape) -> bool:
        """Whether this peer runs this shape; if not, why not is noted."""
        reasons = self.missing.setdefault(shape.name, {})
        if peer.name in self.skip or f"{peer.name}:{shape.name}" in self.skip:
            reasons[peer.name] = "left out"
        elif peer.name in self._unstartable:
            reasons.setdefault(peer.name, "does not start")
        return peer.name not in reasons

    def _miss(self, peer: Peer, shape: Shape, error: PeerError | OverLimitError) -> None:
        reason = str(error) if isinstance(error, OverLimitError) else "died"
        self.missing.setdefault(shape.name, {})[peer.name] = reason
        self.timings.get(shape.name, {}).pop(peer.name, None)
        if isinstance(error, PeerError):
            self.failures.append(f"{shape.name}: {error}")
        _note(f"{peer.name} on {shape.name}: {error}")


def _note(text: str) -> None:
    print(text, file=sys.stderr)
