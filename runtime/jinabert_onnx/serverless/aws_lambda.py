"""AWS Lambda's entry: configure `jinabert_onnx.serverless.aws_lambda.handler` as the function's handler.

The model is loaded when Lambda imports this module, once for all calls of an environment: what fails then is one error
in the log and a failed start. It comes from the directory JINABERT_ONNX_MODEL (default: `bundle` beside the code), in
JINABERT_ONNX_PRECISION (default: auto), with JINABERT_ONNX_THREADS or as many threads as the function's memory buys.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from jinabert_onnx.bundle.locate import open_source
from jinabert_onnx.engine.cpu import THREADS_VARIABLE, available_threads
from jinabert_onnx.errors import needed
from jinabert_onnx.model_class import class_of

with needed("a function needs more than is installed", "cpu,serverless"):
    from .events import read_call, write_answer
    from .function import Function

MODEL_VARIABLE = "JINABERT_ONNX_MODEL"
PRECISION_VARIABLE = "JINABERT_ONNX_PRECISION"

_ROOT_VARIABLE = "LAMBDA_TASK_ROOT"  # the directory with the function's code, as Lambda sets it
_MEMORY_VARIABLE = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"  # in MiB, likewise
_MEMORY_PER_CPU = 1769  # MiB: AWS gives a function CPUs in proportion to its memory
_RESERVED = 64  # MiB for what `memory_model` leaves out: pydantic, Lambda's client, an event, its answer
_MARGIN = 0.5  # seconds in which the answer is written, before Lambda ends the call


class Context(Protocol):
    """The part of Lambda's context that is used."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends the call."""


def handler(event: object, context: Context) -> dict[str, object]:
    """Answer one event; see `events` for those that are known. Texts are never logged."""
    call = read_call(event)
    seconds = context.get_remaining_time_in_millis() / 1000 - _MARGIN
    return write_answer(call, _FUNCTION.answer(call, seconds))


def _load() -> Function:
    root = Path(os.environ.get(_ROOT_VARIABLE) or Path(__file__).parents[2])
    source = os.environ.get(MODEL_VARIABLE) or str(root / "bundle")
    model = class_of(open_source(source)).load(
        source,
        precision=os.environ.get(PRECISION_VARIABLE) or "auto",
        provider="cpu",
        threads=_threads(),
        max_memory=_memory(),
        # A package or an image has a digest that Lambda checks, `lambda-zip` has read every file, and a start can
        # remember nothing for the next. A bundle elsewhere, such as on a mounted disk, is read through.
        integrity="off" if Path(source).resolve().is_relative_to(root.resolve()) else "full",
    )
    return Function(model, source)


def _function_memory() -> int | None:
    """Read the function's memory in MiB; None outside of Lambda."""
    text = os.environ.get(_MEMORY_VARIABLE, "")
    return int(text) if text.isdecimal() else None


def _threads() -> int | str:
    """Compute the threads from the function's memory: a function sees more CPUs than it may use."""
    memory = _function_memory()
    if memory is None or os.environ.get(THREADS_VARIABLE):
        return "auto"
    return min(available_threads().threads, max(1, round(memory / _MEMORY_PER_CPU)))


def _memory() -> int | None:
    """Return `max_memory`, so that a text that does not fit is refused; without it Lambda would end the function."""
    memory = _function_memory()
    return None if memory is None else max(1, memory - _RESERVED) << 20


_FUNCTION = _load()
