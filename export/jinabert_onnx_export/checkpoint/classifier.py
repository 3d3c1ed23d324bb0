"""Read how a classifier or cross-encoder is used: its labels, what turns logits into scores, and how texts are read.

What cannot be carried over is refused by name. Knows nothing of weights but how many labels they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinabert_onnx.bundle.manifest import ClassifierRecord

from jinabert_onnx_export.encoder.config import read_json, read_object
from jinabert_onnx_export.errors import CheckpointError, UnsupportedCheckpointError

from .sentence_transformer import SentenceSettings, read_pair_limit

# The classes in torch by whose names sentence-transformers says what it applies to logits.
TORCH_ACTIVATIONS = {
    "sigmoid": "torch.nn.modules.activation.Sigmoid",
    "softmax": "torch.nn.modules.activation.Softmax",
    "identity": "torch.nn.modules.linear.Identity",
}
_MULTI_LABEL, _REGRESSION, _SINGLE_LABEL = "multi_label_classification", "regression", "single_label_classification"
_PASS_TYPES = ("BertTokenizer",)  # the base class does in one release of transformers, and in another does not
_PASS_NO_TYPES = (
    "RobertaTokenizer", "XLMRobertaTokenizer", "CamembertTokenizer", "DistilBertTokenizer", "MPNetTokenizer",
    "GPT2Tokenizer", "TokenizersBackend",
)  # fmt: skip


def read_classifier(directory: Path, labels: int) -> ClassifierRecord:
    """Read what `config.json` and the tokenizer's configuration say of a head with so many labels.

    Raises:
        CheckpointError: a file is damaged.
        UnsupportedCheckpointError: an activation, a problem type or a tokenizer class that is not known.
    """
    path = directory / "config.json"
    config = read_object(path)
    return ClassifierRecord(
        _read_names(config, labels, path),
        _read_activation(directory, config, labels),
        _passes_token_types(directory / "tokenizer_config.json"),
    )


def read_classifier_settings(directory: Path) -> SentenceSettings:
    """Read how texts are read: whole but for a maximum length, and with nothing put before them.

    Raises:
        CheckpointError: a file is damaged.
        UnsupportedCheckpointError: a module or a setting that would change the scores and cannot be carried over.
    """
    _require_one_module(directory / "modules.json")
    path = directory / "config_sentence_transformers.json"
    if (read_object(path) if path.is_file() else {}).get("default_prompt_name") is not None:
        raise UnsupportedCheckpointError(f"{path}: a default prompt of a cross-encoder is not supported")
    return SentenceSettings(pooling="cls", max_length=read_pair_limit(directory))


def _require_one_module(path: Path) -> None:
    modules = read_json(path) if path.is_file() else [{"type": "Transformer"}]
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise CheckpointError(f"{path}: not a list of modules")
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if kinds != ["Transformer"] or modules[0].get("path"):
        raise UnsupportedCheckpointError(
            f"{path}: modules {', '.join(kinds)} cannot be carried over beside the classifier.* that is there, "
            "only a Transformer at the top of the folder"
        )


def _read_names(config: Mapping[str, Any], labels: int, path: Path) -> tuple[str, ...]:
    """Return the labels' names; those of `id2label` where it has as many, since a missing one means two to others."""
    given = config.get("id2label")
    if not isinstance(given, dict) or len(given) != labels:
        return tuple(f"LABEL_{index}" for index in range(labels))
    names = [given.get(str(index)) for index in range(labels)]
    if not all(isinstance(name, str) for name in names):
        raise CheckpointError(f"{path}: id2label does not name the labels 0 to {labels - 1}")
    return tuple(str(name) for name in names)


def _read_activation(directory: Path, config: Mapping[str, Any], labels: int) -> str:
    """Return one of `SCORE_ACTIVATIONS`: what sentence-transformers has saved, else what transformers would do."""
    for path, name in _saved_activations(directory, config):
        kinds = {each.rpartition(".")[2]: kind for kind, each in TORCH_ACTIVATIONS.items()}
        kind = kinds.get(str(name).rpartition(".")[2])
        if kind is None or not str(name).startswith("torch.nn."):
            raise UnsupportedCheckpointError(
                f"{path}: activation {name!r} is not supported, only {', '.join(kinds)} of torch.nn"
            )
        return kind
    problem = config.get("problem_type")
    if problem not in (None, _REGRESSION, _MULTI_LABEL, _SINGLE_LABEL):
        raise UnsupportedCheckpointError(
            f"{directory / 'config.json'}: problem_type {problem!r} is not supported, only {_REGRESSION}, "
            f"{_SINGLE_LABEL} and {_MULTI_LABEL}"
        )
    if problem == _REGRESSION:
        return "identity"
    return "sigmoid" if problem == _MULTI_LABEL or labels == 1 else "softmax"


def _saved_activations(directory: Path, config: Mapping[str, Any]) -> list[tuple[Path, object]]:
    """Return the activations that releases of sentence-transformers have saved, the one that they prefer first."""
    path = directory / "config_sentence_transformers.json"
    newest = read_object(path) if path.is_file() else {}
    nested = config.get("sentence_transformers")
    found = (
        (path, newest.get("activation_fn")),
        (directory / "config.json", nested.get("activation_fn") if isinstance(nested, dict) else None),
        (directory / "config.json", config.get("sbert_ce_default_activation_function")),
    )
    return [(path, name) for path, name in found if name is not None]


def _passes_token_types(path: Path) -> bool:
    """Return whether the tokenizer passes token types on to the model, whatever `tokenizer.json` says of them."""
    content = read_object(path) if path.is_file() else {}
    names = content.get("model_input_names")
    if isinstance(names, list):
        return "token_type_ids" in names
    kind = content.get("tokenizer_class", "BertTokenizer")  # what transformers takes for a model of type "bert"
    name = str(kind).removesuffix("Fast")
    if name not in (*_PASS_TYPES, *_PASS_NO_TYPES):
        raise UnsupportedCheckpointError(
            f"{path}: whether tokenizer_class {kind!r} passes token_type_ids to the model is not known; say so by "
            "model_input_names in this file"
        )
    return name in _PASS_TYPES
