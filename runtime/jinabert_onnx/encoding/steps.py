"""Texts to vectors, step by step: read, run, pool, finish. What `Embedder` offers, as functions of a loaded model.

Knows nothing of how a model is loaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.bundle.manifest import Bundle
from jinabert_onnx.engine.batching import TOKEN_BUDGETS, pad, plan_batches
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.engine.memory_limit import MemoryLimit
from jinabert_onnx.engine.session import Session
from jinabert_onnx.errors import InputError, RunError, TruncationError, TruncationWarning
from jinabert_onnx.progress import Progress
from jinabert_onnx.text.tokenizer import Tokenizer

from . import pooling
from .pooling import Vectors
from .results import TextReport
from .vector_types import AnyVectors, convert, limit_for

TRUNCATIONS = ("warn", "error", "head", "tail", "mean")

# (indices of the rows, token embeddings (batch, sequence, hidden), attention mask (batch, sequence))
Batch = tuple[NDArray[np.intp], Vectors, NDArray[np.int64]]


@dataclass(frozen=True)
class LoadedModel:
    """What runs: a bundle's tokenizer and session, and how much memory they may take (None: as much as they need)."""

    bundle: Bundle
    precision: str
    tokenizer: Tokenizer
    session: Session
    memory: MemoryLimit | None


@dataclass(frozen=True)
class Settings:
    """What one call asks for, checked.

    `prefix` is put before each text. `truncation` is one of `TRUNCATIONS`, and applies beyond `max_length` tokens.
    `dimensions` are the channels to keep, `normalize` scales to length 1 after that, `output_dtype` comes last.
    """

    max_length: int
    dimensions: int
    limits: Limits
    batch_size: int = 32
    prefix: str = ""
    truncation: str = "warn"
    normalize: bool = False
    output_dtype: str = "float32"
    first: int = 0  # number of the first text, in messages


@dataclass(frozen=True)
class Reading:
    """Texts as token ids: `input_ids` of each window, `owners` the text that it is of, a report for each text."""

    input_ids: list[NDArray[np.int64]]
    owners: NDArray[np.intp]
    reports: tuple[TextReport, ...]


def read(model: LoadedModel, texts: Sequence[str], settings: Settings, count_dropped: bool) -> Reading:
    """Tokenize, and cut what is too long as `settings.truncation` says.

    Without `count_dropped` a long text is cut before it is tokenized, and `dropped` is some number above 0.

    Raises:
        TruncationError: a text is too long, and the policy is "error".
        InputError: a text is not valid Unicode.
    """
    settings.limits.check()
    exact = settings.truncation == "error" or (count_dropped and settings.truncation in ("warn", "head"))
    tokens = model.tokenizer([settings.prefix + text for text in texts], settings.max_length, count_dropped=exact)
    windows = [[ids] for ids in tokens.input_ids]
    reports = [
        TextReport(len(ids), dropped, None if cut is None else max(0, cut - len(settings.prefix)))
        for ids, dropped, cut in zip(tokens.input_ids, tokens.dropped, tokens.cuts, strict=True)
    ]
    _tell_of_cuts(texts, reports, settings)
    if settings.truncation in ("tail", "mean"):
        for index, report in enumerate(reports):
            if report.cut is not None:
                windows[index], reports[index] = _read_otherwise(model.tokenizer, texts[index], settings)
    owners = np.repeat(np.arange(len(texts)), [len(parts) for parts in windows])
    return Reading([ids for parts in windows for ids in parts], owners, tuple(reports))


def run(model: LoadedModel, reading: Reading, settings: Settings, progress: Progress) -> Iterator[Batch]:
    """Token embeddings of every window, a batch at a time, the longest first; indices are of the windows.

    Raises:
        MemoryLimitError: a text does not fit; nothing was run.
        CancelledError, DeadlineError: the call was ended.
        RunError: onnxruntime failed.
    """
    left = np.bincount(reading.owners, minlength=len(reading.reports))  # windows of each text that have not run
    for indices in batches_of(model, [len(ids) for ids in reading.input_ids], settings.batch_size):
        with running(model, [reading.input_ids[index] for index in indices], settings.limits) as (embeddings, mask):
            yield indices, embeddings, mask
        np.subtract.at(left, reading.owners[indices], 1)
        progress.advance(int((left[np.unique(reading.owners[indices])] == 0).sum()))


def batches_of(model: LoadedModel, lengths: Sequence[int], batch_size: int) -> list[NDArray[np.intp]]:
    """Which rows of such lengths (tokens) run together, as `plan_batches` has it.

    Raises:
        MemoryLimitError: a row does not fit into the memory that the model may take.
    """
    budget, memory = TOKEN_BUDGETS[model.session.provider], model.memory
    if memory is None:
        return plan_batches(lengths, batch_size, budget)
    return plan_batches(lengths, batch_size, budget, memory.peak, memory.limit)


@contextmanager
def running(
    model: LoadedModel, rows: Sequence[NDArray[np.int64]], limits: Limits
) -> Iterator[tuple[Vectors, NDArray[np.int64]]]:
    """Run rows of token ids as one batch: token embeddings (batch, sequence, hidden) and the mask.

    Under a memory limit others wait until the block ends, when what came out is no longer used.

    Raises:
        CancelledError, DeadlineError: the call was ended.
        RunError: onnxruntime failed.
    """
    input_ids, attention_mask = pad(rows)
    lengths, memory = [len(ids) for ids in rows], model.memory
    with memory.turn(limits, lengths) if memory else nullcontext():
        if memory is not None and memory.may_exceed(lengths):
            model.session.give_back()
        yield model.session.run(input_ids, attention_mask, limits), attention_mask


