"""Random checkpoints whose heads the kernels compute, exported here, with their reference in float64.

The checkpoints of `tests/data/goldens` have heads of 4 to 16 channels, for which there is no kernel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jinabert_onnx.engine.batching import pad
from jinabert_onnx_export import export
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder.model import JinaBertEncoder, Variant
from numpy.typing import NDArray
from support.large_scores import write_variation

# Variant, the golden whose configuration and tokenizer it takes, channels of a head, heads.
FORMS: dict[str, tuple[Variant, str, int, int]] = {
    "plain-geglu-32": ("plain", "plain-4h", 32, 2),
    "plain-reglu-64": ("plain", "plain-6h-reglu", 64, 3),
    "qk-post-norm-32": ("qk-post-norm", "qk-post-norm-12h", 32, 3),
    "qk-post-norm-64": ("qk-post-norm", "qk-post-norm-12h", 64, 2),
}


@dataclass(frozen=True)
class Form:
    """A checkpoint, its bundle in fp32 and int8, and its encoder in float32 and float64."""

    name: str
    bundle: Path
    float32: JinaBertEncoder
    float64: JinaBertEncoder
    vocabulary: int

    def batch(self, lengths: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return seeded random tokens and their mask, (batch, sequence)."""
        generator = np.random.default_rng(sum(lengths))
        return pad([generator.integers(self.vocabulary, size=length) for length in lengths])


def write_checkpoint(directory: Path, form: str) -> None:
    """Write a checkpoint of a form of FORMS."""
    variant, golden, head_size, heads = FORMS[form]
    sizes = {"hidden_size": head_size * heads, "num_attention_heads": heads, "num_hidden_layers": 2}
    write_variation(directory, golden, variant, len(form), **sizes)


def make_form(name: str, directory: Path) -> Form:
    """Write a form of FORMS and its bundle below `directory`."""
    write_checkpoint(directory / "checkpoint", name)
    export(directory / "checkpoint", directory / "bundle", ("fp32", "int8"))
    checkpoint = open_checkpoint(directory / "checkpoint")
    float32, float64 = checkpoint.load_encoder(), checkpoint.load_encoder().double()
    return Form(name, directory / "bundle", float32, float64, checkpoint.config.vocab_size)


def reference(encoder: JinaBertEncoder, input_ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return what an encoder computes, in its own type, (batch, sequence, hidden)."""
    with torch.inference_mode():
        return np.asarray(encoder(torch.from_numpy(input_ids), torch.from_numpy(mask)).numpy())
