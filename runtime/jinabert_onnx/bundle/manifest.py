"""`manifest.json`: what a bundle holds. The one definition of the format, for the exporter and for all that read it.

Knows nothing of onnxruntime, tokenizers or how the files were made; whether they agree with the manifest is for
`file_records` to check.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from jinabert_onnx.errors import BundleError, BundleNotFoundError
from jinabert_onnx.foreign_errors import is_from_reading

from .manifest_fields import optional_string, strings, take

SCHEMA = 2  # of embedding models
CLASSIFIER_SCHEMA = 3
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"
PROBES = "probes.json"
CARD = "README.md"  # for people and the hub; it has no record, so that it may be edited
PRECISIONS = ("fp32", "fp16", "int8")
METADATA_FILES = ("*.json",)  # what to fetch from a hub to know a bundle
ALL_FILES = (*METADATA_FILES, "onnx/*", "*_Dense/*", CARD)
VECTOR_KINDS = ("raw", "normalized")
POOLING_MODES = ("mean", "cls", "max")
DENSE_ACTIVATIONS = ("Tanh", "Identity", "GELU", "ReLU", "Sigmoid")
SCORE_ACTIVATIONS = ("sigmoid", "softmax", "identity")


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and SHA-256 (hex) of one file of the bundle."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class ModelRecord:
    """The encoder's shape; `max_tokens` is the longest text it takes, special tokens included."""

    variant: str
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    max_tokens: int


@dataclass(frozen=True)
class PoolingRecord:
    """The way from token embeddings to one vector; `normalize` if the checkpoint itself ends in unit length."""

    mode: str
    normalize: bool


@dataclass(frozen=True)
class DenseRecord:
    """A linear layer after pooling: its weights' file, its sizes, and one of `DENSE_ACTIVATIONS`."""

    file: str
    in_features: int
    out_features: int
    activation: str


@dataclass(frozen=True)
class ClassifierRecord:
    """The head of a cross-encoder: its labels' names, one for each logit, and one of `SCORE_ACTIVATIONS`.

    `token_types` says whether the graph takes `token_type_ids`, which tell the two texts of a pair apart.
    """

    labels: tuple[str, ...]
    activation: str
    token_types: bool


@dataclass(frozen=True)
class Manifest:
    """All of `manifest.json`.

    Attributes:
        model, pooling: the encoder's shape, and the way to one vector; a cross-encoder reads the first token.
        opset: of the ONNX files.
        default_max_length: tokens that `encode` cuts texts to by default.
        precisions: files by precision, the ONNX file first, then its weight files.
        files: size and SHA-256 of every file but the manifest and the model card.
        weights_sha256: hash of the checkpoint's weights, the same for every precision made of them.
        vector_limits: largest values that int8 and uint8 vectors represent, by "raw" and "normalized" vectors, fitted
            to the calibration texts; a cross-encoder has none.
        prompts: texts put before an input, by name.
        default_prompt: the name of the one used by default.
        source: the checkpoint's hub id or name, if known.
        created_with: versions of the tools that made the bundle.
        verification: by precision, what the exporter measured against torch.
        dense: layers between pooling and the end, in their order; mostly none.
        quality: what `jinabert-onnx eval precisions --record` measured on a user's texts, or empty.
        classifier: the head of a cross-encoder, which gives logits; None for an embedding model.
    """

    model: ModelRecord
    pooling: PoolingRecord
    opset: int
    default_max_length: int
    precisions: Mapping[str, tuple[str, ...]]
    files: Mapping[str, FileRecord]
    weights_sha256: str
    vector_limits: Mapping[str, float]
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    source: str | None = None
    created_with: Mapping[str, str] = field(default_factory=dict)
    verification: Mapping[str, Any] = field(default_factory=dict)
    quality: Mapping[str, Any] = field(default_factory=dict)
    dense: tuple[DenseRecord, ...] = ()
    classifier: ClassifierRecord | None = None

    def to_json(self) -> str:
        """Return the text of `manifest.json`."""
        content = asdict(self)
        if not self.dense:
            del content["dense"]  # most bundles have none
        if self.classifier is None:
            del content["classifier"]
        content["schema"] = SCHEMA if self.classifier is None else CLASSIFIER_SCHEMA
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    @property
    def dimensions(self) -> int:
        """Return the channels of a text's vector, or the logits of a pair."""
        if self.classifier is not None:
            return len(self.classifier.labels)
        return self.dense[-1].out_features if self.dense else self.model.hidden_size


