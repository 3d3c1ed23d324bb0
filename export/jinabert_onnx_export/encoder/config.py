"""`config.json` of a checkpoint: the architecture's sizes, and refusal of other architectures.

Knows nothing of weights. `auto_map` and every other pointer to code is ignored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinabert_onnx_export.errors import CheckpointError, UnsupportedCheckpointError

_LARGEST_SIZE = 10**9  # torch cannot even describe tensors far beyond
_FEED_FORWARDS = ("geglu", "reglu")


@dataclass(frozen=True)
class JinaBertConfig:
    """Sizes of a JinaBERT encoder, as its `config.json` names them.

    `feed_forward_type` is "geglu" (exact GELU) or "reglu" (ReLU).
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    type_vocab_size: int
    max_position_embeddings: int
    layer_norm_eps: float
    feed_forward_type: str


def read_json(path: Path) -> Any:
    """Decode a JSON file of the checkpoint.

    Raises:
        CheckpointError: missing or not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"{path.parent}: not a checkpoint, there is no {path.name}") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from error


def read_object(path: Path) -> dict[str, Any]:
    """Decode a JSON file of the checkpoint that holds an object.

    Raises:
        CheckpointError: missing, not JSON, or not an object.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a JSON object")
    return content


def read_config(path: Path) -> JinaBertConfig:
    """Read `config.json` at `path`.

    Raises:
        CheckpointError: missing, damaged, or with impossible sizes.
        UnsupportedCheckpointError: the configuration of another architecture.
    """
    content = read_object(path)
    _require_jinabert(content, path)
    sizes = {
        name: _size(content, name, path)
        for name in (
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "type_vocab_size",
            "max_position_embeddings",
        )
    }
    if sizes["hidden_size"] % sizes["num_attention_heads"]:
        raise CheckpointError(
            f"{path}: hidden_size {sizes['hidden_size']} does not divide into "
            f"{sizes['num_attention_heads']} num_attention_heads"
        )
    eps = content.get("layer_norm_eps")
    if not isinstance(eps, float) or not 0 < eps < 1:
        raise CheckpointError(f"{path}: layer_norm_eps is {eps!r}, not a small positive number")
    return JinaBertConfig(**sizes, layer_norm_eps=eps, feed_forward_type=content["feed_forward_type"])


def _require_jinabert(content: dict[str, Any], path: Path) -> None:
    kind, positions = content.get("model_type"), content.get("position_embedding_type")
    if kind != "bert" or positions != "alibi":
        raise UnsupportedCheckpointError(
            f"{path}: not a JinaBERT checkpoint (model_type {kind!r}, position_embedding_type {positions!r}; "
            "JinaBERT has 'bert' and 'alibi'); the jina-embeddings-v2 family is what can be exported"
        )
    feed_forward = content.get("feed_forward_type")
    if feed_forward not in _FEED_FORWARDS:
        raise UnsupportedCheckpointError(
            f"{path}: feed_forward_type {feed_forward!r} is not supported, only {' and '.join(_FEED_FORWARDS)}"
        )
    if content.get("hidden_act", "gelu") != "gelu":
        raise UnsupportedCheckpointError(f"{path}: hidden_act {content['hidden_act']!r} is not supported, only 'gelu'")
    if content.get("emb_pooler") not in (None, "mean"):
        raise UnsupportedCheckpointError(f"{path}: emb_pooler {content['emb_pooler']!r} is not supported, only 'mean'")


def _size(content: dict[str, Any], name: str, path: Path) -> int:
    value = content.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise CheckpointError(f"{path}: {name} is {value!r}, not a positive integer")
    if value > _LARGEST_SIZE:
        raise CheckpointError(f"{path}: {name} is {value}, which no model has")
    return value
