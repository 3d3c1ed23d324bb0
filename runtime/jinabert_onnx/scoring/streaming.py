"""A stream of pairs to a stream of scores, in order, in memory that does not grow with the stream.

Pairs are taken a few ahead and sorted by length among those, so that batches pad little.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jinabert_onnx.encoding.loaded_model import LoadedModel
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.errors import InputError, MemoryLimitError, TruncationError
from jinabert_onnx.progress import Progress
from jinabert_onnx.text.inputs import take_ahead
from jinabert_onnx.text.pairs import TextOrPair, as_input

from .options import PairSettings
from .results import Scores
from .steps import predict, read_pairs


def stream(
    model: LoadedModel,
    pairs: Iterable[object],
    settings: PairSettings,
    limits: Limits,
    look_ahead: int,
    progress: Progress,
) -> Iterator[Scores]:
    """Yield one score, or (labels,), a pair, in order; it comes once the pairs taken with its pair are done."""
    checked = (as_input(given, index) for index, given in enumerate(pairs))
    with progress:
        first = 0
        for taken in take_ahead(checked, look_ahead, _characters):
            try:
                limits.check()
                rows = read_pairs(model.tokenizer, taken, settings, first=first)
                scores = predict(model, rows, settings, limits, progress.advance)
            except TruncationError:
                raise
            except (InputError, MemoryLimitError) as error:
                raise type(error)(f"of the {len(taken)} pairs from pair {first} on: {error}") from error
            for score in scores:
                yield score.copy()  # one that is kept must not hold on to all of those taken together
            first += len(taken)


def _characters(given: TextOrPair) -> int:
    return len(given) if isinstance(given, str) else sum(map(len, given))
