"""One shard: read its rows, embed them, write what came of them. The same in every process and on every machine.

A shard is three files, or two: its vectors, rows set aside if there are any, and, last, the counts that say it is done.
Done twice it is the same bytes. Knows nothing of other shards, of progress or of who runs where.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from jinabert_onnx.bundle.fingerprint import fingerprint_of
from jinabert_onnx.embedder import Embedder
from jinabert_onnx.encoding.steps import vectors_of
from jinabert_onnx.encoding.tokenized import tokenize
from jinabert_onnx.encoding.vector_types import AnyVectors, empty_vectors
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.errors import InputError, MemoryLimitError
from jinabert_onnx.files.atomic import atomic_file

from . import lines
from .plan import Plan, Shard, Source
from .rows import Row, bad

REJECTED = ".rejected.jsonl"
_DONE = ".json"
_BLOCK_ROWS, _BLOCK_CHARACTERS = 1024, 4_000_000  # of texts that are sorted by length and run together

Advance = Callable[[int], None]


@dataclass(frozen=True)
class ShardResult:
    """What became of a shard: rows with a vector, rows set aside, texts that were cut."""

    rows: int
    rejected: int
    cut: int


@dataclass(frozen=True)
class _Block:
    """Rows that were embedded together, their vectors (rows, width), rows set aside, and how many texts were cut."""

    rows: list[Row]
    vectors: AnyVectors
    rejected: list[Row]
    cut: int


def embed_shard(
    plan: Plan, shard: Shard, embedder: Embedder, directory: Path, advance: Advance | None = None
) -> ShardResult:
    """Embed the rows of `shard` and leave its files in `directory`, whole or not at all.

    `advance` is told the number of rows, good or bad, each time that some are done.

    Raises:
        InputError: the input has changed since it was planned, or is damaged.
        OSError: it cannot be read, or the files cannot be written.
        What `Embedder.encode` raises, but for what is wrong with single texts: those are set aside.
    """
    source = plan.sources[shard.source]
    require_unchanged(source)
    settings = plan.settings.resolve(embedder, plan.prompt)
    none = _Block([], empty_vectors(settings.dimensions, settings.output_dtype), [], 0)
    blocks = [none]  # the type and width of vectors, whatever follows
    for rows in _blocks(read_rows(plan, shard)):
        blocks.append(_embed(plan, rows, embedder))
        if advance is not None:
            advance(len(rows))
    require_unchanged(source)  # nor has it changed meanwhile
    done = _joined(blocks)
    rejected = sorted(done.rejected, key=lambda row: row.number)
    result = ShardResult(len(done.rows), len(rejected), done.cut)
    if result.rows + result.rejected != shard.rows:
        raise InputError(f"{source.path}: has changed rows since it was planned; start again with another --output")
    if rejected and plan.output == "npy":
        raise InputError(
            f"row {rejected[0].number} of the input: {rejected[0].reason}; a .npy file cannot leave rows out; "
            "fix the row, or give --output FILE.parquet"
        )
    if rejected:
        _write(directory / f"{shard.name}{REJECTED}", _rejected_lines(source, rejected))
    _write(directory / f"{shard.name}.{plan.output}", _part(plan, done.rows, done.vectors))
    counts = {"plan": plan.digest, "rows": result.rows, "rejected": result.rejected, "cut": result.cut}
    _write(directory / f"{shard.name}{_DONE}", json.dumps(counts).encode("ascii"))
    return result


def missing(plan: Plan, shards: Iterable[Shard], directory: Path) -> list[Shard]:
    """Return those of `shards` that are not done in `directory`, or were done for another plan."""
    names, digest = {path.name for path in directory.iterdir()}, plan.digest
    return [
        shard
        for shard in shards
        if not {f"{shard.name}{_DONE}", f"{shard.name}.{plan.output}"}.issubset(names)
        or _plan_of(directory / f"{shard.name}{_DONE}") != digest
    ]


def discard(shard: Shard, directory: Path) -> None:
    """Let a shard count as not done."""
    (directory / f"{shard.name}{_DONE}").unlink(missing_ok=True)


def limits_of(embedder: Embedder, output_dtype: str) -> tuple[tuple[str, float], ...]:
    """The bundle's limits of int8 and uint8 vectors, as a plan has them; none for other types, which have none."""
    limits = embedder.bundle.manifest.vector_limits if output_dtype in ("int8", "uint8") else {}
    return tuple(sorted(limits.items()))


def require_model(plan: Plan, embedder: Embedder) -> None:
    """Refuse a model, loaded elsewhere than where the plan was made, that makes other vectors.

    Raises:
        InputError: it does.
    """
    found = str(fingerprint_of(embedder.bundle.manifest, embedder.precision, plan.max_length))
    if found != plan.fingerprint:
        raise InputError(
            f"its bundle is a different one: fingerprint {found}, not {plan.fingerprint}; give all nodes the same"
        )
    kernels = embedder.kernels
    for what, here, planned in (
        ("attention is", kernels.attention, plan.attention),
        ("layers are", kernels.layers, plan.layers),
    ):
        if here != planned:
            raise InputError(
                f"its {what} computed by other kernels: {here}, not {planned}; give all nodes the same, or use "
                "--kernels off"
            )
    limits = limits_of(embedder, plan.settings.output_dtype)
    if (embedder.default_prompt, limits) != (plan.prompt, plan.limits):
        raise InputError(
            "its bundle is a different one: another prompt, or other limits of int8 vectors; give all nodes the same"
        )


