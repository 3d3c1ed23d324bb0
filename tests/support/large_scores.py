"""Random checkpoints with large attention scores, for tests that have torch."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from jinabert_onnx_export.encoder.config import read_config
from jinabert_onnx_export.encoder.model import JinaBertEncoder, Variant
from safetensors.torch import save_file

from .bundles import update_json
from .paths import GOLDENS

_SIZES = {
    "hidden_size": 128,
    "num_attention_heads": 8,
    "num_hidden_layers": 4,
    "intermediate_size": 256,
    "vocab_size": 800,
}


def random_weights(encoder: JinaBertEncoder, seed: int) -> dict[str, torch.Tensor]:
    """Return weights with which attention is neither flat nor a single key: queries and keys are large."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, tensor in encoder.state_dict().items():
        scale = 0.3 if name.endswith((".query.weight", ".key.weight")) else 0.1
        value = torch.randn(tensor.shape, generator=generator) * scale
        weights[name] = 1 + value if "norm" in name.lower() and name.endswith(".weight") else value
    return weights


def write_variation(directory: Path, golden: str, variant: Variant, seed: int, **sizes: int) -> None:
    """Write a checkpoint like a golden, with its tokenizer, but of other sizes and with these random weights."""
    shutil.copytree(GOLDENS / golden, directory, ignore=shutil.ignore_patterns("golden*", "*.safetensors"))
    update_json(directory / "config.json", **sizes)
    encoder = JinaBertEncoder(read_config(directory / "config.json"), variant)
    save_file(random_weights(encoder, seed), directory / "model.safetensors", metadata={"format": "pt"})


def write_checkpoint(directory: Path) -> None:
    """Write a plain checkpoint of 128 channels, 8 heads, 4 layers and 800 tokens; float32 is off by 1e-4 in it."""
    write_variation(directory, "plain-4h", "plain", 0, **_SIZES)