@dataclass(frozen=True)
class Bundle:
    """A directory and its manifest, which is well-formed; the files are checked by `integrity.check_files`."""

    path: Path
    manifest: Manifest

    def files_of(self, precision: str) -> tuple[str, ...]:
        """Return the names of the ONNX file of `precision` and its weight files, the ONNX file first.

        Raises:
            BundleError: the bundle holds no such precision.
        """
        if precision not in self.manifest.precisions:
            available = ", ".join(self.manifest.precisions)
            raise BundleError(f"{self.path}: no {precision} in this bundle, it holds {available}")
        return self.manifest.precisions[precision]

    def record_of(self, name: str) -> FileRecord:
        """Return the manifest's record of the file `name`.

        Raises:
            BundleError: it has no entry.
        """
        if name not in self.manifest.files:
            raise BundleError(f"{self.path / MANIFEST}: no entry for {name}; export the bundle again")
        return self.manifest.files[name]


def open_bundle(path: Path) -> Bundle:
    """Read the manifest of the bundle at `path`.

    Raises:
        BundleNotFoundError: no such directory, or no manifest in it.
        BundleError: the manifest is damaged or of another schema.
    """
    if not path.is_dir():
        raise BundleNotFoundError(f"{path}: no such directory")
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise BundleNotFoundError(
            f"{path}: not a bundle, there is no {MANIFEST} (make one with: jinabert-onnx export CHECKPOINT OUTPUT)"
        )
    try:
        content = json.loads(manifest.read_bytes())
    except OSError as error:
        if not is_from_reading(error):
            raise
        raise BundleError(f"{manifest}: cannot be read ({error.strerror}); check its permissions") from error
    except (ValueError, RecursionError) as error:
        if not is_from_reading(error):
            raise
        raise BundleError(f"{manifest}: not valid JSON ({error}); export the bundle again") from error
    return Bundle(path, parse_manifest(content, str(manifest)))


def parse_manifest(content: Any, where: str) -> Manifest:
    """Turn decoded JSON into a Manifest; `where` begins the error messages.

    Raises:
        BundleError: a field is missing, of the wrong type, or the schema is unknown.
    """
    schema = take(content, "schema", int, where)
    _require_schema(schema, where)
    files = {name: _file_record(record, name, where) for name, record in take(content, "files", dict, where).items()}
    model = _model_record(take(content, "model", dict, where), where)
    manifest = Manifest(
        model=model,
        pooling=_pooling_record(take(content, "pooling", dict, where), where),
        opset=take(content, "opset", int, where),
        default_max_length=take(content, "default_max_length", int, where),
        precisions=_precisions(take(content, "precisions", dict, where), files, where),
        files=files,
        weights_sha256=take(content, "weights_sha256", str, where),
        vector_limits=_vector_limits(content, where) if schema == SCHEMA else {},
        prompts=strings(take(content, "prompts", dict, where), "prompts", where),
        default_prompt=optional_string(content, "default_prompt", where),
        source=optional_string(content, "source", where),
        created_with=strings(take(content, "created_with", dict, where), "created_with", where),
        verification=take(content, "verification", dict, where),
        quality=take(content, "quality", dict, where) if "quality" in content else {},
        dense=_dense_records(content, files, model.hidden_size, where),
        classifier=_classifier(content, where) if schema == CLASSIFIER_SCHEMA else None,
    )
    _require_consistent(manifest, where)
    return manifest


def _require_schema(schema: int, where: str) -> None:
    if schema > CLASSIFIER_SCHEMA:
        raise BundleError(
            f"{where}: schema {schema} is newer than this version reads ({CLASSIFIER_SCHEMA}); upgrade jinabert-onnx"
        )
    if schema < SCHEMA:
        raise BundleError(f"{where}: schema {schema} is of an older version; export the bundle again")


