"""Run one request's work by itself, with nobody else's: for functions that get one request at a time."""

from __future__ import annotations

import numpy as np

from jinabert_onnx.encoding import steps
from jinabert_onnx.encoding.results import TextReport
from jinabert_onnx.encoding.steps import LoadedModel, Reading, Settings
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.progress import Progress

from .embeddings import Work


def run_alone(model: LoadedModel, work: Work, limits: Limits) -> None:
    """Run every row and hand it to `work.take`.

    Raises:
        What `encoding.run` raises.
    """
    reports = tuple(TextReport(len(ids), 0, None) for ids in work.input_ids)
    reading = Reading(work.input_ids, np.arange(len(work.input_ids)), reports)
    settings = Settings(
        max_length=0, dimensions=0, limits=limits
    )  # what is run has been cut, and is finished elsewhere
    with Progress(len(reports), "texts", enabled=False) as progress:
        for indices, embeddings, mask in steps.run(model, reading, settings, progress):
            for index, tokens, visible in zip(indices, embeddings, mask, strict=True):
                work.take(int(index), tokens[: visible.sum()])
