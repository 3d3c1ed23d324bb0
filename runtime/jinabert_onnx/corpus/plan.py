"""What is to be embedded and how, and where each shard of it is read: data, to JSON and back. Opens nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from jinabert_onnx.embedder import Embedder
from jinabert_onnx.encoding.load_options import LoadOptions
from jinabert_onnx.encoding.options import DEFAULTS, EncodeOptions
from jinabert_onnx.encoding.settings import Settings, resolve_settings
from jinabert_onnx.engine.kernels import PORTABLE
from jinabert_onnx.errors import InputError

SCHEMA = 1


@dataclass(frozen=True)
class ModelSource:
    """Where the model is, and how to load it, in this process or another."""

    source: str
    options: LoadOptions = field(default_factory=LoadOptions)

    def load(self) -> Embedder:
        """Load it.

        Raises:
            What `Embedder.load` raises.
        """
        return Embedder.load(self.source, **vars(self.options))


@dataclass(frozen=True)
class Source:
    """One file of the input, and what tells whether it has changed: bytes and time of the last change."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class EncodeArguments:
    """Arguments of `Embedder.encode` as a plan keeps them; in one, `max_length` is a number."""

    max_length: int | None = DEFAULTS["max_length"]
    batch_size: int = DEFAULTS["batch_size"]
    truncation: str = DEFAULTS["truncation"]
    truncate_dim: int | None = DEFAULTS["truncate_dim"]
    normalize: bool = DEFAULTS["normalize_embeddings"]
    output_dtype: str = DEFAULTS["output_dtype"]

    def resolve(self, embedder: Embedder, prompt: str) -> Settings:
        """Check them against the model.

        Raises:
            InputError, InputTypeError: the model cannot do this.
        """
        options: EncodeOptions = {
            "max_length": self.max_length,
            "batch_size": self.batch_size,
            "truncation": self.truncation,
            "truncate_dim": self.truncate_dim,
            "normalize_embeddings": self.normalize,
            "output_dtype": self.output_dtype,
            "prompt": prompt,
        }
        return resolve_settings(embedder.loaded, options, embedder.max_seq_length)


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
        attention, layers: what computes these, as `Kernels` names it: others differ in the last digits.
    """

    sources: tuple[Source, ...]
    kind: str
    text_column: str
    keep: tuple[str, ...]
    output: str
    settings: EncodeArguments
    model: str
    fingerprint: str
    width: int
    shard_rows: int
    rows: int
    prompt: str = ""
    limits: tuple[tuple[str, float], ...] = ()
    attention: str = PORTABLE
    layers: str = PORTABLE

    @property
    def max_length(self) -> int:
        """Return how many tokens texts are cut to, which a plan always says."""
        assert self.settings.max_length is not None
        return self.settings.max_length

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that stand for the plan: a shard that was made by another one is no part of this."""
        content = asdict(self)
        if self.layers == PORTABLE:  # as in every plan of an earlier version, which did not say so
            del content["layers"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()[:16]


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
        """Return the name of its files, without an extension."""
        return f"shard-{self.index:06d}"


def to_json(plan: Plan, shards: Sequence[Shard]) -> str:
    """Write a plan and its shards as text."""
    rows = [[getattr(shard, each.name) for each in fields(Shard)] for shard in shards]
    return json.dumps({"schema": SCHEMA, "plan": asdict(plan), "shards": rows})


def from_json(text: str) -> tuple[Plan, list[Shard]]:
    """Read what `to_json` was given.

    Raises:
        InputError: it is no such text, or of another version.
    """
    try:
        record = json.loads(text)
        if record["schema"] != SCHEMA:
            raise InputError(f"the plan has schema {record['schema']}, this version reads {SCHEMA}")
        return _plan_of(record["plan"]), [Shard(*numbers) for numbers in record["shards"]]
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the plan cannot be read ({error})") from error


def differences(kept: Plan, asked: Plan) -> list[str]:
    """Say what is not the same in two plans."""
    found = []
    for name in (
        "kind",
        "text_column",
        "keep",
        "output",
        "model",
        "fingerprint",
        "prompt",
        "limits",
        "attention",
        "layers",
        "shard_rows",
    ):
        found += _difference(name, getattr(kept, name), getattr(asked, name))
    for each in fields(EncodeArguments):
        found += _difference(each.name, getattr(kept.settings, each.name), getattr(asked.settings, each.name))
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
            "settings": EncodeArguments(**record["settings"]),
        }
    )
