"""Late chunking: one text read whole, window by window where it is long, and pooled span by span.

Composes `spans`, the tokenizer and `steps.run`; holds one window's token embeddings at a time.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.errors import InputError, InputTypeError
from jinabert_onnx.text.tokenizer import PlacedTokens

from .loaded_model import LoadedModel
from .pooling import Vectors
from .settings import Settings
from .spans import Span, Splitter, Window, add_window, mean_of_spans, plan_windows, resolve_spans, token_ranges
from .steps import finish, run
from .vector_types import AnyVectors

_OVERLAP = 512  # tokens that neighbouring windows share, unless told otherwise: each has half of it as context


class ChunkedText:
    """One text on its way to the vectors of its spans. Make one with `split_into_windows`.

    Attributes:
        input_ids: int64 (tokens,) of each window, prompt and special tokens included.
        spans: in characters, in the order of the vectors.
    """

    def __init__(
        self,
        input_ids: list[NDArray[np.int64]],
        spans: tuple[Span, ...],
        windows: list[Window],
        ranges: NDArray[np.int64],
        sums: NDArray[np.float64],
        before: int,
    ) -> None:
        self.input_ids, self.spans = input_ids, spans
        self._windows, self._ranges, self._before = windows, ranges, before
        self._sums = sums  # (spans, hidden)
        self._counts = np.zeros(len(spans), dtype=np.int64)

    def add(self, index: int, embeddings: Vectors) -> None:
        """Take what the window `index` gives to each span, of its token embeddings (tokens, hidden)."""
        window = self._windows[index]
        content = embeddings[self._before :][: window.end - window.start]
        add_window(self._sums, self._counts, self._ranges, window, content)

    def pooled(self) -> Vectors:
        """Return the spans' vectors, float32 (spans, hidden), after every window was added."""
        return mean_of_spans(self._sums, self._counts)


def encode_chunks(
    model: LoadedModel,
    text: str,
    spans: str | Iterable[Span] | Splitter,
    overlap: int | None,
    settings: Settings,
    limits: Limits,
) -> tuple[AnyVectors, tuple[Span, ...]]:
    """Compute vectors (spans, dimensions) of the spans, which are returned too, in the order given.

    "sentences" leaves out those without a token.

    Raises:
        What `split_into_windows` and `run` raise.
    """
    chunked = split_into_windows(model, text, spans, overlap, settings)
    for (index,), (token_embeddings,), _ in run(model, chunked.input_ids, 1, limits):
        chunked.add(int(index), token_embeddings)
    return finish(model, chunked.pooled(), settings), chunked.spans


def split_into_windows(
    model: LoadedModel, text: str, spans: str | Iterable[Span] | Splitter, overlap: int | None, settings: Settings
) -> ChunkedText:
    """Tokenize a text, and lay overlapping windows over it if it is longer than `settings.max_length`.

    Raises:
        InputError, InputTypeError: the text or a span is not usable, or the model does not pool by mean.
    """
    mode = model.bundle.manifest.pooling.mode
    if mode != "mean":
        raise InputError(
            f"this model uses {mode} pooling, which says nothing about a part of a text; use encode on each part"
        )
    if not isinstance(text, str):
        raise InputTypeError(f"text is {type(text).__name__}, not str; give one text")
    tokens = model.tokenizer.with_offsets(text)
    resolved = resolve_spans(text, spans)
    if isinstance(spans, str):  # "sentences", by now
        resolved = [span for span in resolved if _holds_token(span, tokens)]
    ranges = token_ranges(resolved, tokens.starts, tokens.ends)  # (spans, 2)
    prompt = model.tokenizer.with_offsets(settings.prefix).ids
    before, after = np.concatenate((model.tokenizer.before, prompt)), model.tokenizer.after
    room = settings.max_length - len(before) - len(after)
    if room < 1:
        raise InputError(f"the prompt's {len(prompt)} tokens leave no room for text; raise max_seq_length")
    windows = list(plan_windows(len(tokens.ids), room, min(_OVERLAP, room // 4) if overlap is None else overlap))
    input_ids = [np.concatenate((before, tokens.ids[window.start : window.end], after)) for window in windows]
    sums = np.zeros((len(resolved), model.bundle.manifest.model.hidden_size))
    return ChunkedText(input_ids, tuple(resolved), windows, ranges, sums, len(before))


def _holds_token(span: Span, tokens: PlacedTokens) -> bool:
    start, end = span
    return bool(((tokens.ends > start) & (tokens.starts < end)).any())
