"""A stream of texts to a stream of vectors, in order, in memory that does not grow with the stream.

Texts are taken a few ahead and sorted by length among those, so that batches pad little.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.errors import InputError, MemoryLimitError, TruncationError
from jinabert_onnx.progress import Progress
from jinabert_onnx.text.inputs import as_text, take_ahead

from .loaded_model import LoadedModel
from .settings import Settings
from .steps import vectors_of
from .tokenized import tokenize
from .vector_types import AnyVectors


def stream(
    model: LoadedModel, texts: Iterable[str], settings: Settings, limits: Limits, look_ahead: int, progress: Progress
) -> Iterator[AnyVectors]:
    """Yield one vector (dimensions,) a text, in order; a vector comes once the texts taken with its text are done."""
    checked = (as_text(text, index) for index, text in enumerate(texts))
    with progress:
        first = 0
        for taken in take_ahead(checked, look_ahead, len):
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
