"""What a framework's object holds: a model, and what is left of it when the object is copied or pickled.

Knows no framework, and nothing of what a model computes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from jinabert_onnx.engine.cancellation import Cancellation

from .source import AnyModel, Source

Settings = TypeVar("Settings")
_Result = TypeVar("_Result")


class HeldModel(Generic[AnyModel, Settings]):
    """A model, and how it is asked. It never changes, and copies are the same object.

    Pickled it is its `Source`: the model is loaded again where it is unpickled, once it is needed, and must have the
    space of the source's fingerprint, if that has one.
    """

    def __init__(self, source: Source[AnyModel], asking: Settings, model: AnyModel | None = None) -> None:
        self.source, self.asking = source, asking
        self._model = model

    @property
    def model(self) -> AnyModel:
        """Return the model, loaded by now.

        Raises:
            What `Source.load` raises.
        """
        if self._model is None:
            self._model = self.source.load()
        return self._model

    @property
    def settings(self) -> dict[str, Any]:
        """Return how the model is loaded and asked, by name: with its place enough to make this again."""
        return {**vars(self.source.loading), **vars(self.asking)}

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[type[Self], tuple[Source[AnyModel], Settings]]:
        return type(self), (self.source, self.asking)


async def in_thread(call: Callable[[Cancellation], _Result]) -> _Result:
    """Return what `call` gives, from a thread, so that the event loop goes on; a cancelled task ends the call."""
    cancellation = Cancellation()
    try:
        return await asyncio.to_thread(call, cancellation)
    except asyncio.CancelledError:
        cancellation.cancel()
        raise