def vectors_of(model: LoadedModel, reading: Reading, settings: Settings, progress: Progress) -> AnyVectors:
    """One vector a text, in order: (n, dimensions), or (n, dimensions / 8) of binary types.

    Where a text was read in windows, its vector is their mean, each weighted by its tokens.

    Raises:
        What `run` raises; InputError where a value does not fit the type.
    """
    hidden = model.bundle.manifest.model.hidden_size
    windows = np.zeros((len(reading.input_ids), hidden), dtype=np.float32)
    mode = model.bundle.manifest.pooling.mode
    for indices, token_embeddings, attention_mask in run(model, reading, settings, progress):
        windows[indices] = pooling.pool(token_embeddings, attention_mask, mode)  # (batch, hidden)
    return finish(model.bundle, _mean_of_windows(windows, reading), settings)


def token_rows(model: LoadedModel, reading: Reading, settings: Settings, progress: Progress) -> list[AnyVectors]:
    """One row a token, for each text in order: (tokens, dimensions).

    Raises:
        What `run` raises; InputError where a value does not fit the type.
    """
    rows: list[AnyVectors] = [np.empty((0, settings.dimensions), dtype=np.float32)] * len(reading.input_ids)
    for indices, token_embeddings, attention_mask in run(model, reading, settings, progress):
        _require_finite(token_embeddings[attention_mask == 1])
        for index, tokens, mask in zip(indices, token_embeddings, attention_mask, strict=True):
            kept = tokens[: mask.sum(), : settings.dimensions].copy()  # (tokens, dimensions), free of the batch
            rows[index] = convert(pooling.normalize(kept) if settings.normalize else kept, settings.output_dtype, 1.0)
    return rows


def finish(bundle: Bundle, pooled: Vectors, settings: Settings) -> AnyVectors:
    """Pooled vectors (n, hidden) shortened, scaled and of the type that was asked for.

    Raises:
        RunError: a vector is not finite.
        InputError: a value does not fit the type.
    """
    _require_finite(pooled)
    manifest, hidden = bundle.manifest, pooled.shape[-1]
    if manifest.pooling.normalize:
        pooled = pooling.normalize(pooled)
    shortened = pooled[:, : settings.dimensions]
    if settings.normalize:
        limit = limit_for(manifest.vector_limits, True, settings.dimensions, hidden)
        return convert(pooling.normalize(shortened), settings.output_dtype, limit)
    limit = limit_for(manifest.vector_limits, manifest.pooling.normalize, hidden, hidden)
    return convert(np.ascontiguousarray(shortened), settings.output_dtype, limit)


def _require_finite(pooled: Vectors) -> None:
    if not np.isfinite(pooled).all():
        raise RunError(
            "the model gave NaN or infinity: its weights are damaged, or the provider computes wrong values "
            "(check with `jinabert-onnx verify`)"
        )


def _read_otherwise(tokenizer: Tokenizer, text: str, settings: Settings) -> tuple[list[NDArray[np.int64]], TextReport]:
    """A text that is too long: its tail, or all of it in windows, the prompt before each."""
    prompt = tokenizer.with_offsets(settings.prefix).ids  # (tokens,)
    room = settings.max_length - len(prompt)
    if room <= tokenizer.special_tokens:
        raise InputError(f"the prompt's {len(prompt)} tokens leave no room for text; use a larger max_length")
    begin = len(tokenizer.before)
    if settings.truncation == "tail":
        tokens = tokenizer([text], room, keep="tail")
        parts, dropped, cut = tokens.input_ids, tokens.dropped[0], tokens.cuts[0]
    else:
        (parts,), dropped, cut = tokenizer.split([text], room), 0, None
    read = sum(len(ids) - tokenizer.special_tokens for ids in parts) + len(prompt) + tokenizer.special_tokens
    windows = [np.concatenate((ids[:begin], prompt, ids[begin:])) for ids in parts]
    return windows, TextReport(read, dropped, cut, len(windows))


def _mean_of_windows(windows: Vectors, reading: Reading) -> Vectors:
    """(windows, hidden) to (texts, hidden); where each text has one window, `windows` itself."""
    count = len(reading.reports)
    if len(windows) == count:
        return windows
    weights = np.array([len(ids) for ids in reading.input_ids], dtype=np.float64)  # (windows,)
    sums = np.zeros((count, windows.shape[1]))
    np.add.at(sums, reading.owners, windows * weights[:, None])
    totals = np.bincount(reading.owners, weights, minlength=count)  # (texts,)
    return (sums / totals[:, None]).astype(np.float32)


def _tell_of_cuts(texts: Sequence[str], reports: Sequence[TextReport], settings: Settings) -> None:
    """Warn of texts that were cut, or refuse them, where the policy says so."""
    cut = [index for index, report in enumerate(reports) if report.cut is not None]
    if not cut or settings.truncation not in ("warn", "error"):
        return
    first, number = reports[cut[0]], settings.first + cut[0]
    if settings.truncation == "error":
        raise TruncationError(
            f"text {number} has {first.tokens + first.dropped} tokens, {first.dropped} more than the limit of "
            f"{settings.max_length} ({len(cut)} of {len(reports)} texts are too long); shorten it, or choose another "
            "truncation than 'error'"
        )
    warnings.warn(
        f"{len(cut)} of {len(reports)} texts were cut to {settings.max_length} tokens (the first: text {number}, after "
        f"{first.cut} of {len(texts[cut[0]])} characters)",
        TruncationWarning,
        stacklevel=4,
    )
