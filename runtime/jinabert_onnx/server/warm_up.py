"""The first batches of a server's models, run at its start so that first requests need not wait for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np

from jinabert_onnx.engine.batching import TOKEN_BUDGETS
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.http.served import Served
from jinabert_onnx.http.work import Work

from .scheduler import Scheduler


def warm_up(scheduler: Scheduler, models: Sequence[Served], seconds: float) -> None:
    """Run a short, a middling and a full batch on each model, for `seconds` at most."""
    end = time.monotonic() + seconds
    for served in models:
        for tokens in (16, 128, TOKEN_BUDGETS["cpu"]):
            if (left := end - time.monotonic()) > 0:
                _run_once(scheduler, served, tokens, left)


def _run_once(scheduler: Scheduler, served: Served, tokens: int, seconds: float) -> None:
    """Run a row of so many tokens, for `seconds` at most."""
    row = np.zeros(tokens, dtype=np.int64)
    types = [row] if served.model.session.takes_token_types else None
    work = Work(served, [row], types, lambda index, output: None, bytes, items=1, tokens=tokens, held=0)
    finished = threading.Event()
    job = scheduler.submit(work, Limits(seconds), lambda error: finished.set(), counted=False)
    if not finished.wait(seconds):
        scheduler.end(job)
