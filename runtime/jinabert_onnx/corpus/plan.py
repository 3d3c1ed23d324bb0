"""What is to be embedded and how, and where each shard of it is read: data, to JSON and back. Opens nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from jinabert_onnx.embedder import Embedder
from jinabert_onnx.errors import InputError

SCHEMA = 1


@dataclass(frozen=True)
class Loading:
    """How to load the model, in this process or another; fields are the arguments of `Embedder.load`."""

    source: str
    precision: str = "fp32"
    provider: str = "auto"
    threads: int | str = "auto"
    max_memory: str | None = None
    integrity: str = "fast"
    self_test: bool = True
    revision: str | None = None
    local_files_only: bool = False

    def load(self) -> Embedder:
        """The model.

        Raises:
            What `Embedder.load` raises.
        """
        return Embedder.load(
            self.source,
            precision=self.precision,
            provider=self.provider,
            threads=self.threads,
            max_memory=self.max_memory,
            integrity=self.integrity,
            self_test=self.self_test,
            revision=self.revision,
            local_files_only=self.local_files_only,
        )


@dataclass(frozen=True)
class Source:
    """One file of the input, and what tells whether it has changed: bytes and time of the last change."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Settings:
    """How each text becomes a vector; the meaning is that of `Embedder.encode`. `max_length` is never the default."""

    max_length: int
    batch_size: int = 32
    truncation: str = "warn"
    truncate_dim: int | None = None
    normalize: bool = False
    output_dtype: str = "float32"


@dataclass(frozen=True)
class Plan:
    """What was asked for. Two runs with equal plans give equal output.

    Attributes:
        sources: files of the input, in order; rows are numbered through all of them, from 0.
        kind: how they are read: "text", "jsonl", "csv", "tsv", "parquet" or "arrow".
        text_column: the column of the texts; not used for "text".
        keep: other columns that go to the output.
        output: "parquet" or "npy".
        settings: how each text becomes a vector.
        model: the bundle's name.
        fingerprint: of the vectors, as text.
        width: numbers of a vector as it is stored.
        shard_rows: most rows of a shard.
        rows: of all files.
        prompt: what stands before each text.
        limits: of int8 and uint8 vectors, which the bundle holds, by name.
    """

    sources: tuple[Source, ...]
    kind: str
    text_column: str
    keep: tuple[str, ...]
    output: str
    settings: Settings
    model: str
    fingerprint: str
    width: int
    shard_rows: int
    rows: int
    prompt: str = ""
    limits: tuple[tuple[str, float], ...] = ()

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that stand for the plan: a shard that was made by another one is no part of this."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode("ascii")).hexdigest()[:16]


@dataclass(frozen=True)
class Shard:
    """Rows `first` to `first + rows` of the corpus, of one file.

    `start` to `stop` say where in the file: bytes of text, JSON lines and CSV, rows of Parquet and Arrow.
    """

    index: int
    source: int
    first: int
    rows: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """How its files are called, without an ending."""
        return f"shard-{self.index:06d}"


def to_json(plan: Plan, shards: Sequence[Shard]) -> str:
    """A plan and its shards as text."""
    rows = [[getattr(shard, field.name) for field in fields(Shard)] for shard in shards]
    return json.dumps({"schema": SCHEMA, "plan": asdict(plan), "shards": rows})


def from_json(text: str) -> tuple[Plan, list[Shard]]:
    """What `to_json` was given.

    Raises:
        InputError: it is no such text, or of another version.
    """
    try:
        record = json.loads(text)
        if record["schema"] != SCHEMA:
            raise InputError(f"the plan is of schema {record['schema']}, this version reads {SCHEMA}")
        return _plan_of(record["plan"]), [Shard(*numbers) for numbers in record["shards"]]
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the plan cannot be read ({error})") from error


def differences(kept: Plan, asked: Plan) -> list[str]:
    """What is not the same in two plans, each in words; "" of none."""
    found = []
    for name in ("kind", "text_column", "keep", "output", "model", "fingerprint", "prompt", "limits", "shard_rows"):
        found += _difference(name, getattr(kept, name), getattr(asked, name))
    for field in fields(Settings):
        found += _difference(field.name, getattr(kept.settings, field.name), getattr(asked.settings, field.name))
    if kept.sources != asked.sources:
        before = {source.path: source for source in kept.sources}
        changed = [source.path for source in asked.sources if before.pop(source.path, None) != source]
        found.append(f"the input has changed ({', '.join((changed + list(before))[:3]) or 'another order'})")
    return found


def _difference(name: str, before: object, now: object) -> list[str]:
    return [] if before == now else [f"{name} was {before!r} and is {now!r}"]


def _plan_of(record: dict[str, Any]) -> Plan:
    return Plan(
        **{
            **record,
            "sources": tuple(Source(**source) for source in record["sources"]),
            "keep": tuple(record["keep"]),
            "limits": tuple((name, limit) for name, limit in record["limits"]),
            "settings": Settings(**record["settings"]),
        }
    )
