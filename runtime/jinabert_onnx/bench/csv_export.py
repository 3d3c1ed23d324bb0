"""The cells as rows for spreadsheets and other programs: one row a cell, milliseconds, empty where not known."""

from __future__ import annotations

import csv
import io

from .record import CellTimes, Record
from .statistics import PERCENTILES

Value = str | int | float | None


def rows(record: Record) -> list[dict[str, Value]]:
    """Return one row a cell; all have the same columns."""
    return [_row(record, found) for found in record.cells]


def to_csv(record: Record) -> str:
    """Return the text of `bench.csv`."""
    lines = rows(record)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return stream.getvalue()


def _row(record: Record, found: CellTimes) -> dict[str, Value]:
    cell, taken = found.cell, found.pass_time
    share = found.share_of(record.model.sizes, record.rates(cell.configuration.threads))
    row: dict[str, Value] = {
        "precision": cell.configuration.precision,
        "provider": cell.configuration.provider,
        "threads": cell.configuration.threads,
        "batch_size": cell.batch_size,
        "length": cell.length,
        "workload": cell.workload,
        "texts_a_pass": found.texts,
        "tokens_a_pass": found.tokens,
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
        "texts_a_second": round(found.texts / taken.value, 3),
        "tokens_a_second": round(found.tokens / taken.value, 1),
        "share_of_ceiling": None if share is None else round(share, 4),
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 4)
