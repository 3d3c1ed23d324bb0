"""A record as text for people: what ran on what, times, cold starts, memory, and what was not measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from .columns import aligned
from .kinds import CROSS_ENCODER, Kind
from .noise_checks import doubts
from .plan import Configuration
from .record import ColdStart, Memory, Record
from .statistics import CONFIDENCE
from .summary import rows
from .texts import QUERY_TOKENS


def lines_of(record: Record) -> Iterator[str]:
    """Yield the lines of the whole table."""
    kind = record.kind
    yield from headline(record)
    cells = zip(record.cells, rows(record), strict=True)
    for configuration, found in groupby(cells, key=lambda pair: pair[0].cell.configuration):
        yield ""
        yield f"{configuration}{_limit(record, configuration)}"
        yield from aligned(_columns(kind), [_cell(row, kind) for _, row in found])
    yield from _cold_starts(record.cold_starts, kind)
    yield from _memory(record.memory, kind)
    yield from _notes(record)


def headline(record: Record) -> Iterator[str]:
    """Yield what ran, and on what."""
    model, machine = record.model, record.machine
    yield (
        f"{model.name}: {model.variant} JinaBERT {record.kind.name}, {model.sizes.layers} layers, "
        f"{model.sizes.hidden} channels, {model.heads} heads"
    )
    memory = "" if machine.memory is None else f", {machine.memory / 1e9:.0f} GB"
    yield f"{machine.cpu} ({machine.features}), {machine.cpus} CPUs ({machine.cpus_reason}){memory}, {machine.system}"
    yield ", ".join(f"{name} {release}" for name, release in record.versions.items())
    for what, names in (("attention", record.attention), ("layers", record.layers)):
        if names:
            yield f"{what}: {', '.join(f'{name} in {precision}' for precision, name in names.items())}"


def number(value: float) -> str:
    """Three significant digits, thousands in full."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _limit(record: Record, configuration: Configuration) -> str:
    if configuration.provider != "cpu":
        return ""
    rates = record.rates(configuration.threads)
    products = f"products of fp32 at {rates.fp32 / 1e9:.0f} and of int8 at {rates.int8 / 1e9:.0f} Gop/s"
    return f" (cpu; the machine's ceiling: {products})"


def _columns(kind: Kind) -> tuple[str, ...]:
    times = ("p50 ms", f"{CONFIDENCE:.0%} interval", "p95 ms", "p99 ms")
    return (f"{kind.item}s x tokens", *times, f"{kind.item}s/s", "tokens/s", "of ceiling", "samples")


def _cell(row: Mapping[str, Any], kind: Kind) -> tuple[str, ...]:
    share = row["share_of_ceiling"]
    return (
        f"{row['batch_size']} x {row['length']}",
        _figure(row["p50_ms"]),
        _between(row["p50_low_ms"], row["p50_high_ms"]),
        _figure(row["p95_ms"]),
        _figure(row["p99_ms"]),
        number(row[f"{kind.item}s_a_second"]),
        number(row["tokens_a_second"]),
        "-" if share is None else f"{share:.0%}",
        str(row["samples"]),
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else number(value)


def _between(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{number(low)} to {number(high)}"


def _cold_starts(starts: Sequence[ColdStart], kind: Kind) -> Iterator[str]:
    if not starts:
        return
    yield ""
    yield f"cold start to the first {kind.result} of {starts[0].tokens} tokens, median ms of fresh processes"
    lines = []
    for start in starts:
        total = start.total
        times = (number(value * 1000) for value in (*start.steps.values(), total.value))
        interval = total.interval
        between = _between(interval.low * 1000, interval.high * 1000) if interval else "-"
        lines.append((str(start.configuration), *times, between, str(len(start.processes))))
    yield from aligned(("", *starts[0].steps, "total", f"{CONFIDENCE:.0%} interval", "processes"), lines)


def _memory(figures: Sequence[Memory], kind: Kind) -> Iterator[str]:
    if not figures:
        return
    yield ""
    yield f"memory of a process that {kind.verb} one {kind.item}, MB (millions of bytes)"
    lines = []
    for row in figures:
        sizes = (_megabytes(size) for size in (row.loaded, row.peak, row.afterwards, row.modelled))
        lines.append((str(row.configuration), str(row.length), *sizes))
    yield from aligned(("", "tokens", "loaded", "peak", "afterwards", "planned with"), lines)


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
    kind = record.kind
    yield f"A time is one call of `{kind.method}`, {kind.item}s to {kind.result}s; tokens are real ones, never"
    yield "padding. A percentile is shown if a sample lies beyond it. The ceiling is linear"
    yield "layers and full attention at the rates above; attention that leaves out keys may"
    yield "exceed it."
    if kind is CROSS_ENCODER:
        yield f"A pair is a query of {QUERY_TOKENS} tokens (in short pairs, half of the words) and a"
        yield "document; its tokens are those of both and the special ones."
    for doubt in doubts(record):
        yield f"Doubtful: {doubt}."
