"""Trace the torch encoder into an ONNX graph, and write it to disk.

The names of inputs and output, the dynamic axes and the opset are the data below. Traced at one shape,
valid at all: nothing in the graph depends on the traced batch or length. Knows nothing of bundles.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch

from jinabert_onnx_export.errors import ExportError
from jinabert_onnx_export.operators.padded_attention import attention_function

from .model import JinaBertClassifier, JinaBertEncoder

OPSET = 23
INPUTS = ("input_ids", "attention_mask")
TOKEN_TYPES = "token_type_ids"  # the third input of a classifier that takes it
OUTPUT = "last_hidden_state"
LOGITS = "logits"  # the output of a classifier
TRACED_SHAPE = (2, 9)  # (batch, sequence); any would do, verification uses others

# Weights up to this many bytes lie inside the ONNX file; larger ones beside it, where
# onnxruntime maps them into memory instead of parsing and copying them.
INLINE_LIMIT = 64 * 1024 * 1024


def trace(encoder: JinaBertEncoder) -> onnx.ModelProto:
    """Trace the encoder into an ONNX model, in the type of its weights; the output is float32 always.

    Returns:
        A model with int64 inputs `input_ids` and `attention_mask` (batch, sequence) and the output
        `last_hidden_state` (batch, sequence, hidden), or `logits` (batch, labels) of a classifier, which may take
        `token_type_ids` too. Its attention is the model-local function `jinabert::AlibiAttention`.

    Raises:
        ExportError: torch has fixed an axis that must stay free.
    """
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence")
    axes = {0: batch, 1: sequence}
    inputs, output = _interface(encoder)
    with quiet_torch():
        program = torch.onnx.export(
            encoder,
            tuple(torch.ones(TRACED_SHAPE, dtype=torch.int64) for _ in inputs),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=dict.fromkeys(inputs, axes),
            verbose=False,
        )
    if program is None:
        raise ExportError("torch.onnx.export returned nothing")
    model = program.model_proto
    model.functions.append(attention_function())
    _require_dynamic(model)
    _drop_traces(model.graph)
    return model


def halve(encoder: JinaBertEncoder) -> JinaBertEncoder:
    """Turn the encoder's weights into float16, in place.

    Positions, biases, scores and softmax stay float32 (`encoder.alibi`), so no mask or distance can overflow, and so
    does a classifier's head.
    """
    encoder.embeddings.half()
    encoder.encoder.half()
    return encoder


def save(model: onnx.ModelProto, path: Path) -> list[Path]:
    """Write the model to `path`, large weights to `path`_data; return the files written, the ONNX file first.

    Spends the model: weights written beside the file are no longer in it.
    """
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) <= INLINE_LIMIT:
        onnx.save_model(model, path)
        return [path]
    data = path.with_name(f"{path.name}_data")
    data.unlink(missing_ok=True)  # the writer would append to it
    onnx.save_model(model, path, save_as_external_data=True, location=data.name, size_threshold=1024)
    return [path, data]


def _interface(encoder: JinaBertEncoder) -> tuple[tuple[str, ...], str]:
    """Return the names of the graph's inputs and of its output."""
    if not isinstance(encoder, JinaBertClassifier):
        return INPUTS, OUTPUT
    return (*INPUTS, TOKEN_TYPES) if encoder.takes_token_types else INPUTS, LOGITS


def _require_dynamic(model: onnx.ModelProto) -> None:
    """Refuse a graph in which torch has fixed the batch or the length after all."""
    for value in (*model.graph.input, *model.graph.output):
        axes = value.type.tensor_type.shape.dim
        if any(axis.HasField("dim_value") for axis in axes[: 1 if value.name == LOGITS else 2]):
            raise ExportError(f"{value.name} has a fixed batch or sequence axis after tracing")


def _drop_traces(graph: onnx.GraphProto) -> None:
    """Remove torch's notes on nodes and values: they hold stack traces with the paths of this machine."""
    for item in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]


@contextmanager
def quiet_torch() -> Iterator[None]:
    """Silence messages of torch's tracing that a user cannot act on."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
