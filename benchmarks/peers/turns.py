"""Workers asked in turns: who runs when, and how long the rest between them is."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from .agreement import vectors_file
from .client import PeerError, Worker
from .registry import Peer
from .workload import Shape, input_file

# Idle threads of some runtimes spin for up to 200 ms before they sleep, and would take another's turn from it.
PAUSE_SECONDS = 0.3

# A way of batching whose first pass takes this many times as long as the peer's best one is not run again.
HOPELESS = 1.5


@dataclass
class Timing:
    """Every timed pass of one peer over one shape, by form; `tried` holds the first passes, untimed otherwise."""

    tried: dict[str, float] = field(default_factory=dict)
    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    peak_megabytes: float = 0.0

    @property
    def form(self) -> str:
        """The form that was fastest in the median."""
        return min(self.milliseconds, key=lambda form: statistics.median(self.milliseconds[form]))

    @property
    def median(self) -> float:
        """Of the fastest form."""
        return statistics.median(self.milliseconds[self.form])


Timings = dict[str, dict[str, Timing]]  # shape, peer


@dataclass
class Turns:
    """A run of the benchmark: what is asked of whom, and what came of it.

    Attributes:
        skip: (peer, shape) pairs to leave out.
        repeats: turns and passes are multiplied by it.
        about: what each peer tells of itself.
        failures: which workers died, one line each.
    """

    work: Path
    skip: frozenset[tuple[str, str]]
    repeats: float = 1.0
    about: dict[str, dict[str, object]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    _timings: Timings = field(default_factory=dict)

    @property
    def timings(self) -> Timings:
        """What has been timed, by shape and peer."""
        timed = {
            shape: {name: timing for name, timing in row.items() if timing.milliseconds}
            for shape, row in self._timings.items()
        }
        return {shape: row for shape, row in timed.items() if row}

    def run(self, peers: Mapping[str, Peer], shapes: Iterable[Shape]) -> None:
        """First the shapes that all workers share, then those that each runs alone."""
        shapes = list(shapes)
        with ExitStack() as alive:
            shared = [shape for shape in shapes if not shape.alone]
            workers = [self._start(peer, alive) for peer in peers.values()] if shared else []
            for shape in shared:
                self._interleave([worker for worker in workers if worker is not None], shape)
        for shape in (shape for shape in shapes if shape.alone):
            for peer in peers.values():
                self._run_alone(peer, shape)

    def _start(self, peer: Peer, alive: ExitStack) -> Worker | None:
        try:
            worker = alive.enter_context(Worker(peer, self.work))
        except PeerError as error:
            self._fail(error)
            return None
        self.about[peer.name] = worker.about | {"load_milliseconds": worker.load_milliseconds}
        return worker

    def _interleave(self, workers: list[Worker], shape: Shape) -> None:
        """One untimed turn of everyone in every form, then the timed ones."""
        turns = max(1, round(shape.turns * self.repeats))
        asked = [(worker, form) for worker in workers for form in self._forms(worker.peer, shape)]
        for worker, form in asked:
            self._turn(worker, shape, form, timed=False)
        for turn in range(turns):
            for worker, form in asked:
                if self._is_hopeful(worker.peer, shape, form):
                    self._turn(worker, shape, form, timed=True)
            _note(f"{shape.name}: turn {turn + 1} of {turns}")

    def _run_alone(self, peer: Peer, shape: Shape) -> None:
        if not self._forms(peer, shape):
            return
        with ExitStack() as alive:
            worker = self._start(peer, alive)
            for form in self._forms(peer, shape) if worker else ():
                assert worker is not None
                self._turn(worker, shape, form, timed=True)
        _note(f"{shape.name}: {peer.name}")

    def _turn(self, worker: Worker, shape: Shape, form: str, timed: bool) -> None:
        name = worker.peer.name
        if worker.dead:
            return
        time.sleep(PAUSE_SECONDS)
        runs = max(1, round(shape.runs * self.repeats)) if timed else 1
        vectors = vectors_file(self.work, name, shape.name, form)
        try:
            answer = worker.run(input_file(self.work, shape, form), vectors, shape.warm if timed else 0, runs)
        except PeerError as error:
            self._fail(error)
            return
        timing = self._timings.setdefault(shape.name, {}).setdefault(name, Timing())
        timing.peak_megabytes = answer["peak_megabytes"]
        if timed:
            timing.milliseconds.setdefault(form, []).extend(answer["milliseconds"])
        else:
            timing.tried[form] = answer["milliseconds"][0]

    def _is_hopeful(self, peer: Peer, shape: Shape, form: str) -> bool:
        """Whether the first pass in this form was near the peer's best."""
        tried = self._timings.get(shape.name, {}).get(peer.name, Timing()).tried
        return form in tried and tried[form] <= HOPELESS * min(tried.values())

    def _forms(self, peer: Peer, shape: Shape) -> list[str]:
        """The forms in which this peer runs this shape; none if it is left out."""
        if (peer.name, shape.name) in self.skip or max(shape.lengths) > peer.longest:
            return []
        return [form for form in shape.forms if len(shape.forms) == 1 or form in peer.forms]

    def _fail(self, error: PeerError) -> None:
        self.failures.append(str(error))
        _note(str(error))


def _note(text: str) -> None:
    print(text, file=sys.stderr)
