"""Token ids to vectors: run, pool, finish. What `Embedder` offers, as functions of a loaded model.

Knows nothing of how a model is loaded, nor of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jinabert_onnx.engine.batching import TOKEN_BUDGETS, pad, plan_batches
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.errors import RunError

from . import pooling
from .dense import apply_dense
from .loaded_model import LoadedModel
from .pooling import Vectors
from .settings import Settings
from .tokenized import TokenizedTexts
from .vector_types import AnyVectors, convert, limit_for

Advance = Callable[[int], object]  # told how many more texts, or pairs, are done


Rows = Sequence[NDArray[np.int64]]  # of token ids, (tokens,)


class Batch(NamedTuple):
    """Rows that ran together: their indices, what the graph gave for them, and the mask (batch, sequence).

    That is token embeddings (batch, sequence, hidden), or a cross-encoder's logits (batch, labels).
    """

    indices: NDArray[np.intp]
    output: Vectors
    attention_mask: NDArray[np.int64]


def run(
    model: LoadedModel, rows: Rows, batch_size: int, limits: Limits, token_types: Rows | None = None
) -> Iterator[Batch]:
    """Run rows of token ids, a batch at a time, the longest first; `token_types` are as long as their rows.

    Raises:
        MemoryLimitError: a row does not fit; nothing was run.
        CancelledError, DeadlineError: the call was ended.
        RunError: onnxruntime failed.
    """
    limits.check()
    for indices in batches_of(model, [len(ids) for ids in rows], batch_size):
        types = None if token_types is None else [token_types[index] for index in indices]
        with running(model, [rows[index] for index in indices], limits, types) as (output, attention_mask):
            yield Batch(indices, output, attention_mask)


def batches_of(model: LoadedModel, lengths: Sequence[int], batch_size: int) -> list[NDArray[np.intp]]:
    """Plan which rows of such lengths (tokens) run together, as `plan_batches` does.

    Raises:
        MemoryLimitError: a row does not fit into the memory that the model may take.
    """
    budget, memory = TOKEN_BUDGETS[model.session.provider], model.memory
    if memory is None:
        return plan_batches(lengths, batch_size, budget)
    return plan_batches(lengths, batch_size, budget, memory.peak, memory.limit)


@contextmanager
def running(
    model: LoadedModel, rows: Rows, limits: Limits, token_types: Rows | None = None
) -> Iterator[tuple[Vectors, NDArray[np.int64]]]:
    """Run rows of token ids as one batch: what the graph gives for it, as in `Batch`, and the mask.

    Under a memory limit others wait until the block ends, when what came out is no longer used.

    Raises:
        CancelledError, DeadlineError: the call was ended.
        RunError: onnxruntime failed.
    """
    input_ids, attention_mask = pad(rows)
    token_type_ids = None if token_types is None else pad(token_types)[0]  # (batch, sequence)
    lengths, memory = [len(ids) for ids in rows], model.memory
    with memory.turn(limits, lengths) if memory else nullcontext():
        if memory is not None:
            memory.make_room(lengths)
        yield model.session.run(input_ids, attention_mask, limits, token_type_ids), attention_mask


def vectors_of(
    model: LoadedModel, texts: TokenizedTexts, settings: Settings, limits: Limits, advance: Advance | None = None
) -> AnyVectors:
    """Compute one vector per text, in order: (n, dimensions), or (n, dimensions / 8) of binary types.

    Where a text was read in windows, its vector is their mean, each weighted by its tokens.

    Raises:
        What `run` raises; InputError where a value does not fit the type.
    """
    manifest = model.bundle.manifest
    windows = np.zeros((len(texts.input_ids), manifest.model.hidden_size), dtype=np.float32)
    for batch in _run_texts(model, texts, settings, limits, advance):
        pooled = pooling.pool(batch.output, batch.attention_mask, manifest.pooling.mode)  # (batch, hidden)
        windows[batch.indices] = pooled
    return finish(model, _mean_of_windows(windows, texts), settings)


def token_rows(
    model: LoadedModel, texts: TokenizedTexts, settings: Settings, limits: Limits, advance: Advance | None = None
) -> list[AnyVectors]:
    """Compute one row per token, for each text in order: (tokens, dimensions).

    Raises:
        What `run` raises; InputError where a value does not fit the type.
    """
    rows: list[AnyVectors] = [np.empty((0, settings.dimensions), dtype=np.float32)] * len(texts.input_ids)
    for indices, token_embeddings, attention_mask in _run_texts(model, texts, settings, limits, advance):
        require_finite(token_embeddings[attention_mask == 1])
        for index, tokens, mask in zip(indices, token_embeddings, attention_mask, strict=True):
            kept = tokens[: mask.sum(), : settings.dimensions].copy()  # (tokens, dimensions), free of the batch
            rows[index] = convert(pooling.normalize(kept) if settings.normalize else kept, settings.output_dtype, 1.0)
    return rows


def finish(model: LoadedModel, pooled: Vectors, settings: Settings) -> AnyVectors:
    """Put pooled vectors (n, hidden) through the dense layers, shorten, scale and convert them to the type asked for.

    Raises:
        RunError: a vector is not finite.
        InputError: a value does not fit the type.
    """
    require_finite(pooled)
    pooled = apply_dense(model.dense, pooled)  # (n, dimensions of the bundle)
    manifest, width = model.bundle.manifest, pooled.shape[-1]
    if manifest.pooling.normalize:
        pooled = pooling.normalize(pooled)
    shortened = pooled[:, : settings.dimensions]
    if settings.normalize:
        limit = limit_for(manifest.vector_limits, True, settings.dimensions, width)
        return convert(pooling.normalize(shortened), settings.output_dtype, limit)
    limit = limit_for(manifest.vector_limits, manifest.pooling.normalize, width, width)
    return convert(np.ascontiguousarray(shortened), settings.output_dtype, limit)


def require_finite(pooled: Vectors) -> None:
    """Return if every value is finite.

    Raises:
        RunError: one is not.
    """
    if not np.isfinite(pooled).all():
        raise RunError(
            "the model gave NaN or infinity: its weights are damaged, or the provider computes wrong values "
            "(check with `jinabert-onnx verify`)"
        )


def _run_texts(
    model: LoadedModel, texts: TokenizedTexts, settings: Settings, limits: Limits, advance: Advance | None
) -> Iterator[Batch]:
    batches = run(model, texts.input_ids, settings.batch_size, limits)
    return batches if advance is None else _counted(batches, texts, advance)


def _counted(batches: Iterable[Batch], texts: TokenizedTexts, advance: Advance) -> Iterator[Batch]:
    """Tell after each batch how many texts it was the last of."""
    left = np.bincount(texts.owners, minlength=len(texts.reports))  # windows of each text that have not run
    for batch in batches:
        yield batch
        owners = texts.owners[batch.indices]
        np.subtract.at(left, owners, 1)
        advance(len(set(owners[left[owners] == 0].tolist())))  # numpy.unique would import numpy.ma, which takes 50 ms


def _mean_of_windows(windows: Vectors, texts: TokenizedTexts) -> Vectors:
    """Average (windows, hidden) to (texts, hidden); where each text has one window, `windows` itself."""
    count = len(texts.reports)
    if len(windows) == count:
        return windows
    weights = np.array([len(ids) for ids in texts.input_ids], dtype=np.float64)  # (windows,)
    sums = np.zeros((count, windows.shape[1]))
    np.add.at(sums, texts.owners, windows * weights[:, None])
    totals = np.bincount(texts.owners, weights, minlength=count)  # (texts,)
    return (sums / totals[:, None]).astype(np.float32)
