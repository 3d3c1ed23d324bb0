"""One whole run of the bench: plan, cold starts, memory, then all cells in turns. Composes the other modules."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np

from jinabert_onnx.embedder import Embedder
from jinabert_onnx.engine.batching import TOKEN_BUDGETS, plan_batches
from jinabert_onnx.engine.cancellation import Cancellation
from jinabert_onnx.errors import InputError
from jinabert_onnx.progress import Progress

from . import machine
from .cold_start import TOKENS, measure_cold_starts
from .memory import measure_memory
from .plan import Cell, Configuration, Cost, Skipped, Wanted, calls_of, choose, shapes
from .record import CeilingRates, CellTimes, ColdStart, Memory, Record
from .roofline import sizes_of
from .schedule import share_out
from .subject import Subject, describe_model, load, open_subject
from .timing import Job, time_rounds, warm_up

Note = Callable[[str], None]

_COLD_STARTS, _QUICK_COLD_STARTS = 10, 3  # processes that count
_BESIDE = 1.15  # with the ceilings, times the passes' own
_OVERHEAD, _BATCH_SECONDS = 1.25, 0.003  # expected before anything has run: times the products' own, and a batch beside

_Result = TypeVar("_Result")


def run_bench(
    source: str,
    wanted: Wanted,
    *,
    revision: str | None = None,
    local_files_only: bool = False,
    note: Note = lambda text: None,
) -> Record:
    """Measure the bundle at `source`, a directory or a hub id; minutes, by `wanted.seconds`.

    Args:
        source: directory of the bundle, or the hub id of one.
        wanted: what to measure; `Wanted()` is a sweep over all that the bundle holds.
        revision: branch, tag or commit, for a hub id.
        local_files_only: never ask the hub.
        note: told in a line each what is planned and what begins; a bar is drawn on a terminal's stderr.

    Raises:
        InputError: a value that the model or the bench cannot take, or all that could be measured is left out.
        RunError: a process that was started failed.
        What `Embedder.load` raises.
    """
    begun = time.monotonic()
    created = datetime.now(UTC).isoformat(timespec="seconds")
    here = machine.describe()  # the load before this adds to it
    subject = open_subject(source, wanted, revision, local_files_only)
    cost = _costs(subject, wanted)
    possible = [Cell(configuration, *shape) for configuration in subject.configurations for shape in shapes(wanted)]
    cells, skipped = choose(possible, wanted, subject.longest, cost, machine.available_memory())
    if not cells:
        raise InputError(f"nothing is left to measure; {skipped[0].what}: {skipped[0].why}")
    note(_announcement(subject, wanted, cells, skipped, cost))
    cold_starts = _cold_starts(subject, wanted, note)
    memory, unknown = _memory(subject, cells, wanted.seed, note)
    note("timing")
    times, ceilings = interruptible(lambda stop: _times(subject, wanted, cells, stop))
    return Record(
        created=created,
        seconds=round(time.monotonic() - begun, 1),
        wanted=wanted,
        model=describe_model(subject.bundle),
        machine=here,
        versions=machine.versions(),
        ceilings=ceilings,
        cells=times,
        cold_starts=cold_starts,
        memory=memory,
        skipped=(*skipped, *unknown),
    )


def interruptible(work: Callable[[Cancellation], _Result]) -> _Result:
    """Run `work` in a thread, so that an interrupt ends it in the middle of a long run; return what it returns."""
    cancellation = Cancellation()
    with ThreadPoolExecutor(1) as other:
        try:
            return other.submit(work, cancellation).result()
        except BaseException:
            cancellation.cancel()
            raise


def _costs(subject: Subject, wanted: Wanted) -> Callable[[Cell], Cost]:
    """What a cell is expected to take, before anything has run."""
    sizes = sizes_of(subject.bundle)
    rates = {ceiling.threads: found for ceiling, found in subject.ceilings.items()}
    held = sum(subject.memory(configuration.precision).resident() for configuration in subject.configurations)

    def cost(cell: Cell) -> Cost:
        configuration = cell.configuration
        calls = calls_of(cell, wanted.seed, subject.longest)
        lengths = [length for call in calls for length in call]
        budget = TOKEN_BUDGETS[configuration.provider]
        batches = [[call[n] for n in rows] for call in calls for rows in plan_batches(call, cell.batch_size, budget)]
        seconds = rates[configuration.threads].seconds(sizes, lengths, configuration.precision)
        model = subject.memory(configuration.precision)
        peak = max(model.peak(batch) for batch in batches) - model.resident()
        return Cost(_OVERHEAD * seconds + _BATCH_SECONDS * len(batches), held + peak)

    return cost


def _announcement(
    subject: Subject, wanted: Wanted, cells: Sequence[Cell], skipped: Sequence[Skipped], cost: Callable[[Cell], Cost]
) -> str:
    expected = [cost(cell).seconds for cell in cells]
    turns = share_out(expected, wanted.budget, wanted.most_rounds, wanted.fewest_rounds)
    passes = sum(one * (turn.total + 1) for one, turn in zip(expected, turns, strict=True))  # with one to warm up
    starts = sum(map(subject.start_seconds, subject.configurations))
    seconds = passes * _BESIDE + starts * (_repeats(wanted) + 2)
    for configuration, length in _for_memory(cells):
        seconds += subject.start_seconds(configuration) + cost(Cell(configuration, 1, length, None)).seconds
    about = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"
    left_out = f", {len(skipped)} left out (told at the end)" if skipped else ""
    return f"{len(cells)} cells in {wanted.most_rounds} rounds{left_out}; about {about}"


def _for_memory(cells: Sequence[Cell]) -> list[tuple[Configuration, int]]:
    """What gives a figure of memory: each precision and length, in the first configuration that is timed with both."""
    found: dict[tuple[str, int], Configuration] = {}
    for cell in cells:
        if cell.length is not None:
            found.setdefault((cell.configuration.precision, cell.length), cell.configuration)
    return [(configuration, length) for (_, length), configuration in found.items()]


def _repeats(wanted: Wanted) -> int:
    return _QUICK_COLD_STARTS if wanted.quick else _COLD_STARTS


def _cold_starts(subject: Subject, wanted: Wanted, note: Note) -> tuple[ColdStart, ...]:
    note("cold starts")
    text = subject.maker.make(max(TOKENS, subject.maker.shortest), np.random.default_rng(wanted.seed))
    processes = len(subject.configurations) * (_repeats(wanted) + 1)
    with Progress(processes, "processes", None) as progress:
        return measure_cold_starts(
            subject.configurations, subject.place, text, _repeats(wanted), lambda: progress.advance(1)
        )


def _memory(
    subject: Subject, cells: Sequence[Cell], seed: int, note: Note
) -> tuple[tuple[Memory, ...], tuple[Skipped, ...]]:
    """A figure for each precision and length that is timed."""
    wanted = _for_memory(cells)
    if wanted:
        note("memory")
    found: list[Memory | Skipped] = []
    with Progress(len(wanted), "processes", None) as progress:
        for configuration, length in wanted:
            text = subject.maker.make(length, np.random.default_rng([seed, length]))
            model = subject.memory(configuration.precision)
            found.append(measure_memory(configuration, subject.place, text, length, model))
            progress.advance(1)
    figures = tuple(item for item in found if isinstance(item, Memory))
    return figures, tuple(item for item in found if isinstance(item, Skipped))


def _times(
    subject: Subject, wanted: Wanted, cells: Sequence[Cell], cancellation: Cancellation
) -> tuple[tuple[CellTimes, ...], tuple[CeilingRates, ...]]:
    with ExitStack() as loaded:
        jobs = list(_jobs(subject, wanted, cells, loaded))
        seconds = [warm_up(job, cancellation) for job in jobs]
        turns = share_out(seconds, wanted.budget, wanted.most_rounds, wanted.fewest_rounds)
        planned = sum(one * turn.total for one, turn in zip(seconds, turns, strict=True))
        with Progress(max(1, int(planned)), "s of passes", None) as progress:
            bar = _Seconds(progress)
            return time_rounds(
                jobs,
                turns,
                wanted.most_rounds,
                subject.ceilings,
                wanted.seed,
                cancellation,
                lambda index: bar.advance(seconds[index]),  # as planned, so that it ends where it should
            )


class _Seconds:
    """Advances a bar that counts whole seconds by the parts of a second that passes take."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._left = progress, 0.0

    def advance(self, seconds: float) -> None:
        self._left += seconds
        whole = int(self._left)
        self._left -= whole
        self._progress.advance(whole)


def _jobs(subject: Subject, wanted: Wanted, cells: Sequence[Cell], loaded: ExitStack) -> Iterator[Job]:
    models: dict[Configuration, Embedder] = {}
    texts: dict[tuple[int, ...], tuple[str, ...]] = {}
    for cell in cells:
        configuration = cell.configuration
        if configuration not in models:
            models[configuration] = loaded.enter_context(load(subject.place, configuration))
        calls = calls_of(cell, wanted.seed, subject.longest)
        for call in calls:
            if call not in texts:
                generator = np.random.default_rng([wanted.seed, *call])
                texts[call] = tuple(subject.maker.make(length, generator) for length in call)
        yield Job(cell, models[configuration], tuple(texts[call] for call in calls), calls)
