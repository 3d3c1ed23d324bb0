"""The files of a bundle around the graphs, and writing it all or nothing.

Every file is written so that sentence-transformers, optimum, fastembed and transformers.js read it too.
Knows nothing of torch.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from jinabert_onnx.bundle.file_records import record_file
from jinabert_onnx.bundle.manifest import CARD, MANIFEST, PROBES, TOKENIZER, FileRecord, Manifest
from jinabert_onnx.bundle.probes import Probes
from jinabert_onnx.files.permissions import give_usual_permissions
from jinabert_onnx.files.staging import REPLACED, staging
from safetensors.numpy import save_file

from .checkpoint.classifier import TORCH_ACTIVATIONS
from .checkpoint.read import Checkpoint
from .encoder.config import read_object
from .errors import OutputError
from .step_log import Log

# Keys that make other programs look for code in the hub.
_CODE_KEYS = ("auto_map", "_name_or_path", "trust_remote_code")
# The part of config.json that only transformers.js reads.
_JAVASCRIPT = "transformers.js_config"


@contextmanager
def staged_directory(output: Path, force: bool, log: Log) -> Iterator[Path]:
    """Yield a new directory that becomes `output` when the block ends without an error.

    Otherwise it is removed, and what stood at `output` is untouched. `force` allows replacing an
    empty directory or a bundle, never anything else. `log` gets a line on what a killed export had left.

    Raises:
        OutputError: `output` exists and may not be replaced, or its parent cannot be written.
    """
    output = output.resolve()
    _require_replaceable(output, force)
    made = [parent for parent in output.parents if not parent.exists()]
    try:
        with ExitStack() as stack:
            try:
                output.parent.mkdir(parents=True, exist_ok=True)
                stage = stack.enter_context(staging(output, log))
                (stage / "bundle").mkdir()
            except OSError as error:
                raise OutputError(f"{output}: cannot be written ({error.strerror})") from error
            yield stage / "bundle"
            _open_to_readers(stage / "bundle")
            _require_replaceable(output, force)  # again: something may have come while the export ran
            _replace(stage, output)
    finally:
        for parent in made:
            with suppress(OSError):  # not empty: the bundle is there
                parent.rmdir()


def write_metadata(checkpoint: Checkpoint, directory: Path) -> None:
    """Write every file of the bundle but the graphs, which must stand there, the probes and the manifest."""
    source = checkpoint.path
    tokenizer_config = _read_optional(source / "tokenizer_config.json")
    config = _without_code(read_object(source / "config.json"))
    config.pop(_JAVASCRIPT, None)  # it describes the source's ONNX files, not these
    weights = _external_weights_entry(directory / "onnx")
    _write_json(directory / "config.json", config | _head_entries(checkpoint, config) | weights)
    shutil.copyfile(source / TOKENIZER, directory / TOKENIZER)
    _write_json(
        directory / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast"}
        | _without_code(tokenizer_config)
        | {"model_max_length": checkpoint.max_length}
        | _tokenizer_entries(checkpoint),
    )
    special_tokens = {name: value for name, value in tokenizer_config.items() if name.endswith("_token")}
    _write_json(
        directory / "special_tokens_map.json", _read_optional(source / "special_tokens_map.json") or special_tokens
    )
    if checkpoint.classifier is None:
        _write_sentence_transformers(checkpoint, directory)


def write_probes(probes: Probes[Any], directory: Path) -> None:
    """Write `probes.json`."""
    (directory / PROBES).write_text(probes.to_json(), encoding="utf-8")


def write_manifest(manifest: Manifest, directory: Path) -> None:
    """Write `manifest.json`."""
    (directory / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def record_files(directory: Path) -> dict[str, FileRecord]:
    """Size and hash of every file below `directory` except the manifest and the card, by name relative to it."""
    without = (directory / MANIFEST, directory / CARD)
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path not in without)
    return {path.relative_to(directory).as_posix(): record_file(path) for path in files}


def _external_weights_entry(graphs: Path) -> dict[str, object]:
    """Return the entry of `config.json` without which transformers.js does not ask for weights beside a graph."""
    names = [path.name.removesuffix("_data") for path in sorted(graphs.glob("*.onnx_data"))]
    return {_JAVASCRIPT: {"use_external_data_format": dict.fromkeys(names, 1)}} if names else {}


def _head_entries(checkpoint: Checkpoint, config: dict[str, Any]) -> dict[str, object]:
    """Return what `config.json` says of a classifier's head, for other programs: its labels and activation."""
    if checkpoint.classifier is None:
        return {}
    labels = checkpoint.classifier.labels
    saved = config.get("sentence_transformers")
    activation = {"activation_fn": TORCH_ACTIVATIONS[checkpoint.classifier.activation]}
    return {
        "architectures": ["JinaBertForSequenceClassification"],
        "num_labels": len(labels),
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
        "sentence_transformers": (saved if isinstance(saved, dict) else {}) | activation,
    }


