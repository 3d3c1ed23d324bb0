"""A cross-encoder as it is written where nobody minds memory, in torch and as a plain ONNX export.

Like `plain_model`, it takes weights from the project's modules and computes on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder.model import JinaBertClassifier
from jinabert_onnx_export.encoder.trace import quiet_torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .plain_model import PlainEncoder

Ids = NDArray[np.int64]
Logits = NDArray[np.float32]


class PlainCrossEncoder(nn.Module):
    """Token ids and mask, int64 (batch, sequence), to logits, float32 (batch, labels)."""

    def __init__(self, model: JinaBertClassifier, heads: int) -> None:
        super().__init__()
        self.encoder = PlainEncoder(model, heads)
        self.pooler, self.classifier = model.pooler, model.classifier

    @classmethod
    def open(cls, checkpoint: Path) -> PlainCrossEncoder:
        """Load the checkpoint in float32."""
        opened = open_checkpoint(checkpoint)
        model = opened.load_encoder()
        assert isinstance(model, JinaBertClassifier)
        return cls(model, opened.config.num_attention_heads).eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Classify by the first token."""
        return self.classifier(self.pooler(self.encoder(input_ids, attention_mask)[:, 0]))  # type: ignore[no-any-return]

    def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Run in torch, eager."""
        with torch.inference_mode():
            return self(torch.from_numpy(input_ids), torch.from_numpy(attention_mask)).numpy()  # type: ignore[no-any-return]


def export_plain(model: PlainCrossEncoder, path: Path) -> Path:
    """Trace the model with standard operators only, float32, and write it to `path`."""
    example = torch.ones((2, 9), dtype=torch.int64)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence")}
    with quiet_torch():
        program = torch.onnx.export(
            model,
            (example, example.clone()),
            dynamo=True,
            opset_version=18,
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes={"input_ids": axes, "attention_mask": axes},
            verbose=False,
        )
    assert program is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    program.save(path, external_data=True)
    return path


def run_plain(path: Path, threads: int) -> Callable[[Ids, Ids], Logits]:
    """Open a plain export in onnxruntime as it comes: every option at its default but the threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(input_ids: Ids, attention_mask: Ids) -> Logits:
        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        return session.run(["logits"], feeds)[0]  # type: ignore[no-any-return]

    return run
