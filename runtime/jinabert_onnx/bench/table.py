"""A record as text for people: what ran on what, times, cold starts, memory, and what was not measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from .columns import aligned
from .noise_checks import doubts
from .plan import Configuration
from .record import CellTimes, ColdStart, Memory, Record
from .statistics import CONFIDENCE, Estimate, Interval

_COLUMNS = (
    *("texts x tokens", "p50 ms", f"{CONFIDENCE:.0%} interval", "p95 ms", "p99 ms", "texts/s", "tokens/s"),
    *("of ceiling", "samples"),
)


def lines_of(record: Record) -> Iterator[str]:
    """Yield the lines of the whole table."""
    yield from headline(record)
    for configuration, found in groupby(record.cells, key=lambda cell: cell.cell.configuration):
        yield ""
        yield from _configuration(record, configuration, list(found))
    yield from _cold_starts(record.cold_starts)
    yield from _memory(record.memory)
    yield from _notes(record)


def headline(record: Record) -> Iterator[str]:
    """Yield what ran, and on what."""
    model, machine = record.model, record.machine
    yield (
        f"{model.name}: {model.variant} JinaBERT, {model.sizes.layers} layers, {model.sizes.hidden} channels, "
        f"{model.heads} heads"
    )
    memory = "" if machine.memory is None else f", {machine.memory / 1e9:.0f} GB"
    yield f"{machine.cpu} ({machine.features}), {machine.cpus} CPUs ({machine.cpus_reason}){memory}, {machine.system}"
    yield ", ".join(f"{name} {release}" for name, release in record.versions.items())


def number(value: float) -> str:
    """Three significant digits, thousands in full."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _configuration(record: Record, configuration: Configuration, found: Sequence[CellTimes]) -> Iterator[str]:
    limit = ""
    if configuration.provider == "cpu":
        rates = record.rates(configuration.threads)
        products = f"products of fp32 at {rates.fp32 / 1e9:.0f} and of int8 at {rates.int8 / 1e9:.0f} Gop/s"
        limit = f" (cpu; the machine's ceiling: {products})"
    yield f"{configuration}{limit}"
    yield from aligned(_COLUMNS, [_cell(record, cell) for cell in found])


def _cell(record: Record, found: CellTimes) -> tuple[str, ...]:
    median, taken = found.latency(50), found.pass_time
    assert median is not None
    share = found.share_of(record.model.sizes, record.rates(found.cell.configuration.threads))
    return (
        found.cell.shape,
        number(median.value * 1000),
        _interval(median.interval),
        _percentile(found.latency(95)),
        _percentile(found.latency(99)),
        number(found.texts / taken.value),
        number(found.tokens / taken.value),
        "-" if share is None else f"{share:.0%}",
        str(found.samples),
    )


def _percentile(figure: Estimate | None) -> str:
    return "-" if figure is None else number(figure.value * 1000)


def _interval(interval: Interval | None) -> str:
    return "-" if interval is None else f"{number(interval.low * 1000)} to {number(interval.high * 1000)}"


def _cold_starts(starts: Sequence[ColdStart]) -> Iterator[str]:
    if not starts:
        return
    yield ""
    yield f"cold start to the first vector of {starts[0].tokens} tokens, median ms of fresh processes"
    rows = []
    for start in starts:
        total = start.total
        times = (number(value * 1000) for value in (*start.steps.values(), total.value))
        rows.append((str(start.configuration), *times, _interval(total.interval), str(len(start.processes))))
    yield from aligned(("", *starts[0].steps, "total", f"{CONFIDENCE:.0%} interval", "processes"), rows)


def _memory(figures: Sequence[Memory]) -> Iterator[str]:
    if not figures:
        return
    yield ""
    yield "memory of a process that embeds one text, MB (millions of bytes)"
    rows = []
    for row in figures:
        sizes = (_megabytes(size) for size in (row.loaded, row.peak, row.afterwards, row.modelled))
        rows.append((str(row.configuration), str(row.length), *sizes))
    yield from aligned(("", "tokens", "loaded", "peak", "afterwards", "planned with"), rows)


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.0f}"


def _notes(record: Record) -> Iterator[str]:
    if record.skipped:
        yield ""
        yield "not measured"
        reasons: dict[str, list[str]] = {}
        for item in record.skipped:
            reasons.setdefault(item.why, []).append(item.what)
        for why, cells in reasons.items():
            yield f"  {'; '.join(cells)}: {why}"
    yield ""
    yield "A time is one call of `encode`, text to vectors; tokens are real ones, never padding. A percentile is told"
    yield "where a sample lies beyond it. The ceiling is linear layers and full attention at the rates above; attention"
    yield "that leaves out keys may exceed it."
    for doubt in doubts(record):
        yield f"Doubtful: {doubt}."