def result_of(shard: Shard, directory: Path) -> ShardResult:
    """Return what became of a shard that is done.

    Raises:
        InputError: its counts cannot be read.
    """
    path = directory / f"{shard.name}{_DONE}"
    try:
        counts = json.loads(path.read_text("ascii"))
        return ShardResult(int(counts["rows"]), int(counts["rejected"]), int(counts["cut"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is damaged; remove it and run the same command again") from error


def read_rows(plan: Plan, shard: Shard) -> Iterator[Row]:
    """The rows of a shard, in order.

    Raises:
        InputError: the file is damaged.
        OSError: it cannot be read.
        MissingDependencyError: it needs pyarrow.
    """
    path = Path(plan.sources[shard.source].path)
    if plan.kind in ("parquet", "arrow"):
        from . import tables

        read = tables.read
    else:
        read = lines.read
    return read(path, plan.kind, shard.start, shard.stop, shard.first, plan.text_column, plan.keep)


def require_unchanged(source: Source) -> None:
    """Refuse a file that is not the one that was planned.

    Raises:
        InputError: its size or its time has changed.
        OSError: it is not there.
    """
    found = Path(source.path).stat()
    if (found.st_size, found.st_mtime_ns) != (source.size, source.mtime_ns):
        raise InputError(f"{source.path}: has changed since the work on it began; start again with another --output")


def _plan_of(path: Path) -> object:
    try:
        return json.loads(path.read_text("ascii"))["plan"]
    except (ValueError, KeyError, TypeError):
        return None


def _blocks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    block: list[Row] = []
    characters = 0
    for row in rows:
        block.append(row)
        characters += len(row.text)
        if len(block) == _BLOCK_ROWS or characters >= _BLOCK_CHARACTERS:
            yield block
            block, characters = [], 0
    if block:
        yield block


def _embed(plan: Plan, rows: list[Row], embedder: Embedder) -> _Block:
    rejected = [row for row in rows if row.reason is not None]
    good = [row for row in rows if row.reason is None]
    if plan.settings.truncation == "error":
        good, too_long = _within_length(good, plan.max_length, embedder)
        rejected += too_long
    block = _encode(plan, good, embedder)
    return replace(block, rejected=rejected + block.rejected)


def _within_length(rows: list[Row], limit: int, embedder: Embedder) -> tuple[list[Row], list[Row]]:
    counts = embedder.count_tokens([row.text for row in rows])
    good = [row for row, count in zip(rows, counts, strict=True) if count <= limit]
    too_long = [
        bad(row.number, f"has {count} tokens, more than the limit of {limit}")
        for row, count in zip(rows, counts, strict=True)
        if count > limit
    ]
    return good, too_long


def _encode(plan: Plan, rows: list[Row], embedder: Embedder) -> _Block:
    """Embed rows; where a text is refused, halves find out which."""
    model, settings = embedder.loaded, plan.settings.resolve(embedder, plan.prompt)
    if settings.truncation == "warn":
        settings = replace(settings, truncation="head")  # told once, at the end
    try:
        # Texts that are too long are cut before they are tokenized, which `encode_with_report` would count whole.
        texts = tokenize(model.tokenizer, [row.text for row in rows], settings)
        vectors = vectors_of(model, texts, settings, Limits())
    except (InputError, MemoryLimitError) as error:
        if len(rows) > 1:
            middle = len(rows) // 2
            return _joined([_encode(plan, half, embedder) for half in (rows[:middle], rows[middle:])])
        vectors = empty_vectors(settings.dimensions, settings.output_dtype)
        return _Block([], vectors, [bad(row.number, str(error)) for row in rows], 0)
    return _Block(rows, vectors, [], sum(report.cut is not None for report in texts.reports))


def _joined(blocks: Sequence[_Block]) -> _Block:
    return _Block(
        [row for block in blocks for row in block.rows],
        np.concatenate([block.vectors for block in blocks]),  # (rows, width)
        [row for block in blocks for row in block.rejected],
        sum(block.cut for block in blocks),
    )


def _rejected_lines(source: Source, rejected: Sequence[Row]) -> bytes:
    file = source.path.encode("utf-8", "backslashreplace").decode()  # a name's bytes need not be UTF-8, JSON's must
    found = [{"row": row.number, "file": file, "reason": row.reason} for row in rejected]
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in found).encode("utf-8", "replace")


def _part(plan: Plan, rows: list[Row], vectors: AnyVectors) -> bytes:
    if plan.output == "parquet":
        from . import parquet_out

        return parquet_out.to_bytes(plan, rows, vectors)
    stream = io.BytesIO()
    np.save(stream, vectors, allow_pickle=False)
    return stream.getvalue()


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path, durable=True) as stream:  # a file that is named must be whole, after a power failure too
        stream.write(content)
