"""From what a user names to the files of a corpus and its shards; what cannot work is refused here, before any work."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from jinabert_onnx.errors import InputError
from jinabert_onnx.text.inputs import is_unicode

from . import lines
from .plan import Shard, Source

KINDS = {
    ".txt": "text",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
_UNPACK = "unpack it first"
_FOREIGN = {
    ".json": "write it as JSON lines, one object a line, in a file that ends in .jsonl",
    ".pq": "Parquet files must end in .parquet",
    ".xlsx": "save it as CSV",
    **dict.fromkeys((".gz", ".bz2", ".xz", ".zst", ".zip"), _UNPACK),
}
OWN_COLUMNS = ("row", "embedding")


def kind_of(path: Path) -> str:
    """How a file is read, by its ending; what has another is text, a line a row.

    Raises:
        InputError: the ending is one of files that hold no such lines.
    """
    if path.suffix.lower() in _FOREIGN:
        raise InputError(f"{path}: cannot be read as it is; {_FOREIGN[path.suffix.lower()]}")
    return KINDS.get(path.suffix.lower(), "text")


def has_columns(path: Path) -> bool:
    """Whether the ending is of files whose rows have columns."""
    return KINDS.get(path.suffix.lower(), "text") != "text"


def find_sources(place: Path) -> tuple[list[Source], str]:
    """The files of a corpus and how they are read: a file, or those of a directory, by name.

    Hidden files of a directory, and those that begin with `_`, are left out, as all tools do.

    Raises:
        InputError: a directory without such files, or with files of several kinds.
        OSError: it is not there.
    """
    if not place.is_dir():
        return [_source(place)], kind_of(place)
    files = [path for path in _named_like_files(place) if _why_unreadable(path) is None]
    kinds = sorted({kind_of(path) for path in files})
    if len(kinds) != 1:
        held = f"files of several kinds ({', '.join(kinds)})" if kinds else f"no file that ends in {', '.join(KINDS)}"
        raise InputError(f"{place}: holds {held}; give a directory of files of one kind")
    return [_source(path) for path in files], kinds[0]


def unreadable_files(place: Path) -> list[str]:
    """Of a directory, what is named like a file of a corpus and cannot be read as one, each with the reason."""
    if not place.is_dir():
        return []
    reasons = [(path, _why_unreadable(path)) for path in _named_like_files(place)]
    return [f"{path}: {reason}" for path, reason in reasons if reason is not None]


def require_columns(sources: Sequence[Source], kind: str, text_column: str, keep: Sequence[str]) -> None:
    """Refuse columns that are not there, that hold no text, or that differ from file to file.

    What JSON lines hold shows only row by row.

    Raises:
        InputError: such a column, one to keep that has a name of the output's own, or a name that is no text.
        MissingDependencyError: the files need pyarrow.
    """
    for name in (text_column, *keep):
        if not is_unicode(name):
            raise InputError(f"column {name!r} is not valid Unicode; give its name in the terminal's own encoding")
    own = [name for name in keep if name in OWN_COLUMNS]
    if own:
        raise InputError(f"--keep {own[0]}: the output has a column of that name; rename it in the input")
    if kind == "text" and keep:
        raise InputError("--keep is for files with columns, and lines of text have none")
    if kind == "text" or kind == "jsonl":
        return
    first: dict[str, str] | None = None
    for source in sources:
        types = _types(Path(source.path), kind, text_column)
        if not types and kind in lines.DELIMITERS:
            continue  # an empty file has no header
        for name in (text_column, *keep):
            if name not in types:
                option = "--text-column" if name == text_column else "--keep"
                raise InputError(
                    f"{source.path}: has no column {name!r}; its columns are "
                    f"{', '.join(map(repr, types))}; choose with {option}"
                )
        kept = {name: types[name] for name in keep}
        first = kept if first is None else first
        if kept != first:
            raise InputError(f"{source.path}: columns to keep have other types than in {sources[0].path}")


def plan_shards(sources: Sequence[Source], kind: str, shard_rows: int, whole_text: bool) -> list[Shard]:
    """Shards of at most `shard_rows` rows each, in order; one without rows where there are none at all.

    Files of lines are read through once. With `whole_text` a line of text that is not UTF-8 is an error.

    Raises:
        InputError: a file cannot be read.
        OSError: likewise.
    """
    shards: list[Shard] = []
    first = 0
    for number, source in enumerate(sources):
        for start, stop, rows in _cuts(Path(source.path), kind, shard_rows, whole_text):
            shards.append(Shard(len(shards), number, first, rows, start, stop))
            first += rows
    return shards or [Shard(0, 0, 0, 0, 0, 0)]


def _named_like_files(place: Path) -> list[Path]:
    names = [path for path in sorted(place.iterdir()) if path.name[0] not in "._" and path.suffix.lower() in KINDS]
    return [path for path in names if not path.is_dir()]


def _why_unreadable(path: Path) -> str | None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        nowhere = isinstance(error, FileNotFoundError) and path.is_symlink()
        return "is a link that leads nowhere" if nowhere else f"cannot be read: {error.strerror}"
    if not stat.S_ISREG(mode):
        return "is no file but a pipe, a socket or a device"
    return None if os.access(path, os.R_OK) else "may not be read"


def _source(path: Path) -> Source:
    found = path.stat()
    return Source(str(path.resolve()), found.st_size, found.st_mtime_ns)


def _types(path: Path, kind: str, text_column: str) -> dict[str, str]:
    """Columns and their types, in words."""
    if kind in lines.DELIMITERS:
        header = lines.header_of(path, kind)
        twice = sorted({name for name in header if header.count(name) > 1})
        if twice:
            raise InputError(f"{path}: has two columns {twice[0]!r}; rename one")
        return dict.fromkeys(header, "string")
    from . import tables

    schema = tables.schema_of(path, kind)
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: has two columns {twice[0]!r}; rename one")
    if text_column in schema.names and not tables.is_text(schema.field(text_column).type):
        raise InputError(f"{path}: column {text_column!r} is {schema.field(text_column).type}, not text")
    return {field.name: str(field.type) for field in schema}


def _cuts(path: Path, kind: str, shard_rows: int, whole_text: bool) -> Iterator[tuple[int, int, int]]:
    """Where shards of a file begin and end, and their rows."""
    if kind in ("parquet", "arrow"):
        from . import tables

        total = tables.count_rows(path, kind)
        for begin in range(0, total, shard_rows):
            yield begin, min(begin + shard_rows, total), min(shard_rows, total - begin)
        return
    start = stop = rows = 0
    for number, place in enumerate(lines.places(path, kind)):
        if whole_text and kind == "text":
            _require_utf8(path, number, place.record)
        if rows == 0:
            start = place.start
        rows, stop = rows + 1, place.stop
        if rows == shard_rows:
            yield start, stop, rows
            rows = 0
    if rows:
        yield start, stop, rows


def _require_utf8(path: Path, number: int, record: lines.Record) -> None:
    if not isinstance(record, bytes):
        raise InputError(f"{path}: line {number + 1} is {record}")
    try:
        record.decode("utf-8")
    except UnicodeDecodeError as error:
        place = f"byte {error.start}: 0x{record[error.start]:02x}"
        raise InputError(f"{path}: line {number + 1} is not UTF-8 ({place}); convert the file") from error
