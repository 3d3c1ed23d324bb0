"""Run one request's work by itself, with nobody else's: for functions that get one request at a time."""

from __future__ import annotations

from jinabert_onnx.encoding.loaded_model import LoadedModel
from jinabert_onnx.encoding.options import BATCH_SIZE
from jinabert_onnx.encoding.steps import run
from jinabert_onnx.engine.cancellation import Limits

from .embeddings import Work


def run_alone(model: LoadedModel, work: Work, limits: Limits) -> None:
    """Run every row and hand it to `work.take`.

    Raises:
        What `steps.run` raises.
    """
    for indices, token_embeddings, attention_mask in run(model, work.input_ids, BATCH_SIZE, limits):
        for index, tokens, mask in zip(indices, token_embeddings, attention_mask, strict=True):
            work.take(int(index), tokens[: mask.sum()])
