"""Late chunking: one text read whole, window by window where it is long, and pooled span by span.

Composes `chunks`, the tokenizer and the session; holds one window's token embeddings at a time.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .chunks import (
    Span,
    Splitter,
    add_window,
    mean_of_spans,
    plan_windows,
    resolve_spans,
    token_ranges,
)
from .encoding import LoadedModel, Reading, Settings, finish, run
from .errors import InputError, InputTypeError
from .pooling import Vectors
from .progress import Progress
from .reports import TextReport
from .tokenizer import PlacedTokens
from .vector_types import AnyVectors

_OVERLAP = 512  # tokens that neighbouring windows share, unless told otherwise: each has half of it as context


def encode_chunks(
    model: LoadedModel, text: str, spans: str | Iterable[Span] | Splitter, overlap: int | None, settings: Settings
) -> tuple[AnyVectors, tuple[Span, ...]]:
    """Vectors (spans, dimensions) and the spans, in the order given; "sentences" leaves out those without a token.

    Raises:
        InputError, InputTypeError: the text or a span is not usable, or the model does not pool by mean.
        What `encoding.run` raises.
    """
    mode = model.bundle.manifest.pooling.mode
    if mode != "mean":
        raise InputError(f"this model pools by {mode}, which says nothing of a part of a text; use encode on each part")
    if not isinstance(text, str):
        raise InputTypeError(f"text is {type(text).__name__}, not str; give one text")
    tokens = model.tokenizer.with_offsets(text)
    found = resolve_spans(text, spans)
    if isinstance(spans, str):  # "sentences", by now
        found = [span for span in found if _holds_token(span, tokens)]
    ranges = token_ranges(found, tokens.starts, tokens.ends)  # (spans, 2)
    sums = np.zeros((len(found), model.bundle.manifest.model.hidden_size))
    counts = np.zeros(len(found), dtype=np.int64)
    prompt = model.tokenizer.with_offsets(settings.prefix).ids
    before, after = np.concatenate((model.tokenizer.before, prompt)), model.tokenizer.after
    room = settings.max_length - len(before) - len(after)
    if room < 1:
        raise InputError(f"the prompt's {len(prompt)} tokens leave no room for text; raise max_seq_length")
    for window in plan_windows(len(tokens.ids), room, min(_OVERLAP, room // 4) if overlap is None else overlap):
        input_ids = np.concatenate((before, tokens.ids[window.start : window.end], after))  # (tokens,)
        embeddings = _run_one(model, input_ids, settings)[len(before) :][: window.end - window.start]
        add_window(sums, counts, ranges, window, embeddings)
    return finish(model.bundle, mean_of_spans(sums, counts), settings), tuple(found)


def _holds_token(span: Span, tokens: PlacedTokens) -> bool:
    start, end = span
    return bool(((tokens.ends > start) & (tokens.starts < end)).any())


def _run_one(model: LoadedModel, input_ids: NDArray[np.int64], settings: Settings) -> Vectors:
    """Token embeddings, float32 (tokens, hidden), of one window."""
    reading = Reading([input_ids], np.zeros(1, dtype=np.intp), (TextReport(len(input_ids), 0, None),))
    with Progress(1, "texts", enabled=False) as progress:
        ((_, embeddings, _),) = run(model, reading, settings, progress)
    (tokens,) = embeddings
    return np.asarray(tokens, dtype=np.float32)
