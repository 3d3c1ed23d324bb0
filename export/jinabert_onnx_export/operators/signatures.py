"""Inputs and outputs of the operators that the graph passes connect: names in their order, since ONNX goes by place.

The operators' bodies are written in this order, and `check_body` holds them to it; the passes wire nodes by name.
Knows nothing of what the operators compute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import onnx

from jinabert_onnx_export.errors import ExportError

T = TypeVar("T")


@dataclass(frozen=True)
class Signature:
    """An operator of the `jinabert` domain: its name, and its inputs and outputs by position."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def arguments(self, values: Mapping[str, T]) -> list[T]:
        """Return the inputs of a node in their order, out of `values` by name, which may hold others too.

        Raises:
            ValueError: `values` lacks an input.
        """
        missing = [name for name in self.inputs if name not in values]
        if missing:
            raise ValueError(f"{self.name} has no value for its input {', '.join(missing)}")
        return [values[name] for name in self.inputs]


ATTENTION_PLAN = Signature(
    "AttentionPlan",
    inputs=("attention_mask",),
    outputs=(
        "source", "tokens", "token_blocks", "positions", "texts", "rows", "back", "biases", "dense", "even",
        "text_shape", "token_rows",
    ),
)  # fmt: skip
ALIBI_ATTENTION = Signature(
    "AlibiAttention",
    inputs=(
        "query", "key", "value",
        "positions", "texts", "rows", "back", "biases", "dense", "even", "text_shape", "token_rows",
    ),
    outputs=("context",),
)  # fmt: skip
GATED_FEED_FORWARD = Signature(
    "GatedFeedForward", inputs=("x", "token_blocks", "token_rows", "gate", "up", "down"), outputs=("output",)
)
UNPACK = Signature("Unpack", inputs=("hidden", "source", "input_ids"), outputs=("last_hidden_state",))

QUANTIZED_GATED_FEED_FORWARD = Signature(
    "QuantizedGatedFeedForward",
    inputs=(
        "x", "token_blocks", "token_rows",
        "smoothing", "gate", "gate_scale", "up", "up_scale", "down", "down_scale",
    ),
    outputs=("output",),
)  # fmt: skip
QUERY_KEY_VALUE = Signature(
    "QuantizedQueryKeyValue",
    inputs=("hidden", "smoothing", "weight", "scale", "query_bias"),
    outputs=("query", "key", "value"),
)
QK_POST_NORM_QUERY_KEY_VALUE = Signature(
    "QuantizedQkPostNormQueryKeyValue",
    inputs=(*QUERY_KEY_VALUE.inputs, "key_bias", "query_norm", "query_norm_bias", "key_norm", "key_norm_bias"),
    outputs=QUERY_KEY_VALUE.outputs,
)
AFTER_ATTENTION = Signature(
    "QuantizedAfterAttention",
    inputs=(
        "context", "hidden", "token_blocks", "token_rows",
        "output", "output_scale", "output_bias", "attended_norm", "attended_norm_bias",
        "smoothing", "gate", "gate_scale", "up", "up_scale", "down", "down_scale", "down_bias", "norm", "norm_bias",
    ),
    outputs=("hidden",),
)  # fmt: skip
QK_POST_NORM_AFTER_ATTENTION = Signature(
    "QuantizedQkPostNormAfterAttention",
    inputs=(*AFTER_ATTENTION.inputs[:9], "middle_norm", "middle_norm_bias", *AFTER_ATTENTION.inputs[9:]),
    outputs=AFTER_ATTENTION.outputs,
)

PACKED_SIGNATURES = (ATTENTION_PLAN, ALIBI_ATTENTION, GATED_FEED_FORWARD, UNPACK)
LAYER_SIGNATURES = (
    QUERY_KEY_VALUE, QK_POST_NORM_QUERY_KEY_VALUE, AFTER_ATTENTION, QK_POST_NORM_AFTER_ATTENTION,
)  # fmt: skip
INT8_SIGNATURES = (QUANTIZED_GATED_FEED_FORWARD, *LAYER_SIGNATURES)


def check_bodies(bodies: Sequence[onnx.FunctionProto]) -> None:
    """Check that every body with a signature above takes its inputs in that order and has as many outputs.

    Outputs are compared by number: in a body they are named after what computes them.

    Raises:
        ExportError: a body departs from its signature.
    """
    signatures = {signature.name: signature for signature in (*PACKED_SIGNATURES, *INT8_SIGNATURES)}
    for body in bodies:
        signature = signatures.get(body.name)
        if signature is None:
            continue
        if tuple(body.input) != signature.inputs:
            raise ExportError(
                f"the body of {body.name} takes {', '.join(body.input)}, its signature {', '.join(signature.inputs)}"
            )
        if len(body.output) != len(signature.outputs):
            raise ExportError(
                f"the body of {body.name} has {len(body.output)} outputs, its signature {len(signature.outputs)}"
            )
