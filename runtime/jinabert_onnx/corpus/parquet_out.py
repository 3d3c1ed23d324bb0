"""Rows and their vectors as Parquet: the columns, the metadata, how they are stored. Needs pyarrow."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jinabert_onnx.encoding.vector_types import AnyVectors
from jinabert_onnx.errors import InputError, first_line

from . import tables
from .plan import Plan
from .rows import Row

import pyarrow as pa  # isort: skip - after `tables`, which says what to install
import pyarrow.parquet as pq  # isort: skip

ROW, EMBEDDING = "row", "embedding"
_ENCODED = (pa.DictionaryScalar, pa.RunEndEncodedScalar)
_GROUP_BYTES = 32 << 20  # of a row group of the output, about


def to_bytes(plan: Plan, rows: list[Row], vectors: AnyVectors) -> bytes:
    """A Parquet file of `row`, the columns kept, and `embedding`: fixed-size lists of the vectors' type."""
    width = vectors.shape[1]
    values = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    embedding = pa.FixedSizeListArray.from_arrays(values, width)
    columns = [pa.array([row.number for row in rows], pa.int64())]
    for index, kind in enumerate(kept_types(plan)):
        columns.append(_column(plan.keep[index], kind, [row.kept[index] for row in rows]))
    names = [ROW, *plan.keep, EMBEDDING]
    table = pa.table([*columns, embedding], names).replace_schema_metadata(metadata_of(plan))
    stream = io.BytesIO()
    with _writer(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def metadata_of(plan: Plan) -> dict[str, str]:
    """Return the schema's metadata: `jinabert_onnx.model`, `.fingerprint`, and `.settings` as JSON."""
    settings = {"text_column": plan.text_column, **asdict(plan.settings)}
    return {
        "jinabert_onnx.model": plan.model,
        "jinabert_onnx.fingerprint": plan.fingerprint,
        "jinabert_onnx.settings": json.dumps(settings),
    }


def kept_types(plan: Plan) -> list[Any]:
    """Types of the columns kept: those of the files, dictionaries as their values; of JSON and CSV strings."""
    if plan.kind not in ("parquet", "arrow"):
        return [pa.string()] * len(plan.keep)
    schema = tables.schema_of(Path(plan.sources[0].path), plan.kind)
    kinds = [schema.field(name).type for name in plan.keep]
    encoded = (pa.types.is_dictionary, pa.types.is_run_end_encoded)
    return [kind.value_type if any(test(kind) for test in encoded) else kind for kind in kinds]


def read(path: Path) -> pa.Table:
    """A part.

    Raises:
        InputError: it is damaged.
    """
    with tables.reading(path), tables.open_file(path) as stream:
        return pq.read_table(stream, partitioning=None)


def join(parts: Iterator[pa.Table], stream: BinaryIO) -> None:
    """One file of many, in order; row groups of some ten thousand rows, of which one is in memory at a time."""
    gathered = [next(parts)]  # there is always a shard
    with _writer(stream, gathered[0].schema) as writer:
        for table in parts:
            if sum(before.nbytes for before in gathered) >= _GROUP_BYTES:
                writer.write_table(pa.concat_tables(gathered), row_group_size=1 << 20)
                gathered = []
            gathered.append(table)
        writer.write_table(pa.concat_tables(gathered), row_group_size=1 << 20)


def _writer(stream: Any, schema: pa.Schema) -> pq.ParquetWriter:
    others = [name for name in schema.names if name != EMBEDDING]
    return pq.ParquetWriter(
        stream,
        schema,
        # The bits of vectors are noise.
        compression={EMBEDDING: "none", **dict.fromkeys(others, "zstd")} if others else "none",
        use_dictionary=False,  # neither vectors nor row numbers repeat
        write_statistics=[ROW],
    )


def _column(name: str, kind: pa.DataType, values: list[Any]) -> pa.Array:
    """Values of one row each, text or pyarrow's scalars, as a column."""
    try:
        return pa.array([_value(value) for value in values], kind)
    except (TypeError, pa.ArrowException):  # of scalars of nested types with nulls in them
        pass
    try:
        return pa.array([value.as_py() if isinstance(value, pa.Scalar) else value for value in values], kind)
    except (TypeError, ValueError) as error:  # pyarrow's own are ValueErrors too
        raise InputError(f"column {name!r} of type {kind} cannot be kept ({first_line(error)})") from error


def _value(value: Any) -> Any:
    if not isinstance(value, pa.Scalar):
        return value
    if not value.is_valid:
        return None
    return value.as_py() if isinstance(value, _ENCODED) else value
