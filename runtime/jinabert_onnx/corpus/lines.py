"""Text, JSON lines and CSV: where rows begin, and the rows between two places. Knows no pyarrow and no model.

A row is found again by the bytes before it, so that any process can read any shard. A byte order mark is no text.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from jinabert_onnx.errors import InputError

from .rows import LARGEST_ROW, Row, bad, decoded, of_value

LONGEST = 200  # lines that a row of CSV may run over: a quote gone astray would swallow all rows to the next one
DELIMITERS = {"csv": ",", "tsv": "\t"}
_MARK = b"\xef\xbb\xbf"
_AS_BYTES = "latin-1"  # csv reads str: one character a byte, so that bad UTF-8 in a row is the row's affair

# What a line holds, fields of a CSV row, or why it can be neither.
Record = bytes | list[str] | str


@dataclass(frozen=True)
class Place:
    """A row's record and the bytes of the file that it takes."""

    start: int
    stop: int
    record: Record


def places(path: Path, kind: str, start: int = 0, stop: int | None = None) -> Iterator[Place]:
    """The rows of a file between two bytes at which rows begin, the header of CSV not among them.

    Raises:
        InputError: a quote of CSV swallows lines.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        if start == 0:
            start = _after_mark(stream)
            if kind in DELIMITERS:
                header = next(_csv_places(path, stream, start, DELIMITERS[kind]), None)
                start = start if header is None else header.stop
        stream.seek(start)
        if kind in DELIMITERS:
            found = _csv_places(path, stream, start, DELIMITERS[kind])
        else:
            found = _line_places(stream, start)
        for place in found:
            if stop is not None and place.start >= stop:
                return
            yield place


def header_of(path: Path, kind: str) -> list[str]:
    """The names of a CSV file's columns; none of an empty file.

    Raises:
        InputError: the header is not UTF-8, or a quote in it swallows lines.
    """
    with path.open("rb") as stream:
        place = next(_csv_places(path, stream, _after_mark(stream), DELIMITERS[kind]), None)
    if place is None:
        return []
    if isinstance(place.record, str):
        raise InputError(f"{path}: the header cannot be read: {place.record}")
    try:
        return [str(field).encode(_AS_BYTES).decode("utf-8") for field in place.record]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the header is not UTF-8; convert the file") from error


def read(
    path: Path, kind: str, start: int, stop: int, first: int, text_column: str, keep: Sequence[str]
) -> Iterator[Row]:
    """Rows between two bytes, numbered from `first`.

    Raises:
        OSError: the file cannot be read.
    """
    header = header_of(path, kind) if kind in DELIMITERS else []
    for number, place in enumerate(places(path, kind, start, stop), start=first):
        record = place.record
        if isinstance(record, str):
            yield bad(number, record)
        elif isinstance(record, list):
            yield _csv_row(number, record, header, text_column, keep)
        elif kind == "jsonl":
            yield _json_row(number, record, text_column, keep)
        else:
            yield decoded(number, record)


def _after_mark(stream: BinaryIO) -> int:
    start = len(_MARK) if stream.read(len(_MARK)) == _MARK else 0
    stream.seek(start)
    return start


def _line_places(stream: BinaryIO, position: int) -> Iterator[Place]:
    for line in _whole_lines(stream, position):
        record = line.record
        if isinstance(record, bytes):
            record = record.removesuffix(b"\n").removesuffix(b"\r")
        yield Place(line.start, line.stop, record)


def _whole_lines(stream: BinaryIO, position: int) -> Iterator[Place]:
    """Lines with their ends, as bytes, or why a line is not taken."""
    while line := stream.readline(LARGEST_ROW):
        start, record = position, None
        position += len(line)
        while not line.endswith(b"\n") and len(line) == LARGEST_ROW:  # read past what is too long, a piece at a time
            record = f"longer than {LARGEST_ROW >> 20} MiB"
            line = stream.readline(LARGEST_ROW)
            position += len(line)
        yield Place(start, position, record or line)


def _csv_places(path: Path, stream: BinaryIO, position: int, delimiter: str) -> Iterator[Place]:
    """Records, of which one may take several lines. Empty lines are none, as everywhere in CSV.

    Raises:
        InputError: a quote takes in lines that are no part of its field, as far as can be told.
    """
    csv.field_size_limit(LARGEST_ROW)
    lines = _CsvLines(stream, position)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        start = lines.begin_record()
        record: Record
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if (
                lines.taken > 1 or lines.ended
            ):  # within a record another line is wanted only where one ends inside quotes
                raise InputError(_of_stray_quote(path, lines, start, error)) from error
            record = f"cannot be read as CSV: {error}"
        if lines.too_long is not None:
            record = f"longer than {LARGEST_ROW >> 20} MiB"
        if record:
            yield Place(start, lines.consumed, record)


class _CsvLines:
    """Lines as `csv.reader` takes them, and what it does not tell: where it is, and how many of them a record takes.

    Attributes:
        consumed: the bytes before the next line.
        ended: whether there is none.
        taken: lines of this record so far.
        too_long: where a line of this record begins that is too long to be read.
    """

    def __init__(self, stream: BinaryIO, position: int) -> None:
        self._lines = _whole_lines(stream, position)
        self.consumed = position
        self.ended = False
        self.begin_record()

    def begin_record(self) -> int:
        """Forget the record before; where the next one begins."""
        self.too_long: int | None = None
        self.taken = 0
        return self.consumed

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.consumed = line.stop
            if isinstance(line.record, bytes):
                text = line.record.decode(_AS_BYTES)
            else:
                self.too_long = line.start
                text = "\n"  # ends a record, which is bad whatever it holds
            self.taken += 1
            yield text
            if self.taken == LONGEST:
                return
        self.ended = True


def _of_stray_quote(path: Path, lines: _CsvLines, start: int, error: csv.Error) -> str:
    """What to say of a quote that swallows lines: of rows among them there would be no trace."""
    if lines.too_long is not None:
        long = _line_number(path, lines.too_long)
        why = f"is not closed before line {long}, which is longer than {LARGEST_ROW >> 20} MiB"
    elif lines.ended:
        why = "is never closed"
    elif lines.taken == LONGEST:
        why = f"is not closed within {LONGEST} lines"
    else:
        why = f"takes in lines that cannot be read as CSV ({error})"
    return (
        f"{path}: a quote of the row that begins in line {_line_number(path, start)} {why}; mend that row, or write "
        "texts of so many lines as JSON lines"
    )


def _line_number(path: Path, position: int) -> int:
    """The number, from 1, of the line that begins at a byte."""
    number = 1
    with path.open("rb") as stream:
        while position > 0 and (piece := stream.read(min(position, 1 << 20))):
            number, position = number + piece.count(b"\n"), position - len(piece)
    return number


def _csv_row(number: int, found: list[str], header: Sequence[str], text_column: str, keep: Sequence[str]) -> Row:
    if len(found) != len(header):
        return bad(number, f"has {len(found)} fields where the header has {len(header)}")
    values = {}
    for name in dict.fromkeys((*keep, text_column)):
        row = decoded(number, found[header.index(name)].encode(_AS_BYTES))
        if row.reason is not None:
            return bad(number, f"column {name!r} is {row.reason}")
        values[name] = row.text
    return Row(number, values[text_column], tuple(values[name] for name in keep))


def _json_row(number: int, line: bytes, text_column: str, keep: Sequence[str]) -> Row:
    row = decoded(number, line)
    if row.reason is not None:
        return row
    try:
        found = json.loads(row.text)
    except (ValueError, RecursionError) as error:
        return bad(number, f"not JSON: {error}" if line.strip() else "an empty line")
    if not isinstance(found, dict):
        return bad(number, f"not a JSON object but {type(found).__name__}")
    if text_column not in found:
        return bad(number, f"has no {text_column!r}; its names are {', '.join(map(repr, list(found)[:8])) or 'none'}")
    try:
        kept = tuple(_as_text(found.get(name)) for name in keep)
    except UnicodeEncodeError:
        return bad(number, "a kept column is not valid Unicode (half of a surrogate pair)")
    except RecursionError:
        return bad(number, "a kept column is nested too deeply")
    return of_value(number, found[text_column], kept)


def _as_text(value: Any) -> str | None:
    """A kept value: text as it is, anything else as JSON, so that a column has one type in all shards."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text.encode("utf-8")
    return text
