"""Everything one run of the bench measured, as data: to JSON and back.

Raw samples are kept; medians, percentiles and shares are made of them when they are asked for. Runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinabert_onnx.errors import InputError, first_line

from . import statistics
from .codec import decode
from .machine import Machine
from .plan import Cell, Configuration, Skipped, Wanted
from .roofline import Rates, Sizes
from .statistics import Estimate

SCHEMA = 1
_LARGEST_FILE = 1 << 28  # bytes; a bench of thousands of cells is far below


@dataclass(frozen=True)
class Model:
    """What was run: the bundle's name, where it came from, and what tells it from others."""

    name: str
    source: str | None
    weights_sha256: str
    space: str
    variant: str
    sizes: Sizes
    heads: int
    vocabulary: int
    longest: int


@dataclass(frozen=True)
class CeilingRates:
    """The machine's rates with so many threads, once a round; the first are from before the sweep."""

    threads: int
    rounds: tuple[Rates, ...]

    @property
    def best(self) -> Rates:
        """Return the machine's ceiling."""
        return Rates(max(rates.fp32 for rates in self.rounds), max(rates.int8 for rates in self.rounds))

    @property
    def typical(self) -> Rates:
        """Return what the machine did while the cells ran: medians."""
        rounds = self.rounds[1:] or self.rounds
        fp32, int8 = ([[getattr(rates, kind)] for rates in rounds] for kind in ("fp32", "int8"))
        return Rates(statistics.estimate(fp32).value, statistics.estimate(int8).value)


@dataclass(frozen=True)
class CellTimes:
    """One cell's raw samples.

    Attributes:
        cell: what was run.
        calls: lengths in tokens of the texts of each call of a pass.
        rounds: seconds of each call, in order, by round; the same number of whole passes in each.
    """

    cell: Cell
    calls: tuple[tuple[int, ...], ...]
    rounds: tuple[tuple[float, ...], ...]

    @property
    def samples(self) -> int:
        """Calls that were timed."""
        return sum(map(len, self.rounds))

    @property
    def texts(self) -> int:
        """Return texts of one pass."""
        return sum(map(len, self.calls))

    @property
    def tokens(self) -> int:
        """Return tokens of one pass, special ones included, none of padding."""
        return sum(map(sum, self.calls))

    @property
    def passes(self) -> tuple[tuple[float, ...], ...]:
        """Return seconds of each whole pass, by round."""
        size = len(self.calls)
        return tuple(
            tuple(sum(times[start : start + size]) for start in range(0, len(times), size)) for times in self.rounds
        )

    def latency(self, percent: int) -> Estimate | None:
        """Return seconds of a call, one of `PERCENTILES`; None where the samples cannot support the percentile."""
        return self._latencies[percent]

    @cached_property
    def _latencies(self) -> dict[int, Estimate | None]:
        kinds = None if self.cell.workload is None else len(self.calls)
        return {
            percent: statistics.estimate(self.rounds, percent)
            if statistics.is_supported(percent, self.samples, kinds)
            else None
            for percent in statistics.PERCENTILES
        }

    @cached_property
    def pass_time(self) -> Estimate:
        """Return seconds of a whole pass, median."""
        return statistics.estimate(self.passes)

    def share_of(self, sizes: Sizes, rates: Rates) -> float | None:
        """Return the least time of a pass's products at these rates, as a share of what it took; None on a GPU."""
        if self.cell.configuration.provider != "cpu":
            return None
        return self.least_seconds(sizes, rates) / self.pass_time.value

    def least_seconds(self, sizes: Sizes, rates: Rates) -> float:
        """Return what the products of a pass take at these rates."""
        return rates.seconds(sizes, [n for call in self.calls for n in call], self.cell.configuration.precision)


@dataclass(frozen=True)
class _InProcesses:
    """What fresh processes with one configuration gave."""

    precision: str
    provider: str
    threads: int

    @property
    def configuration(self) -> Configuration:
        """Return what the processes loaded."""
        return Configuration(self.precision, self.provider, self.threads)


@dataclass(frozen=True)
class ColdStart(_InProcesses):
    """Fresh processes that load one precision and embed one short text: seconds of each step, by process."""

    tokens: int
    processes: tuple[Mapping[str, float], ...]

    @property
    def steps(self) -> dict[str, float]:
        """Return the median seconds of each step, in order."""
        names = self.processes[0]
        return {name: statistics.estimate([[run[name]] for run in self.processes]).value for name in names}

    @property
    def total(self) -> Estimate:
        """Return seconds from the start of a process to its first vector."""
        return statistics.estimate([[sum(run.values())] for run in self.processes])


