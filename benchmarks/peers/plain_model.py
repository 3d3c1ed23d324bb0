"""The plain encoder for the peers, and a form of it with torch's own attention. Knows nothing of files."""

from __future__ import annotations

from jinabert_onnx_eval.baselines.plain_model import PlainEncoder, open_encoder
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from torch import Tensor
from torch.nn import functional

__all__ = ["PlainEncoder", "SdpaEncoder", "open_encoder"]


class SdpaEncoder(PlainEncoder):
    """The same through `F.scaled_dot_product_attention`, with biases kept from call to call of one length.

    For batches without padding only, so that the kernel gets one bias for the whole batch.
    """

    def __init__(self, encoder: JinaBertEncoder, heads: int) -> None:
        super().__init__(encoder, heads)
        self._kept: tuple[Tensor, Tensor] | None = None

    def biases(self, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """As above, made when the length has changed."""
        if self._kept is None or self._kept[0].shape[-1] != attention_mask.shape[1]:
            self._kept = None  # frees the former before the next is made
            self._kept = super().biases(attention_mask[:1])
        return self._kept

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        """As above; `mask` is not looked at."""
        every_row = bias.expand(query.shape[0], -1, -1, -1)
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=every_row)
