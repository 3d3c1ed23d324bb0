"""How a limit on the process's memory is shared: the server itself, open requests, and what the model may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jinabert_onnx.encoding.loaded_model import LoadedModel
from jinabert_onnx.engine.batching import TOKEN_BUDGETS
from jinabert_onnx.engine.memory_limit import resident_memory, share_limit
from jinabert_onnx.engine.memory_model import (
    MemoryModel,
    give_back_freed,
    in_megabytes,
    memory_model,
    resident_together,
)
from jinabert_onnx.errors import MemoryLimitError

from .options import Options
from .room import HELD_PER_BYTE

_GROWTH = 32 << 20  # bytes that come after the measurement: the application, threads, connections, small bodies
_CODE = 48 << 20  # bytes of the server's code, where they cannot be measured
_VARIATION = 6 << 20  # bytes by which one start may measure more than another
_PARTS = 4  # of what the idle server leaves, one part is for open requests


def within_limit(models: Sequence[LoadedModel], options: Options) -> Options:
    """Share the models' limit, if they have one, among them, the server itself, and open requests.

    Returns:
        The options with bodies that fit into what open requests may take.

    Raises:
        MemoryLimitError: not even the idle server fits; names the smallest limit that would do.
    """
    memories = [model.memory for model in models if model.memory is not None]
    if not memories:
        return options
    server = _server_memory(models)
    share_limit(memories)
    memory = memories[0]
    smallest = max(_smallest_limit(each.model, server) for each in memories)
    if memory.limit < smallest:  # the one that is named will do at the next start, which may measure more
        raise MemoryLimitError(
            f"--max-memory is {in_megabytes(memory.limit)}, and models and server take more before any request; "
            f"give at least {in_megabytes(smallest + _VARIATION)}, or use a smaller precision"
        )
    requests = (memory.limit - memory.model.resident() - server) // _PARTS
    for each in memories:
        each.reserve(server + requests)
    return replace(options, held=min(options.held, requests), max_body=min(options.max_body, requests // HELD_PER_BYTE))


def _smallest_limit(model: MemoryModel, server: int) -> int:
    """Return the bytes that hold the idle server, a full batch, and the share of open requests."""
    batch = model.peak([TOKEN_BUDGETS["cpu"]]) - model.resident()
    return model.resident() + server + batch * _PARTS // (_PARTS - 1) + 1


def _server_memory(models: Sequence[LoadedModel]) -> int:
    """Return the bytes that the process takes, or will take, beyond the loaded models."""
    give_back_freed()
    resident = resident_memory()
    expected = resident_together([_memory_model(model) for model in models])
    return _GROWTH + (_CODE if resident is None else max(0, resident - expected))


def _memory_model(model: LoadedModel) -> MemoryModel:
    kernels = model.session.kernels
    return memory_model(model.bundle.manifest, model.precision, kernels.native, kernels.native_layers)