def _tokenizer_entries(checkpoint: Checkpoint) -> dict[str, object]:
    """Return what `tokenizer_config.json` says of a classifier's inputs: what a class passes depends on the release."""
    if checkpoint.classifier is None:
        return {}
    types = ["token_type_ids"] if checkpoint.classifier.token_types else []
    return {"model_input_names": ["input_ids", *types, "attention_mask"]}


def _write_sentence_transformers(checkpoint: Checkpoint, directory: Path) -> None:
    settings = checkpoint.settings
    _write_json(directory / "modules.json", _modules(len(checkpoint.dense), settings.normalize))
    for index, module in enumerate(checkpoint.dense):
        file = directory / dense_file(index)
        file.parent.mkdir()
        _write_json(file.with_name("config.json"), module.config)
        tensors = {name: tensor.contiguous().numpy() for name, tensor in module.tensors.items()}
        save_file(tensors, file, metadata={"format": "pt"})
    pooling = {
        "word_embedding_dimension": checkpoint.config.hidden_size,
        "pooling_mode_cls_token": settings.pooling == "cls",
        "pooling_mode_mean_tokens": settings.pooling == "mean",
        "pooling_mode_max_tokens": settings.pooling == "max",
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    (directory / "1_Pooling").mkdir()
    _write_json(directory / "1_Pooling" / "config.json", pooling)
    _write_json(
        directory / "sentence_bert_config.json", {"max_seq_length": checkpoint.max_length, "do_lower_case": False}
    )
    if settings.prompts:
        _write_json(
            directory / "config_sentence_transformers.json",
            {"prompts": dict(settings.prompts), "default_prompt_name": settings.default_prompt},
        )


def dense_file(index: int) -> str:
    """Return the name of the weights' file of the Dense module `index`, of which the first is 0."""
    return f"{2 + index}_Dense/model.safetensors"


def _modules(dense: int, normalize: bool) -> list[dict[str, object]]:
    """Return the content of `modules.json`."""
    kinds = ["Transformer", "Pooling"] + ["Dense"] * dense + ["Normalize"] * normalize
    return [
        {
            "idx": index,
            "name": str(index),
            "path": f"{index}_{kind}" if index else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for index, kind in enumerate(kinds)
    ]


def _require_replaceable(output: Path, force: bool) -> None:
    if not output.exists() and not output.is_symlink():
        return
    if not force:
        raise OutputError(f"{output}: exists already; give another path, or --force to replace it")
    if not output.is_dir() or (any(output.iterdir()) and not (output / MANIFEST).is_file()):
        raise OutputError(f"{output}: is not a bundle, so it is not replaced even with --force; remove it yourself")


def _replace(stage: Path, output: Path) -> None:
    """Put the bundle in `stage` at `output`; what stood there goes only once the new one is in place."""
    replaced = stage / REPLACED
    try:
        if output.exists():
            output.rename(replaced)
        try:
            (stage / "bundle").rename(output)
        except OSError:
            if replaced.exists():
                replaced.rename(output)  # should this fail too, the old bundle stays in `stage`
            raise
    except OSError as error:
        raise OutputError(f"{output}: cannot be put in place ({error.strerror})") from error


def _open_to_readers(directory: Path) -> None:
    """Give the files the permissions that new files get; temporary directories are closed to others."""
    for path in (directory, *directory.rglob("*")):
        give_usual_permissions(path)


def _without_code(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in _CODE_KEYS}


def _read_optional(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
