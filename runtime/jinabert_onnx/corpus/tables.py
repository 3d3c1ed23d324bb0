"""Parquet and Arrow files: their columns, how many rows, and the rows between two. Needs pyarrow; knows no model.

Columns that are not asked for are not read, and of Parquet no more than some megabytes at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinabert_onnx.errors import InputError, first_line, needed

from .rows import Row, bad, decoded

with needed("Parquet and Arrow files need pyarrow", "corpus"):
    import pyarrow as pa
    import pyarrow.ipc
    import pyarrow.parquet as pq

_BATCH_ROWS = 1024
_BUFFER = 1 << 20  # bytes of a Parquet column that are read at a time
_MAGIC = b"ARROW1"  # of Arrow files; without it they are streams, which .arrow files may be too


def schema_of(path: Path, kind: str) -> pa.Schema:
    """Names and types of the columns.

    Raises:
        InputError: it is no such file.
    """
    with reading(path):
        if kind == "parquet":
            with open_file(path) as stream:
                return pq.read_schema(stream)
        with _mapped(path) as stream:
            return _open_arrow(path, stream).schema


def is_text(kind: pa.DataType) -> bool:
    """Whether texts can be in a column of this type: strings, bytes, or a dictionary of them."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return str(kind) in ("string", "large_string", "string_view", "binary", "large_binary", "binary_view")


def count_rows(path: Path, kind: str) -> int:
    """Rows of a file.

    Raises:
        InputError: it is no such file.
    """
    with reading(path):
        if kind == "parquet":
            with open_file(path) as stream:
                return int(pq.read_metadata(stream).num_rows)
        with _mapped(path) as stream:
            return sum(batch.num_rows for batch in _arrow_batches(path, stream))


def read(
    path: Path, kind: str, start: int, stop: int, first: int, text_column: str, keep: Sequence[str]
) -> Iterator[Row]:
    """Rows `start` to `stop` of a file, numbered from `first`.

    Raises:
        InputError: the file is damaged.
    """
    columns = list(dict.fromkeys((text_column, *keep)))
    with reading(path):
        for batch in _between(path, kind, start, stop, columns):
            texts = _as_bytes(batch.column(text_column)).to_pylist()
            kept = [batch.column(name) for name in keep]
            for index, content in enumerate(texts):
                values = tuple(column[index] for column in kept)  # scalars: their types are the file's
                yield bad(first, "the text is null") if content is None else decoded(first, content, values)
                first += 1


def _between(path: Path, kind: str, start: int, stop: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
    batches = _parquet_batches(path, start, stop, columns) if kind == "parquet" else _sliced_arrow(path, columns)
    for at, batch in batches:
        if at >= stop:
            return
        low, high = max(start - at, 0), min(stop - at, batch.num_rows)
        if low < high:
            yield batch.slice(low, high - low)


def _parquet_batches(path: Path, start: int, stop: int, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches with the row of the file that each begins at, of the row groups between two rows."""
    with open_file(path) as stream, pq.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False) as file:
        at = 0
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if at + rows > start and at < stop:
                begin = at
                for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False):
                    if begin >= stop:
                        return
                    yield begin, batch
                    begin += batch.num_rows
            at += rows


def _sliced_arrow(path: Path, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
    at = 0
    with _mapped(path) as stream:
        for whole in _arrow_batches(path, stream):
            for offset in range(0, whole.num_rows, _BATCH_ROWS):
                yield at + offset, whole.slice(offset, _BATCH_ROWS).select(columns)
            at += whole.num_rows


def _open_arrow(path: Path, stream: Any) -> Any:
    with path.open("rb") as beginning:
        is_file = beginning.read(len(_MAGIC)) == _MAGIC
    return pa.ipc.open_file(stream) if is_file else pa.ipc.open_stream(stream)


def _arrow_batches(path: Path, stream: Any) -> Iterator[pa.RecordBatch]:
    reader = _open_arrow(path, stream)
    if isinstance(reader, pa.ipc.RecordBatchFileReader):
        for index in range(reader.num_record_batches):
            yield reader.get_batch(index)
    else:
        yield from reader


def _as_bytes(column: pa.Array) -> pa.Array:
    """A column of texts as bytes, which need not be UTF-8; files may claim it wrongly."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.large_binary())


def open_file(path: Path) -> Any:
    """The file as pyarrow reads it; names go to pyarrow as bytes, for as text they would have to be UTF-8."""
    return pa.OSFile(os.fsencode(path))


def _mapped(path: Path) -> Any:
    return pa.memory_map(os.fsencode(path))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises for a damaged file into an InputError."""
    try:
        yield
    except pa.ArrowException as error:
        raise InputError(f"{path}: cannot be read: {first_line(error)}") from error
    except OSError as error:  # pyarrow says so of damaged files too
        if error.errno is not None:
            raise
        raise InputError(f"{path}: cannot be read: {first_line(error)}") from error
