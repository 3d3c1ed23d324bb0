"""A stream of inputs to a stream of results, in order, in memory that does not grow with the stream.

Inputs are taken a few ahead and sorted by length among those, so that batches pad little. Knows nothing of what is
computed of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.errors import InputError, MemoryLimitError, TruncationError
from jinabert_onnx.progress import Progress

_CHARACTERS_AHEAD = 4_000_000  # of inputs that are taken together, whatever their number

_Input = TypeVar("_Input")


@dataclass(frozen=True)
class Stream(Generic[_Input]):
    """How inputs become results.

    Attributes:
        named: the inputs, in messages, such as "text"; the plural has an s.
        characters_of: the size of one.
        compute: gives a row for each of several inputs, of which the first is the n-th of all.
    """

    named: str
    characters_of: Callable[[_Input], int]
    compute: Callable[[list[_Input], int], NDArray[Any]]

    def run(
        self, inputs: Iterable[_Input], limits: Limits, look_ahead: int, progress: Progress
    ) -> Iterator[NDArray[Any]]:
        """Yield one row an input, in order; a row comes once the inputs taken with its input are done."""
        with progress:
            first = 0
            for taken in self._take(inputs, look_ahead):
                try:
                    limits.check()
                    rows = self.compute(taken, first)
                except TruncationError:
                    raise
                except (InputError, MemoryLimitError) as error:
                    of_all = f"of the {len(taken)} {self.named}s from {self.named} {first} on"
                    raise type(error)(f"{of_all}: {error}") from error
                for row in rows:
                    yield row.copy()  # one that is kept must not hold on to all of those taken together
                first += len(taken)

    def _take(self, inputs: Iterable[_Input], look_ahead: int) -> Iterator[list[_Input]]:
        """Yield lists of up to `look_ahead` inputs, fewer where they are long."""
        taken: list[_Input] = []
        characters = 0
        for each in inputs:
            taken.append(each)
            characters += self.characters_of(each)
            if len(taken) == look_ahead or characters >= _CHARACTERS_AHEAD:
                yield taken
                taken, characters = [], 0
        if taken:
            yield taken
