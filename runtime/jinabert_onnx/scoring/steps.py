"""From pairs to rows of token ids, and from logits to scores, as functions of a loaded cross-encoder.

Knows nothing of an order of documents.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from jinabert_onnx.bundle.manifest import ClassifierRecord
from jinabert_onnx.bundle.score_agreement import Logits, activate
from jinabert_onnx.encoding.loaded_model import LoadedModel
from jinabert_onnx.encoding.steps import Advance, Rows, require_finite, run
from jinabert_onnx.engine.cancellation import Limits
from jinabert_onnx.errors import TruncationError, TruncationWarning
from jinabert_onnx.text.pair_tokenizer import PairRow, tokenize_pairs
from jinabert_onnx.text.pairs import TextOrPair
from jinabert_onnx.text.tokenizer import Tokenizer

from .options import PairSettings
from .results import PairReport, Scores


def read_pairs(
    tokenizer: Tokenizer,
    pairs: Sequence[TextOrPair],
    settings: PairSettings,
    count_dropped: bool = False,
    first: int = 0,
) -> list[PairRow]:
    """Tokenize pairs, and cut what is too long as `settings.truncation` says; a warning is given two callers up.

    Messages count pairs from `first`.

    Raises:
        TruncationError: a pair is too long, and `truncation` is "error".
        InputError: a text is not valid Unicode.
    """
    exact = count_dropped or settings.truncation == "error"
    rows = tokenize_pairs(tokenizer, pairs, settings.max_length, exact)
    cut = [index for index, row in enumerate(rows) if row.dropped]
    if cut and settings.truncation == "error":
        row, number = rows[cut[0]], first + cut[0]
        raise TruncationError(
            f"pair {number} has {len(row.input_ids) + row.dropped} tokens, {row.dropped} more than the limit of "
            f"{settings.max_length} ({len(cut)} of {len(rows)} pairs are too long); shorten it, or choose another "
            "truncation than 'error'"
        )
    if cut and settings.truncation == "warn":
        warnings.warn(
            f"{len(cut)} of {len(rows)} pairs were cut to {settings.max_length} tokens (the first: pair "
            f"{first + cut[0]})",
            TruncationWarning,
            stacklevel=3,
        )
    return rows


def report_of(tokenizer: Tokenizer, given: TextOrPair, row: PairRow) -> PairReport:
    """Report how a pair was read; where it was cut, its texts are tokenized again."""
    cuts: list[int | None] = []
    for text, kept in zip((given,) if isinstance(given, str) else given, row.kept, strict=True):
        whole = not row.dropped or len(tokenizer.bare([text], kept)[0]) <= kept
        cuts.append(None if whole else tokenizer.cut_after(text, kept))
    return PairReport(len(row.input_ids), row.dropped, tuple(cuts))


def predict(
    model: LoadedModel,
    rows: Sequence[PairRow],
    settings: PairSettings,
    limits: Limits,
    advance: Advance = lambda count: None,
) -> Scores:
    """Compute the scores of pairs, in order.

    Raises:
        What `logits_of` raises.
    """
    input_ids, token_types = [row.input_ids for row in rows], [row.token_type_ids for row in rows]
    logits = logits_of(model, input_ids, token_types, settings.batch_size, limits, advance)
    return scores_of(model, logits, settings.raw_scores)


def logits_of(
    model: LoadedModel,
    rows: Rows,
    token_types: Rows,
    batch_size: int,
    limits: Limits,
    advance: Advance = lambda count: None,
) -> Logits:
    """Run rows of token ids, (tokens,) each: logits (rows, labels).

    Raises:
        What `encoding.steps.run` raises; RunError where a logit is not finite.
    """
    logits = np.empty((len(rows), len(classifier_of(model).labels)), dtype=np.float32)
    types = token_types if model.session.takes_token_types else None
    for batch in run(model, rows, batch_size, limits, types):
        require_finite(batch.output)
        logits[batch.indices] = batch.output
        advance(len(batch.indices))
    return logits


def scores_of(model: LoadedModel, logits: Logits, raw_scores: bool) -> Scores:
    """Turn logits (rows, labels) into scores, (rows,) where there is one label."""
    scores = logits if raw_scores else activate(logits, classifier_of(model).activation)
    return scores[:, 0] if scores.shape[1] == 1 else scores


def classifier_of(model: LoadedModel) -> ClassifierRecord:
    """Return the head of a loaded cross-encoder."""
    classifier = model.bundle.manifest.classifier
    assert classifier is not None  # `loading.open_model` has refused others
    return classifier