def _require_consistent(manifest: Manifest, where: str) -> None:
    if not 1 <= manifest.default_max_length <= manifest.model.max_tokens:
        raise BundleError(
            f"{where}: default_max_length {manifest.default_max_length} is not from 1 to {manifest.model.max_tokens}; "
            "export the bundle again"
        )
    if manifest.default_prompt is not None and manifest.default_prompt not in manifest.prompts:
        raise BundleError(
            f"{where}: default_prompt {manifest.default_prompt!r} is not among the prompts; export it again"
        )


def _model_record(content: dict[str, Any], where: str) -> ModelRecord:
    inner = f"{where}: model"
    sizes = {
        name: take(content, name, int, inner)
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "max_tokens")
    }
    if min(sizes.values()) < 1:
        raise BundleError(f"{inner}: a size below 1; export the bundle again")
    return ModelRecord(variant=take(content, "variant", str, inner), **sizes)


def _pooling_record(content: dict[str, Any], where: str) -> PoolingRecord:
    mode = take(content, "mode", str, f"{where}: pooling")
    if mode not in POOLING_MODES:
        raise BundleError(f"{where}: pooling mode {mode!r} is unknown to this version; upgrade jinabert-onnx")
    return PoolingRecord(mode, take(content, "normalize", bool, f"{where}: pooling"))


def _dense_records(
    content: dict[str, Any], files: Mapping[str, FileRecord], width: int, where: str
) -> tuple[DenseRecord, ...]:
    inner, records = f"{where}: dense", []
    for entry in take(content, "dense", list, where) if "dense" in content else []:
        file, activation = (take(entry, name, str, inner) for name in ("file", "activation"))
        first, last = (take(entry, name, int, inner) for name in ("in_features", "out_features"))
        if activation not in DENSE_ACTIVATIONS:
            raise BundleError(f"{inner}: activation {activation!r} is unknown to this version; upgrade jinabert-onnx")
        if file not in files or first != width or last < 1:
            raise BundleError(f"{inner}: layers do not fit together, or have no file; export the bundle again")
        records.append(DenseRecord(file, first, last, activation))
        width = last
    return tuple(records)


def _classifier(content: dict[str, Any], where: str) -> ClassifierRecord:
    inner, record = f"{where}: classifier", take(content, "classifier", dict, where)
    labels, activation = take(record, "labels", list, inner), take(record, "activation", str, inner)
    if not labels or not all(isinstance(label, str) for label in labels):
        raise BundleError(f"{inner}: labels are not names; export the bundle again")
    if activation not in SCORE_ACTIVATIONS:
        raise BundleError(f"{inner}: activation {activation!r} is unknown to this version; upgrade jinabert-onnx")
    return ClassifierRecord(tuple(labels), activation, take(record, "token_types", bool, inner))


def _vector_limits(content: dict[str, Any], where: str) -> dict[str, float]:
    record = take(content, "vector_limits", dict, where)
    limits = {name: take(record, name, float, f"{where}: vector_limits") for name in VECTOR_KINDS}
    if not all(1e-6 < limit < 1e6 for limit in limits.values()):
        raise BundleError(f"{where}: vector_limits are not limits of vectors; export the bundle again")
    return limits


def _precisions(content: dict[str, Any], files: Mapping[str, FileRecord], where: str) -> dict[str, tuple[str, ...]]:
    precisions = {name: tuple(take(content, name, list, f"{where}: precisions")) for name in content}
    if not precisions or not set(precisions) <= set(PRECISIONS):
        raise BundleError(f"{where}: precisions {', '.join(precisions) or 'none'}, not some of {', '.join(PRECISIONS)}")
    for precision, names in precisions.items():
        if not names or not all(isinstance(name, str) and name in files for name in names):
            raise BundleError(f"{where}: precision {precision} names files that have no entry; export it again")
    return precisions


def _file_record(content: Any, name: str, where: str) -> FileRecord:
    path = PurePosixPath(name)
    leaves = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name
    if leaves or not name.isprintable() or len(name.encode()) > 255:
        raise BundleError(f"{where}: file name {name!r} leaves the bundle, or is none; do not use this bundle")
    inner = f"{where}: files[{name!r}]"
    return FileRecord(take(content, "bytes", int, inner), take(content, "sha256", str, inner))
