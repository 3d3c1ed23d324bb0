"""A cross-encoder as it is written where nobody minds memory, in torch; `plain` exports and runs it.

Like `plain_model`, it takes weights from the project's modules and computes on its own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder.model import JinaBertClassifier
from numpy.typing import NDArray
from torch import Tensor, nn

from .plain_model import PlainEncoder
from .worker import Ids

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
