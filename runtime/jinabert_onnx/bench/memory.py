"""Peak and resident memory by the length of a text, each figure from a process of its own."""

from __future__ import annotations

from jinabert_onnx.engine.memory_model import MemoryModel
from jinabert_onnx.errors import RunError

from .children import Place, run_child
from .plan import Configuration, Skipped
from .record import Memory


def measure_memory(
    configuration: Configuration, place: Place, text: str, length: int, model: MemoryModel
) -> Memory | Skipped:
    """Return what a process holds that embeds `text`, of `length` tokens, alone; or why that is not known."""
    what = f"{configuration}: memory of {length} tokens"
    try:
        answer = run_child(place, configuration, text)
    except RunError as error:
        return Skipped(what, str(error))
    if answer["peak"] is None:
        return Skipped(what, "this system does not tell what a process held")
    return Memory(
        precision=configuration.precision,
        provider=configuration.provider,
        threads=configuration.threads,
        length=length,
        loaded=answer["loaded"],
        peak=answer["peak"],
        afterwards=answer["afterwards"],
        modelled=model.peak([length]),
    )
