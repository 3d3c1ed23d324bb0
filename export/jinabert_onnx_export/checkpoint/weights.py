"""Open weight files as named tensors: safetensors, sharded safetensors, or pickled torch files read safely.

Shapes and types are known before any data is read. Knows nothing of what the names mean.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from jinabert_onnx_export.encoder.config import read_json
from jinabert_onnx_export.errors import CheckpointError, name_some

_SAFETENSORS_TYPES = ("F16", "BF16", "F32")
_TORCH_TYPES = (torch.float16, torch.bfloat16, torch.float32)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor on disk: its shape, and how to read it as float32."""

    shape: tuple[int, ...]
    read: Callable[[], torch.Tensor]


def open_weights(directory: Path) -> dict[str, StoredTensor]:
    """Open all tensors of the checkpoint in `directory`, by their names in the files.

    Raises:
        CheckpointError: no weight file, or one that is damaged or incomplete.
    """
    for name, opener in (("model.safetensors", _open_safetensors), ("pytorch_model.bin", _open_pickle)):
        if (directory / name).is_file():
            return opener(directory / name)
        index = directory / f"{name}.index.json"
        if index.is_file():
            return _open_shards(index, opener)
    raise CheckpointError(f"{directory}: no weights, neither model.safetensors nor pytorch_model.bin")


def _open_shards(index: Path, opener: Callable[[Path], dict[str, StoredTensor]]) -> dict[str, StoredTensor]:
    content = read_json(index)
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: no weight_map in it")
    tensors: dict[str, StoredTensor] = {}
    for shard in sorted(set(map(str, weight_map.values()))):
        if PurePosixPath(shard).name != shard or "\\" in shard or len(shard.encode("utf-8", "replace")) > 255:
            raise CheckpointError(f"{index}: file name {shard!r} leaves the checkpoint")
        if not (index.parent / shard).is_file():
            raise CheckpointError(f"{index.parent}: the index names {shard}, which is missing")
        held = opener(index.parent / shard)
        twice = sorted(tensors.keys() & held.keys())
        if twice:
            raise CheckpointError(f"{index.parent / shard}: tensors that another file holds too: {name_some(twice)}")
        tensors |= held
    missing = sorted(set(weight_map) - set(tensors))
    if missing:
        raise CheckpointError(f"{index}: tensors in the index and in no file: {name_some(missing)}")
    return tensors


def _open_safetensors(path: Path) -> dict[str, StoredTensor]:
    try:
        file: Any = safe_open(path, framework="pt")
        return {name: _safetensors_entry(file, name, path) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cut short or damaged ({error}); download it again") from error


def _safetensors_entry(file: Any, name: str, path: Path) -> StoredTensor:
    entry = file.get_slice(name)
    if entry.get_dtype() not in _SAFETENSORS_TYPES:
        raise CheckpointError(
            f"{path}: tensor {name} is {entry.get_dtype()}; only {', '.join(_SAFETENSORS_TYPES)} can be exported"
        )
    return StoredTensor(tuple(entry.get_shape()), lambda: file.get_tensor(name).to(torch.float32))


def _open_pickle(path: Path) -> dict[str, StoredTensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickle protocols; what matters raises
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damage raises whatever it meets; torch's text advises to load without the check
        raise CheckpointError(
            f"{path}: damaged, or holds more than tensors ({type(error).__name__}); use safetensors"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not named tensors")
    for name, tensor in content.items():
        if not isinstance(tensor, torch.Tensor) or tensor.dtype not in _TORCH_TYPES:
            kind = tensor.dtype if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise CheckpointError(f"{path}: {name} is {kind}; only float16, bfloat16 and float32 can be exported")
        if tensor.layout != torch.strided or tensor.is_meta:
            raise CheckpointError(f"{path}: {name} is sparse or without values; only dense tensors can be exported")
    return {str(name): StoredTensor(tuple(tensor.shape), tensor.float) for name, tensor in content.items()}
