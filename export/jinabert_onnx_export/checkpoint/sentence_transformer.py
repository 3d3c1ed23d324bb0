"""Read what a sentence-transformers folder adds to a checkpoint: honoured in full, or refused by name.

Pooling, unit length, prompts and a maximum length are carried over; anything else that would change the
vectors is refused. Knows nothing of weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from jinabert_onnx_export.encoder.config import read_json, read_object
from jinabert_onnx_export.errors import CheckpointError, UnsupportedCheckpointError

_NO_LIMIT = 10**9  # tokens; transformers writes 1e30 or 2**31 where a tokenizer has no limit

_POOLING_FLAGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}


@dataclass(frozen=True)
class SentenceSettings:
    """How texts become vectors around the encoder; the defaults are the model's own `encode`.

    `max_length` is None where the folder sets none of its own; `dense` names the folders of Dense modules, in order.
    """

    pooling: str = "mean"
    normalize: bool = False
    max_length: int | None = None
    prompts: Mapping[str, str] | None = None
    default_prompt: str | None = None
    dense: tuple[str, ...] = ()


def read_sentence_settings(directory: Path) -> SentenceSettings:
    """Read `modules.json` and what it leads to, where they exist.

    Raises:
        CheckpointError: a file is damaged.
        UnsupportedCheckpointError: a part that would change the vectors and cannot be carried over.
    """
    pooling_path, dense, normalize = _read_modules(directory / "modules.json")
    prompts, default_prompt = _read_prompts(directory / "config_sentence_transformers.json")
    return SentenceSettings(
        pooling=_read_pooling(directory / pooling_path / "config.json"),
        normalize=normalize,
        max_length=_read_max_length(directory),
        prompts=prompts,
        default_prompt=default_prompt,
        dense=dense,
    )


def _read_modules(path: Path) -> tuple[str, tuple[str, ...], bool]:
    """Return the folder of the pooling module, those of Dense modules after it, and whether Normalize is the last."""
    if not path.is_file():
        return "1_Pooling", (), False
    modules = read_json(path)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise CheckpointError(f"{path}: not a list of modules")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    normalize = kinds[-1:] == ["Normalize"]
    dense = [module for module, kind in zip(modules, kinds, strict=True) if kind == "Dense"]
    if kinds != ["Transformer", "Pooling", *["Dense"] * len(dense), *["Normalize"] * normalize]:
        raise UnsupportedCheckpointError(
            f"{path}: modules {', '.join(kinds)} cannot be carried over, only Transformer, Pooling, any Dense and at "
            "most one Normalize, in this order; leaving one out would give other vectors"
        )
    if modules[0].get("path"):
        raise UnsupportedCheckpointError(
            f"{path}: the Transformer lies in {modules[0]['path']!r}; only one at the top of the folder is read"
        )
    pooling = str(modules[1].get("path", ""))
    if not (path.parent / pooling / "config.json").is_file():
        raise CheckpointError(f"{path}: names {pooling}/config.json, which is missing")
    folders = tuple(str(module.get("path", "")) for module in dense)
    if any(PurePosixPath(folder).name != folder or "\\" in folder for folder in folders):
        raise CheckpointError(f"{path}: a Dense module lies in {', '.join(map(repr, folders))}, outside of the folder")
    return pooling, folders, normalize


def _read_pooling(path: Path) -> str:
    if not path.is_file():
        return "mean"
    content = read_object(path)
    if "pooling_mode" in content:
        chosen = [str(content["pooling_mode"])]
    else:
        content = {"pooling_mode_mean_tokens": True} | content  # what a missing flag means to sentence-transformers
        flags = [name for name, value in content.items() if name.startswith("pooling_mode_") and value is True]
        chosen = [_POOLING_FLAGS.get(name, name) for name in flags]
    if len(chosen) != 1 or chosen[0] not in _POOLING_FLAGS.values():
        raise UnsupportedCheckpointError(
            f"{path}: pooling by {' and '.join(chosen) or 'nothing'} is not supported, only one of mean, cls and max"
        )
    if content.get("include_prompt", True) is not True:
        raise UnsupportedCheckpointError(f"{path}: pooling without the prompt (include_prompt) is not supported")
    return chosen[0]


def _read_prompts(path: Path) -> tuple[dict[str, str], str | None]:
    content = read_object(path) if path.is_file() else {}
    prompts = content.get("prompts") or {}
    default = content.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise CheckpointError(f"{path}: prompts is not a mapping of names to texts")
    if default is not None and (not isinstance(default, str) or default not in prompts):
        raise CheckpointError(f"{path}: default_prompt_name {default!r} is not among the prompts")
    return prompts, default


def _read_max_length(directory: Path) -> int | None:
    path = directory / "sentence_bert_config.json"
    content = read_object(path) if path.is_file() else {}
    _refuse_other_reading(content, path, "feature-extraction")
    length = _own_limit(content, path)
    if length is None and "transformer_task" in content:
        return _read_tokenizer_limit(directory / "tokenizer_config.json")
    return length


def read_pair_limit(directory: Path) -> int | None:
    """Read the maximum length of a cross-encoder's pairs: the smaller of the two that files may set.

    Raises:
        CheckpointError: a file is damaged.
        UnsupportedCheckpointError: a setting that would change the scores and cannot be carried over.
    """
    path = directory / "sentence_bert_config.json"
    content = read_object(path) if path.is_file() else {}
    _refuse_other_reading(content, path, "sequence-classification")
    limits = (_own_limit(content, path), _read_tokenizer_limit(directory / "tokenizer_config.json"))
    return min((limit for limit in limits if limit is not None), default=None)


def _own_limit(content: Mapping[str, Any], path: Path) -> int | None:
    length = content.get("max_seq_length")
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
        raise CheckpointError(f"{path}: max_seq_length is {length!r}, not a positive integer")
    return length


def _refuse_other_reading(content: Mapping[str, Any], path: Path, expected: str) -> None:
    """Refuse what sentence-transformers can say of how texts are read, most of it in the newer layout."""
    if content.get("do_lower_case"):
        raise UnsupportedCheckpointError(
            f"{path}: do_lower_case is set; lower-casing is only supported in tokenizer.json"
        )
    task = content.get("transformer_task", expected)
    if task != expected:
        raise UnsupportedCheckpointError(f"{path}: transformer_task {task!r} is not supported, only {expected!r}")
    options = content.get("processing_kwargs") or {}
    if any(options.values()) if isinstance(options, dict) else options:
        raise UnsupportedCheckpointError(
            f"{path}: processing_kwargs changes how texts are tokenized, and is not supported"
        )


def _read_tokenizer_limit(path: Path) -> int | None:
    """Return the maximum length that the newer layout keeps with the tokenizer; None where an absurd one means none.

    In other folders the number has no meaning for embeddings: base-es has 512, and takes 8192 tokens.
    """
    content = read_object(path) if path.is_file() else {}
    length = content.get("model_max_length")
    if isinstance(length, float) and length >= _NO_LIMIT:  # as JSON has 1e30
        return None
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
        raise CheckpointError(f"{path}: model_max_length is {length!r}, not a positive integer")
    return None if length is None or length >= _NO_LIMIT else length
