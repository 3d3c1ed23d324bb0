"""The options of `CrossEncoder.predict` and its siblings, each declared once, and what a call makes of them.

Without `from __future__ import annotations`, for the declarations are read at run time.
"""

from dataclasses import dataclass
from typing import Annotated, TypedDict, cast

from jinabert_onnx.encoding.loaded_model import LoadedModel
from jinabert_onnx.encoding.options import BATCH_SIZE, Option, defaults_of
from jinabert_onnx.encoding.settings import require_length
from jinabert_onnx.engine.cancellation import Cancellation
from jinabert_onnx.errors import InputError
from jinabert_onnx.text.inputs import require_range

TRUNCATIONS = ("warn", "head", "error")

# Of `rank`, in tokens: those of the `rerank` that comes with jina-reranker-v2.
MAX_LENGTH, MAX_QUERY_LENGTH, OVERLAP_TOKENS = 1024, 512, 80


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
    """Options of methods that score each pair by itself; `batch_size` is apart, for `predict` takes it by position."""

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
        max_length if length is None else require_length(model, "max_length", length),
        require_range("batch_size", given["batch_size"], 1, None),
        truncation,
        given["raw_scores"],
    )
