"""The options of `CrossEncoder.predict` and its siblings, each declared once, and what a call makes of them.

Without `from __future__ import annotations`, for the declarations are read at run time.
"""

from dataclasses import dataclass
from typing import Annotated, TypedDict, cast

from jinabert_onnx.encoding.loaded_model import LoadedModel
from jinabert_onnx.encoding.options import BATCH_SIZE, Option, defaults_of
from jinabert_onnx.engine.cancellation import Cancellation
from jinabert_onnx.errors import InputError
from jinabert_onnx.text.inputs import require_range
from jinabert_onnx.text.pair_tokenizer import require_pair_frame

TRUNCATIONS = ("warn", "head", "error")


class RunOptions(TypedDict, total=False):
    """Options of every method that runs a cross-encoder."""

    timeout: Annotated[float | None, Option(None, "seconds after which the call ends with a DeadlineError.")]
    cancellation: Annotated[
        Cancellation | None, Option(None, "ends the call from another thread, with a CancelledError.")
    ]
    show_progress_bar: Annotated[
        bool | None, Option(None, "True, False, or None for a bar on a terminal when the work takes long.")
    ]


class PairOptions(RunOptions, total=False):
    """Options of methods that score each pair by itself, except `batch_size`, which `predict` also takes by position."""

    raw_scores: Annotated[
        bool, Option(False, "give logits, not what the model's activation makes of them (sigmoid for rerankers).")
    ]
    max_length: Annotated[
        int | None, Option(None, "tokens of a pair, special ones included, to cut to; default `max_seq_length`.")
    ]
    truncation: Annotated[
        str,
        Option(
            "warn",
            'what to do with a pair of more tokens than `max_length`: "warn" takes tokens off the end of the longer '
            'text until it fits and gives a TruncationWarning, "head" does so without one, "error" refuses it.',
        ),
    ]


class PredictOptions(PairOptions, total=False):
    """All options of `predict`."""

    batch_size: Annotated[
        int,
        Option(BATCH_SIZE, "maximum number of pairs per batch; fewer if they are long (512 tokens in all on a CPU)."),
    ]


class RankOptions(RunOptions, total=False):
    """Options of `rank` beside what it reads of the documents."""

    batch_size: Annotated[int, Option(BATCH_SIZE, "maximum number of windows of documents per batch.")]


@dataclass(frozen=True)
class PairSettings:
    """How pairs become scores. Make them with `resolve_pair_settings`."""

    max_length: int
    batch_size: int
    truncation: str
    raw_scores: bool


def resolve_pair_settings(model: LoadedModel, options: PredictOptions, max_length: int) -> PairSettings:
    """Check options against `model`; `max_length` stands for one that is not given.

    Raises:
        InputTypeError: an option is of the wrong type.
        InputError: an option is out of range.
    """
    given = cast(PredictOptions, {**defaults_of(PredictOptions), **options})
    truncation, length = given["truncation"], given["max_length"]
    if truncation not in TRUNCATIONS:
        raise InputError(
            f"truncation {truncation!r} is unknown; use one of {', '.join(TRUNCATIONS)}", argument="truncation"
        )
    return PairSettings(
        require_pair_length(model, "max_length", max_length if length is None else length),
        require_range("batch_size", given["batch_size"], 1, None),
        truncation,
        given["raw_scores"],
    )


def require_pair_length(model: LoadedModel, argument: str, value: int) -> int:
    """Return `value` if pairs can be cut to so many tokens.

    Raises:
        InputTypeError: it is no integer.
        InputError: it is out of range.
    """
    special_tokens = require_pair_frame(model.tokenizer).special_tokens
    return require_range(argument, value, special_tokens + 1, model.bundle.manifest.model.max_tokens)
