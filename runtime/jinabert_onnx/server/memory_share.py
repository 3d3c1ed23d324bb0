"""How a limit on the process's memory is shared: the server itself, open requests, and what the model may take."""

from __future__ import annotations

from dataclasses import replace

from jinabert_onnx.encoding.loaded_model import LoadedModel
from jinabert_onnx.engine.batching import TOKEN_BUDGETS
from jinabert_onnx.engine.memory_limit import resident_memory
from jinabert_onnx.engine.memory_model import MemoryModel, give_back_freed, in_megabytes, memory_model
from jinabert_onnx.errors import MemoryLimitError

from .options import Options
from .room import BODY

_LATER = 32 << 20  # bytes that come after the measurement: the application, threads, connections, small bodies
_CODE = 40 << 20  # bytes of the server's code, where they cannot be measured
_PARTS = 4  # of what the idle server leaves, one part is for open requests


def within_limit(model: LoadedModel, options: Options) -> Options:
    """Take the server's own memory and that of open requests out of the model's limit, if it has one.

    Returns:
        The options with bodies that fit into what open requests may take.

    Raises:
        MemoryLimitError: not even the idle server fits; names the smallest limit that would do.
    """
    memory = model.memory
    if memory is None:
        return options
    own = _own(model)
    smallest = _smallest(memory.model, own)
    if memory.limit < smallest:
        raise _too_small(memory.limit, smallest)
    requests = (memory.limit - memory.model.resident() - own) // _PARTS
    memory.reserve(own + requests)
    return replace(options, held=min(options.held, requests), max_body=min(options.max_body, requests // BODY))


def with_server(model: MemoryModel, limit: int) -> MemoryLimitError:
    """The error of a limit that does not hold the model, with a limit that would hold the server too."""
    return _too_small(limit, _smallest(model, _LATER + _CODE))


def _smallest(model: MemoryModel, own: int) -> int:
    """The bytes that hold the idle server, a full batch, and its share for requests."""
    batch = model.peak([TOKEN_BUDGETS["cpu"]]) - model.resident()
    return model.resident() + own + batch * _PARTS // (_PARTS - 1) + 1


def _too_small(limit: int, smallest: int) -> MemoryLimitError:
    return MemoryLimitError(
        f"--max-memory is {in_megabytes(limit)}, and model and server take more before any request; give at least "
        f"{in_megabytes(smallest)}, or use a smaller precision"
    )


def _own(model: LoadedModel) -> int:
    """Bytes that the process takes beyond the model of `memory`."""
    give_back_freed()
    resident = resident_memory()
    expected = memory_model(model.bundle.manifest, model.precision).resident()
    return _LATER + (_CODE if resident is None else max(0, resident - expected))
