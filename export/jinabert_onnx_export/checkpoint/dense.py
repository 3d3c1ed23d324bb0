"""Read the Dense modules of a sentence-transformers folder: linear layers with an activation, after pooling.

What cannot be carried over is refused by name. Knows nothing of the encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinabert_onnx.bundle.manifest import DENSE_ACTIVATIONS
from jinabert_onnx.bundle.probes import Rows
from torch import Tensor
from torch.nn import functional

from jinabert_onnx_export.encoder.config import read_object
from jinabert_onnx_export.errors import CheckpointError, UnsupportedCheckpointError

from .weights import open_weights

# As sentence-transformers names them: the class, with its module in torch.
_TORCH_NAMES = {name: f"torch.nn.modules.activation.{name}" for name in DENSE_ACTIVATIONS} | {
    "Identity": "torch.nn.modules.linear.Identity"
}
_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Tanh": torch.tanh,
    "Identity": lambda values: values,
    "GELU": functional.gelu,
    "ReLU": torch.relu,
    "Sigmoid": torch.sigmoid,
}


@dataclass(frozen=True)
class DenseModule:
    """Weight (out, in) and bias (out,), float32, and one of `DENSE_ACTIVATIONS`."""

    weight: Tensor
    bias: Tensor | None
    activation: str

    @property
    def config(self) -> dict[str, object]:
        """Return the content of the module's `config.json`, which every release of sentence-transformers reads."""
        width, inner = self.weight.shape
        return {
            "in_features": inner,
            "out_features": width,
            "bias": self.bias is not None,
            "activation_function": _TORCH_NAMES[self.activation],
        }

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Return the weights by their names in the module's file."""
        return {"linear.weight": self.weight} | ({} if self.bias is None else {"linear.bias": self.bias})


def read_dense_modules(directory: Path, folders: Sequence[str], width: int) -> tuple[DenseModule, ...]:
    """Read the modules in `folders` of `directory`, the first of which takes vectors of `width` channels.

    Raises:
        CheckpointError: a file is missing or damaged, or sizes do not fit together.
        UnsupportedCheckpointError: an option or activation that cannot be carried over.
    """
    modules = []
    for folder in folders:
        module = _read_module(directory / folder, width)
        width = len(module.weight)
        modules.append(module)
    return tuple(modules)


def apply_dense_modules(modules: Sequence[DenseModule], pooled: Rows) -> Rows:
    """Compute what the modules make of pooled vectors (n, hidden), in the type of those: (n, out)."""
    values = torch.from_numpy(pooled)
    for module in modules:
        weight, bias = (None if each is None else each.to(values.dtype) for each in (module.weight, module.bias))
        assert weight is not None
        values = _FUNCTIONS[module.activation](functional.linear(values, weight, bias))
    return np.asarray(values.numpy())


def _read_module(folder: Path, width: int) -> DenseModule:
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder.parent}: modules.json names {folder.name}/config.json, which is missing")
    content = read_object(path)
    activation = _read_activation(content, path)
    _refuse_other_options(content, path)
    sizes = [content.get(name) for name in ("in_features", "out_features")]
    if sizes[0] != width or not isinstance(sizes[1], int) or isinstance(sizes[1], bool) or sizes[1] < 1:
        raise CheckpointError(f"{path}: in_features {sizes[0]!r} and out_features {sizes[1]!r} after {width} channels")
    if not (folder / "model.safetensors").is_file():
        raise UnsupportedCheckpointError(
            f"{folder}: there is no model.safetensors; save the model again with a newer sentence-transformers"
        )
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (sizes[1], width)}
    if content.get("bias", True):
        shapes["linear.bias"] = (sizes[1],)
    stored = open_weights(folder)
    found = {name: tensor.shape for name, tensor in stored.items()}
    if found != shapes:
        raise CheckpointError(f"{folder}: tensors {found} where config.json asks for {shapes}")
    tensors = {name: tensor.read() for name, tensor in stored.items()}
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise CheckpointError(f"{folder}: its weights hold NaN or infinity")
    return DenseModule(tensors["linear.weight"], tensors.get("linear.bias"), activation)


def _read_activation(content: dict[str, Any], path: Path) -> str:
    asked = content.get("activation_function", _TORCH_NAMES["Tanh"])  # what a missing one means
    names = {torch_name: name for name, torch_name in _TORCH_NAMES.items()}
    if not isinstance(asked, str) or asked not in names:
        raise UnsupportedCheckpointError(
            f"{path}: activation_function {asked!r} is not supported, only {', '.join(DENSE_ACTIVATIONS)} of torch"
        )
    return names[asked]


def _refuse_other_options(content: dict[str, Any], path: Path) -> None:
    for name in ("module_input_name", "module_output_name"):
        if content.get(name) not in (None, "sentence_embedding"):
            raise UnsupportedCheckpointError(
                f"{path}: {name} {content[name]!r} is not supported, only 'sentence_embedding'"
            )
    if content.get("use_residual"):
        raise UnsupportedCheckpointError(f"{path}: use_residual is not supported")
