"""One whole run of the bench: plan, cold starts, memory, then all cells in turns. Composes the other modules."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np

from jinabert_onnx.engine.batching import TOKEN_BUDGETS, plan_batches
from jinabert_onnx.engine.cancellation import Cancellation
from jinabert_onnx.errors import InputError
from jinabert_onnx.model import Model
from jinabert_onnx.progress import Progress

from . import machine
from .plan import Cell, Configuration, Cost, Skipped, Wanted, cells_of, choose
from .processes import TOKENS, measure_cold_starts, measure_memory
from .record import CeilingRates, CellTimes, ColdStart, Memory, Record
from .roofline import sizes_of
from .subject import Subject, describe_model, load, open_subject
from .timing import Job, share_out, time_rounds, warm_up

Note = Callable[[str], None]

_COLD_STARTS, _QUICK_COLD_STARTS = 10, 3  # processes that count
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
    lengths = subject.kind.quick_lengths if wanted.quick else subject.kind.lengths
    possible = cells_of(wanted, tuple(subject.configurations), lengths)
    cells, skipped = choose(possible, wanted, subject.longest, _costs(subject), machine.available_memory())
    if not cells:
        raise InputError(f"nothing is left to measure; {skipped[0].what}: {skipped[0].why}")
    left_out = f", {len(skipped)} left out (told at the end)" if skipped else ""
    note(f"{len(cells)} cells in {wanted.most_rounds} rounds, about {wanted.budget:g} s{left_out}")
    note("cold starts")
    cold_starts = _cold_starts(subject, _QUICK_COLD_STARTS if wanted.quick else _COLD_STARTS)
    note("memory")
    memory = _memory(subject, cells)
    note("timing")
    times, ceilings = interruptible(lambda stop: _times(subject, wanted, cells, stop))
    return Record(
        created=created,
        seconds=round(time.monotonic() - begun, 1),
        model=describe_model(subject.bundle),
        machine=here,
        versions=machine.versions(),
        ceilings=ceilings,
        cells=times,
        cold_starts=cold_starts,
        memory=tuple(item for item in memory if isinstance(item, Memory)),
        skipped=(*skipped, *(item for item in memory if isinstance(item, Skipped))),
        attention=subject.attention,
        layers=subject.layers,
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


def _costs(subject: Subject) -> Callable[[Cell], Cost]:
    """Estimate what a cell takes, before anything has run."""
    sizes = sizes_of(subject.bundle)
    rates = {ceiling.threads: found for ceiling, found in subject.ceilings.items()}
    held = sum(subject.memory(configuration).resident() for configuration in subject.configurations)

    def cost(cell: Cell) -> Cost:
        configuration = cell.configuration
        batches = plan_batches(cell.lengths, cell.batch_size, TOKEN_BUDGETS[configuration.provider])
        seconds = rates[configuration.threads].seconds(sizes, cell.lengths, configuration.precision)
        model = subject.memory(configuration)
        peak = max(model.peak([cell.length] * len(batch)) for batch in batches) - model.resident()
        return Cost(_OVERHEAD * seconds + _BATCH_SECONDS * len(batches), held + peak)

    return cost


def _cold_starts(subject: Subject, repeats: int) -> tuple[ColdStart, ...]:
    item = subject.maker.make(max(TOKENS, subject.maker.shortest), np.random.default_rng(0))
    processes = len(subject.configurations) * (repeats + 1)
    with Progress(processes, "processes", None) as progress:
        return measure_cold_starts(
            tuple(subject.configurations), subject.place, item, repeats, lambda: progress.advance(1)
        )


def _memory(subject: Subject, cells: Sequence[Cell]) -> list[Memory | Skipped]:
    """A figure for each precision and length, in the first configuration that is timed with both."""
    wanted: dict[tuple[str, int], Configuration] = {}
    for cell in cells:
        wanted.setdefault((cell.configuration.precision, cell.length), cell.configuration)
    found = []
    with Progress(len(wanted), "processes", None) as progress:
        for (_, length), configuration in wanted.items():
            item = subject.maker.make(length, np.random.default_rng(length))
            found.append(measure_memory(configuration, subject.place, item, length, subject.memory(configuration)))
            progress.advance(1)
    return found


def _times(
    subject: Subject, wanted: Wanted, cells: Sequence[Cell], cancellation: Cancellation
) -> tuple[tuple[CellTimes, ...], tuple[CeilingRates, ...]]:
    rounds = wanted.most_rounds
    with ExitStack() as loaded:
        models = {one: loaded.enter_context(load(subject.place, subject.kind, one)) for one in subject.configurations}
        jobs = [_job(subject, cell, models[cell.configuration]) for cell in cells]
        seconds = [warm_up(job, cancellation) for job in jobs]
        turns = share_out(seconds, wanted.budget, rounds, wanted.fewest_rounds)
        with Progress(sum(turn.total for turn in turns), "calls", None) as progress:
            return time_rounds(jobs, turns, rounds, subject.ceilings, cancellation, progress.advance)


def _job(subject: Subject, cell: Cell, model: Model) -> Job:
    """Texts or pairs are the same for all configurations, and in later runs."""
    generator = np.random.default_rng([cell.batch_size, cell.length])
    items = [subject.maker.make(length, generator) for length in cell.lengths]
    return Job(cell, lambda stop: subject.kind.run(model, items, cell.batch_size, stop))
