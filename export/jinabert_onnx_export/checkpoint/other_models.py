"""Refuse by name models of the family that are neither embedders nor classifiers of texts, although nearly so.

Knows nothing of shapes or values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from jinabert_onnx_export.errors import CheckpointError, UnsupportedCheckpointError

_TOKEN_CLASSIFIER = "a token classifier, which labels every token and gives neither a vector nor labels of a text"
_QUESTION_ANSWERER = "a question answering model, which marks an answer in a text and gives no vector of it"
_COLBERT = (
    "a ColBERT model: it gives a vector for every token, through linear.weight, and a bundle gives one for a text"
)
_CLIP = (
    "a jina-clip model: the tensors of its text encoder have other names and are laid out otherwise than those of "
    "JinaBERT; the jina-embeddings-v2 family is what can be exported"
)

# The end of a name among config.json's `architectures`.
_ARCHITECTURES = {
    "ForTokenClassification": _TOKEN_CLASSIFIER,
    "ForQuestionAnswering": _QUESTION_ANSWERER,
    "ForMultipleChoice": "a multiple choice model, which gives a score and no vector of a text",
    "HF_ColBERT": _COLBERT,
    "JinaCLIPModel": _CLIP,
}


def refuse_other_model(config: Mapping[str, Any], path: Path) -> None:
    """Refuse the checkpoint at `path` if the content of its `config.json` names another model.

    Raises:
        UnsupportedCheckpointError: it does; says which, and why that is not exported.
    """
    if config.get("model_type") == "jina_clip":
        raise _refusal(path, _CLIP)
    architectures = config.get("architectures")
    for name in architectures if isinstance(architectures, list) else []:
        for end, reason in _ARCHITECTURES.items():
            if str(name).endswith(end):
                raise _refusal(path, f"{reason} (architecture {str(name)!r})")


def refuse_other_head(tensors: Iterable[str], config: Mapping[str, Any], path: Path) -> None:
    """Refuse the checkpoint at `path` if its tensors, by names without `bert.`, are those of another model.

    Raises:
        UnsupportedCheckpointError: they are; says which, and why that is not exported.
        CheckpointError: its `config.json` names a classifier, and there is none.
    """
    names = list(tensors)
    if any(name.startswith("text_model.") for name in names):
        raise _refusal(path, f"{_CLIP} (it holds text_model.*)")
    if any(name.startswith("qa_outputs.") for name in names):
        raise _refusal(path, f"{_QUESTION_ANSWERER} (it holds qa_outputs.*)")
    if "linear.weight" in names:
        raise _refusal(path, _COLBERT)
    classifies = any(name.startswith("classifier.") for name in names)
    if classifies and not any(name.startswith("pooler.") for name in names):
        raise _refusal(path, f"{_TOKEN_CLASSIFIER} (it holds classifier.* and no pooler.*)")
    architectures = config.get("architectures")
    for name in architectures if isinstance(architectures, list) else []:
        if str(name).endswith("ForSequenceClassification") and not classifies:
            raise CheckpointError(f"{path}: config.json names {str(name)!r}, and there is no classifier.weight")


def _refusal(path: Path, what: str) -> UnsupportedCheckpointError:
    return UnsupportedCheckpointError(f"{path}: cannot be exported, it is {what}")
