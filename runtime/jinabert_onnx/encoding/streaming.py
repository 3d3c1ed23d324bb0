"""A stream of texts to a stream of vectors, in order, in memory that does not grow with the stream.

Texts are taken a few ahead and sorted by length among those, so that batches pad little.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.errors import InputError, InputTypeError, MemoryLimitError, TruncationError
from jinabert_onnx.progress import Progress

from .loaded_model import LoadedModel
from .settings import Settings
from .steps import vectors_of
from .tokenized import tokenize
from .vector_types import AnyVectors

_CHARACTERS_AHEAD = 4_000_000  # of texts that are taken together, whatever their number


def stream(
    model: LoadedModel, texts: Iterable[str], settings: Settings, limits: Limits, look_ahead: int, progress: Progress
) -> Iterator[AnyVectors]:
    """Yield one vector (dimensions,) a text, in order; a vector comes once the texts taken with its text are done."""
    with progress:
        first = 0
        for taken in _take(texts, look_ahead):
            try:
                limits.check()
                tokenized = tokenize(model.tokenizer, taken, settings, first=first)
                vectors = vectors_of(model, tokenized, settings, limits, progress.advance)
            except TruncationError:
                raise
            except (InputError, MemoryLimitError) as error:
                raise type(error)(f"of the {len(taken)} texts from text {first} on: {error}") from error
            for vector in vectors:
                yield vector.copy()  # one that is kept must not hold on to all of those taken together
            first += len(taken)


def _take(texts: Iterable[str], look_ahead: int) -> Iterator[list[str]]:
    """Yield lists of up to `look_ahead` texts, fewer where they are long."""
    taken: list[str] = []
    characters = 0
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputTypeError(f"text {index} is {type(text).__name__}, not str", index=index)
        taken.append(text)
        characters += len(text)
        if len(taken) == look_ahead or characters >= _CHARACTERS_AHEAD:
            yield taken
            taken, characters = [], 0
    if taken:
        yield taken
