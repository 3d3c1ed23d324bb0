"""Shards to one output, in constant memory. It appears whole, and what was there before stands until then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jinabert_onnx.errors import InputError
from jinabert_onnx.files.atomic import atomic_file
from jinabert_onnx.files.permissions import give_usual_permissions

from .plan import Plan, Shard
from .shards import REJECTED, ShardResult, discard, result_of


def join(plan: Plan, shards: Sequence[Shard], directory: Path, output: Path) -> ShardResult:
    """Make the output and its list of rows set aside of shards that are all done; what became of all rows.

    Where no row is good there is no output, only the list.

    Raises:
        InputError: a shard is damaged.
        OSError: it cannot be written; the shards stay.
    """
    results = [_result(shard, directory, plan.output) for shard in shards]
    total = ShardResult(*(sum(getattr(result, name) for result in results) for name in ("rows", "rejected", "cut")))
    _join_rejected(shards, results, directory, rejected_of(output))
    if total.rows or not total.rejected:
        joined = directory / f"joined.{plan.output}"  # in there, where a kill leaves it to be cleaned up
        with joined.open("wb") as stream:
            _join_vectors(plan, _parts(plan, shards, results, directory), total.rows, stream)
            stream.flush()
            os.fsync(stream.fileno())
        give_usual_permissions(joined)
        os.replace(joined, output)
    return total


def rejected_of(output: Path) -> Path:
    """Where rows set aside are listed."""
    return output.with_name(f"{output.name}{REJECTED}")


def _parts(plan: Plan, shards: Sequence[Shard], results: Sequence[ShardResult], directory: Path) -> Iterator[Any]:
    """What each shard holds, an array (rows, width) or a table; one that is damaged will be made anew."""
    for shard, result in zip(shards, results, strict=True):
        path = directory / f"{shard.name}.{plan.output}"
        try:
            part = _read(path, plan)
        except InputError:
            part = None
        if part is None or len(part) != result.rows:
            raise _damaged(shard, directory, plan.output)
        yield part


def _result(shard: Shard, directory: Path, output: str) -> ShardResult:
    """What became of a shard's rows, all of them."""
    result = result_of(shard, directory)
    if result.rows + result.rejected != shard.rows:
        raise _damaged(shard, directory, output)
    return result


def _damaged(shard: Shard, directory: Path, output: str) -> InputError:
    discard(shard, directory)
    return InputError(f"{directory / shard.name}.{output}: is damaged; the same command makes this shard anew")


def _read(path: Path, plan: Plan) -> Any:
    if plan.output == "parquet":
        from . import parquet_out

        return parquet_out.read(path)
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: {error}") from error


def _join_vectors(plan: Plan, parts: Iterator[Any], rows: int, stream: BinaryIO) -> None:
    if plan.output == "parquet":
        from . import parquet_out

        parquet_out.join(parts, stream)
        return
    for number, vectors in enumerate(parts):
        if number == 0:
            header = np.lib.format.header_data_from_array_1_0(vectors)
            np.lib.format.write_array_header_1_0(stream, {**header, "shape": (rows, vectors.shape[1])})
        stream.write(np.ascontiguousarray(vectors).data)


def _join_rejected(shards: Sequence[Shard], results: Sequence[ShardResult], directory: Path, path: Path) -> None:
    if not any(result.rejected for result in results):
        path.unlink(missing_ok=True)  # of an earlier run
        return
    with atomic_file(path) as stream:
        for shard, result in zip(shards, results, strict=True):
            if result.rejected:
                with (directory / f"{shard.name}{REJECTED}").open("rb") as part:
                    shutil.copyfileobj(part, stream)
