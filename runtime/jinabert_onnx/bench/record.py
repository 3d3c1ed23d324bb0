"""Everything one run of the bench measured, as data: to JSON and back.

Raw samples are kept; medians, percentiles and shares are made of them when they are asked for. Runs nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from jinabert_onnx.errors import InputError, first_line

from . import statistics
from .kinds import EMBEDDING, KINDS, Kind
from .machine import Machine
from .plan import Cell, Configuration, Skipped
from .roofline import Rates, Sizes
from .statistics import Estimate, is_supported

SCHEMA = 1


@dataclass(frozen=True)
class Model:
    """What was run: the bundle's name, what tells it from others, its sizes, and the name of its kind."""

    name: str
    weights_sha256: str
    variant: str
    sizes: Sizes
    heads: int
    longest: int
    kind: str = EMBEDDING.name  # earlier versions measured no others, and recorded none


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
    """One cell's raw samples: seconds of each call, in order, by round; as many calls in each."""

    cell: Cell
    rounds: tuple[tuple[float, ...], ...]

    @property
    def samples(self) -> int:
        """Calls that were timed."""
        return sum(map(len, self.rounds))

    @cached_property
    def median(self) -> Estimate:
        """Return seconds of a call, median."""
        return statistics.estimate(self.rounds)

    def latency(self, percent: int) -> Estimate | None:
        """Return seconds of a call, one of `PERCENTILES`; None where the samples cannot support the percentile."""
        return statistics.estimate(self.rounds, percent) if is_supported(percent, self.samples) else None

    def share_of(self, sizes: Sizes, rates: Rates) -> float | None:
        """Return the least time of a call's products at these rates, as a share of what it took; None on a GPU."""
        if self.cell.configuration.provider != "cpu":
            return None
        return rates.seconds(sizes, self.cell.lengths, self.cell.configuration.precision) / self.median.value


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
    """Fresh processes that load one precision and run one short text or pair: seconds of each step, by process."""

    tokens: int
    processes: tuple[Mapping[str, float], ...]

    @property
    def steps(self) -> dict[str, float]:
        """Return the median seconds of each step, in order."""
        names = self.processes[0]
        return {name: statistics.estimate([[run[name]] for run in self.processes]).value for name in names}

    @property
    def total(self) -> Estimate:
        """Return seconds from the start of a process to its first result."""
        return statistics.estimate([[sum(run.values())] for run in self.processes])


@dataclass(frozen=True)
class Memory(_InProcesses):
    """One fresh process that loads a model and runs one text or pair of `length` tokens; bytes.

    Attributes:
        loaded: resident once the model is loaded.
        peak: the most that was ever resident.
        afterwards: resident when it is done.
        modelled: the peak that `max_memory` would plan with.
    """

    length: int
    loaded: int | None
    peak: int
    afterwards: int | None
    modelled: int


@dataclass(frozen=True)
class Record:
    """One run of the bench.

    `created` is UTC in ISO 8601, `seconds` what all of it took. `attention` and `layers` say by precision what computes
    them, such as "avx2" or "portable".
    """

    created: str
    seconds: float
    model: Model
    machine: Machine
    versions: Mapping[str, str]
    ceilings: tuple[CeilingRates, ...]
    cells: tuple[CellTimes, ...]
    cold_starts: tuple[ColdStart, ...]
    memory: tuple[Memory, ...]
    skipped: tuple[Skipped, ...]
    schema: int = SCHEMA
    attention: Mapping[str, str] = field(default_factory=dict)  # earlier versions recorded none
    layers: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """Return what kind of model was measured."""
        return KINDS[self.model.kind]

    def rates(self, threads: int) -> Rates:
        """Return the ceiling of so many threads."""
        return self._ceiling(threads).best

    def typical_rates(self, threads: int) -> Rates:
        """Return what the machine did with so many threads during this run."""
        return self._ceiling(threads).typical

    def _ceiling(self, threads: int) -> CeilingRates:
        return next(found for found in self.ceilings if found.threads == threads)

    def to_json(self, summary: Sequence[Mapping[str, object]] = ()) -> str:
        """Return the text of `bench.json`; its `summary`, one row per cell, is for other programs."""
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
    try:
        content: Any = json.loads(file.read_bytes())
        if content["schema"] != SCHEMA:
            raise ValueError(f"schema {content['schema']}, and this version of jinabert-onnx reads {SCHEMA}")
        record: Record = _decode(Record, content)
        if record.model.kind not in KINDS:
            raise ValueError(f"kind {record.model.kind!r} of model is unknown")
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{file}: damaged record ({first_line(error)}); give a bench.json that `jinabert-onnx bench --output` wrote"
        ) from error
    return record


def _decode(kind: Any, content: Any) -> Any:
    """Return `content`, as `json` gives it, as an object of the dataclass `kind`; fields that it lacks are ignored."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        known = {name: _decode(hints[name], value) for name, value in content.items() if name in hints}
        return kind(**known)  # type: ignore[operator]
    if get_origin(kind) is tuple:
        return tuple(_decode(get_args(kind)[0], item) for item in content)
    return content
