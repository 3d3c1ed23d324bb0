"""Two runs of the bench compared: what is certainly faster or slower, and what is noise.

Two kinds of noise are in a difference. That within the runs is seen in their rounds: the ratio of two medians has an
interval, wide enough to hold for all rows of the comparison together. That between the runs is not: another process has
its memory elsewhere, and the machine may be warmer. So a difference counts only from a margin on, which grows with what
the machine's own ceiling changed by. Runs and prints nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jinabert_onnx.errors import InputError

from .noise_checks import doubts
from .plan import Configuration
from .record import Memory, Record
from .statistics import CONFIDENCE, Interval, Rounds, estimate, ratio_interval

MARGIN = 0.03  # between two processes that run the same
MEMORY_MARGIN = 0.05  # between single figures

SAME, UNCLEAR = "same", "unclear"
SLOWER, FASTER = "slower", "faster"
MORE, LESS = "more", "less"


@dataclass(frozen=True)
class Difference:
    """One thing that both runs measured.

    Attributes:
        name: what, in words; kind: "time", "cold start" or "memory".
        before, after: seconds or bytes, in the earlier and the later run.
        interval: of after / before; None where a run had too few rounds, and of single figures.
        verdict: `SLOWER`, `FASTER`, `MORE`, `LESS`, `SAME` (certainly within the margin) or `UNCLEAR`.
    """

    name: str
    kind: str
    before: float
    after: float
    interval: Interval | None
    verdict: str

    @property
    def ratio(self) -> float:
        """After / before."""
        return self.after / self.before


@dataclass(frozen=True)
class Comparison:
    """Everything that two runs have in common, what only one has, and what else differs between them."""

    differences: tuple[Difference, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    margins: Mapping[Configuration, float]
    caveats: tuple[str, ...]

    def slower_than(self, slowdown: float) -> tuple[Difference, ...]:
        """Return what is certainly slower by more than `slowdown`, a share such as 0.1, and by more than noise."""
        return tuple(
            item
            for item in self.differences
            if item.verdict == SLOWER and item.interval is not None and item.interval.low > 1 + slowdown
        )


@dataclass(frozen=True)
class _Samples:
    """What one run has of one thing: samples by round."""

    configuration: Configuration
    name: str
    kind: str
    rounds: Rounds


def compare(before: Record, after: Record) -> Comparison:
    """Return what changed from one run to a later one.

    Raises:
        InputError: they are of models of different kinds, or have nothing in common.
    """
    if before.kind is not after.kind:
        raise InputError(
            f"the two runs are of different kinds of models, {before.kind.name} before and {after.kind.name} after; "
            "compare runs of one kind"
        )
    earlier, later = _timed(before), _timed(after)
    common = [key for key in earlier if key in later]
    held_before, held_after = _held(before), _held(after)
    if not common:
        raise InputError("the two runs have no timing in common; measure the same precisions, threads and lengths")
    confidence = 1 - (1 - CONFIDENCE) / len(common)  # so that all intervals hold together
    margins = {earlier[key].configuration: _margin(before, after, earlier[key].configuration) for key in common}
    differences = [
        _difference(earlier[key], later[key], confidence, margins[earlier[key].configuration]) for key in common
    ]
    differences += [_memory(held_before[key], held_after[key]) for key in held_before if key in held_after]
    return Comparison(
        differences=tuple(differences),
        only_before=tuple(earlier[key].name for key in earlier if key not in later),
        only_after=tuple(later[key].name for key in later if key not in earlier),
        margins=margins,
        caveats=tuple(_caveats(before, after)),
    )


def _timed(record: Record) -> dict[object, _Samples]:
    """Everything with samples, by what makes it the same thing in another run."""
    found: dict[object, _Samples] = {}
    for cell in record.cells:
        found[cell.cell] = _Samples(cell.cell.configuration, str(cell.cell), "time", cell.rounds)
    for start in record.cold_starts:
        configuration = start.configuration
        rounds = [[sum(run.values())] for run in start.processes]
        found[configuration, start.tokens] = _Samples(
            configuration, f"{configuration}: cold start", "cold start", rounds
        )
    return found


def _held(record: Record) -> dict[object, Memory]:
    return {(row.configuration, row.length): row for row in record.memory}


def _difference(earlier: _Samples, later: _Samples, confidence: float, margin: float) -> Difference:
    interval = ratio_interval(earlier.rounds, later.rounds, confidence)
    verdict = _verdict(interval, margin)
    before, after = estimate(earlier.rounds).value, estimate(later.rounds).value
    return Difference(earlier.name, earlier.kind, before, after, interval, verdict)


def _verdict(interval: Interval | None, margin: float) -> str:
    if interval is None:
        return UNCLEAR
    if interval.low > 1 + margin:
        return SLOWER
    if interval.high < 1 / (1 + margin):
        return FASTER
    return SAME if 1 / (1 + margin) <= interval.low and interval.high <= 1 + margin else UNCLEAR


def _memory(before: Memory, after: Memory) -> Difference:
    ratio = after.peak / before.peak
    verdict = MORE if ratio > 1 + MEMORY_MARGIN else LESS if ratio < 1 / (1 + MEMORY_MARGIN) else SAME
    name = f"{before.configuration}: peak memory of {before.length} tokens"
    return Difference(name, "memory", float(before.peak), float(after.peak), None, verdict)


def _margin(before: Record, after: Record, configuration: Configuration) -> float:
    """From which share on a difference is not the machine's: more where its ceiling differs between the runs."""
    earlier, later = (record.typical_rates(configuration.threads) for record in (before, after))
    change = abs(later.fp32 / earlier.fp32 - 1)
    if configuration.precision == "int8":
        change = max(change, abs(later.int8 / earlier.int8 - 1))
    return MARGIN + change


def _caveats(before: Record, after: Record) -> Iterator[str]:
    """Say what besides the program's speed could make the runs differ."""
    for what, one, other in (
        ("processor", before.machine.cpu, after.machine.cpu),
        ("system", before.machine.system, after.machine.system),
        ("CPUs", before.machine.cpus, after.machine.cpus),
        ("weights", before.model.weights_sha256[:12], after.model.weights_sha256[:12]),
    ):
        if one != other:
            yield f"{what}: {one} before, {other} after"
    for what, befores, afters in (
        ("attention", before.attention, after.attention),
        ("layers", before.layers, after.layers),
    ):
        for precision in sorted(befores.keys() & afters.keys()):
            earlier, later = befores[precision], afters[precision]
            if earlier != later:
                yield f"{what} of {precision}: {earlier} before, {later} after"
    for when, record in (("before", before), ("after", after)):
        for doubt in doubts(record):
            yield f"{when}, {doubt}"
    for name in sorted({*before.versions, *after.versions}):
        earlier, later = before.versions.get(name, "none"), after.versions.get(name, "none")
        if earlier != later:
            yield f"{name}: {earlier} before, {later} after"
