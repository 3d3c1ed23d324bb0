"""The cells of a record as rows for tables and other programs: milliseconds, None where a figure is not known."""

from __future__ import annotations

from .record import CellTimes, Record
from .statistics import PERCENTILES

Value = str | int | float | None


def rows(record: Record) -> list[dict[str, Value]]:
    """Return one row per cell; all have the same columns."""
    return [_row(record, found) for found in record.cells]


def _row(record: Record, found: CellTimes) -> dict[str, Value]:
    cell, seconds = found.cell, found.median.value
    share = found.share_of(record.model.sizes, record.rates(cell.configuration.threads))
    row: dict[str, Value] = {
        "precision": cell.configuration.precision,
        "provider": cell.configuration.provider,
        "threads": cell.configuration.threads,
        "batch_size": cell.batch_size,
        "length": cell.length,
        "rounds": len(found.rounds),
        "samples": found.samples,
    }
    for percent in PERCENTILES:
        figure = found.latency(percent)
        interval = figure.interval if figure else None
        row[f"p{percent}_ms"] = _milliseconds(figure.value if figure else None)
        row[f"p{percent}_low_ms"] = _milliseconds(interval.low if interval else None)
        row[f"p{percent}_high_ms"] = _milliseconds(interval.high if interval else None)
    return row | {
        f"{record.kind.item}s_a_second": round(cell.batch_size / seconds, 3),
        "tokens_a_second": round(cell.batch_size * cell.length / seconds, 1),
        "share_of_ceiling": None if share is None else round(share, 4),
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 4)