@dataclass(frozen=True)
class Memory(_InProcesses):
    """One fresh process that loads a model and embeds one text of `length` tokens; bytes.

    Attributes:
        loaded: resident once the model is loaded.
        peak: the most that was ever resident.
        afterwards: resident when the text is done.
        modelled: the peak that `max_memory` would plan with.
    """

    length: int
    loaded: int | None
    peak: int
    afterwards: int | None
    modelled: int


@dataclass(frozen=True)
class Record:
    """One run of the bench. `created` is UTC in ISO 8601, `seconds` what all of it took."""

    created: str
    seconds: float
    wanted: Wanted
    model: Model
    machine: Machine
    versions: Mapping[str, str]
    ceilings: tuple[CeilingRates, ...]
    cells: tuple[CellTimes, ...]
    cold_starts: tuple[ColdStart, ...]
    memory: tuple[Memory, ...]
    skipped: tuple[Skipped, ...]
    schema: int = SCHEMA

    def rates(self, threads: int) -> Rates:
        """Return the ceiling of so many threads."""
        return self._ceiling(threads).best

    def typical_rates(self, threads: int) -> Rates:
        """Return what the machine did with so many threads during this run."""
        return self._ceiling(threads).typical

    def _ceiling(self, threads: int) -> CeilingRates:
        return next(found for found in self.ceilings if found.threads == threads)

    def to_json(self, summary: Sequence[Mapping[str, object]] = ()) -> str:
        """Return the text of `bench.json`; its `summary`, the rows of `bench.csv`, is for other programs."""
        content = {"schema": self.schema, "summary": summary} | asdict(self)
        return "{\n" + ",\n".join(f"{_json(name)}: {_lines(value)}" for name, value in content.items()) + "\n}\n"


def _lines(value: object) -> str:
    """JSON with a line for each item of a list: to read and to compare, without one for each sample."""
    if isinstance(value, list | tuple) and value:
        return "[\n" + ",\n".join(f" {_json(item)}" for item in value) + "\n]"
    return _json(value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def read_record(path: Path) -> Record:
    """Read `bench.json`, or that of the directory `path`.

    Raises:
        InputError: not JSON of this form.
        OSError: it cannot be read.
    """
    file = path / "bench.json" if path.is_dir() else path
    if file.stat().st_size > _LARGEST_FILE:
        raise InputError(f"{file}: too large to be a bench.json")
    try:
        content: Any = json.loads(file.read_bytes())
        content.pop("summary", None)
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}, and this version of jinabert-onnx reads {SCHEMA}")
        record: Record = decode(Record, content)
        _require_figures(record)
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
        raise InputError(
            f"{file}: damaged record ({first_line(error)}); give a bench.json that `jinabert-onnx bench --output` wrote"
        ) from error
    return record


def _require_figures(record: Record) -> None:
    """Refuse what no bench measures, of which no figure could be made."""
    rates = [getattr(one, kind) for found in record.ceilings for one in found.rounds for kind in ("fp32", "int8")]
    samples = [seconds for found in record.cells for times in found.rounds for seconds in times]
    totals = [sum(run.values()) for start in record.cold_starts for run in start.processes]
    lengths = [length for found in record.cells for call in found.calls for length in call]
    sizes = asdict(record.model.sizes).values()
    if min([*rates, *samples, *totals, *lengths, *sizes, *(row.peak for row in record.memory)]) <= 0:
        raise ValueError("a figure is not above zero")
    passes = all(
        found.rounds
        and found.calls
        and {len(times) % len(found.calls) for times in found.rounds} == {0}
        and len(set(map(len, found.rounds))) == 1
        for found in record.cells
    )
    steps = all(start.processes and len({tuple(run) for run in start.processes}) == 1 for start in record.cold_starts)
    threads = {found.cell.configuration.threads for found in record.cells} | {one.threads for one in record.cold_starts}
    rated = {found.threads for found in record.ceilings if found.rounds}
    if not (record.cells and passes and steps and threads <= rated):
        raise ValueError("samples, steps or ceilings are missing")
