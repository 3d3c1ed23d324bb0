"""What a call asks for, checked once against the model and before anything is tokenized.

Time limits, progress and numbers in messages are no settings: they are passed beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

from jinabert_onnx.errors import InputError
from jinabert_onnx.text.inputs import choose_prompt, require_range
from jinabert_onnx.text.pair_tokenizer import special_tokens_of

from .loaded_model import LoadedModel
from .options import EncodeOptions, require_no_effect, with_defaults
from .vector_types import require_convertible, stored_width

TRUNCATIONS = ("warn", "error", "head", "tail", "mean")


@dataclass(frozen=True)
class Settings:
    """How texts become vectors. Make them with `resolve_settings`.

    Attributes:
        max_length: tokens of a text, special ones included; `truncation` says what becomes of more.
        dimensions: channels to keep.
        batch_size: maximum number of texts per batch.
        prefix: what stands before each text.
        truncation: one of `TRUNCATIONS`.
        normalize: whether vectors are scaled to length 1, after channels were left out.
        output_dtype: the type of vectors, which comes last.
    """

    max_length: int
    dimensions: int
    batch_size: int
    prefix: str
    truncation: str
    normalize: bool
    output_dtype: str

    @property
    def width(self) -> int:
        """Return how many numbers a vector is stored as."""
        return stored_width(self.dimensions, self.output_dtype)


def resolve_settings(model: LoadedModel, options: EncodeOptions, max_length: int, of_tokens: bool = False) -> Settings:
    """Check options against `model`; `max_length` stands for one that is not given.

    `of_tokens` is for rows of tokens, which no dense layer has made wider or narrower.

    Raises:
        InputTypeError: an option is of the wrong type.
        InputError: an option is out of range, or no more than the bundle's prompts are known.
    """
    given = with_defaults(options)
    require_no_effect(given, model.session.provider)
    manifest = model.bundle.manifest
    width, asked = manifest.model.hidden_size if of_tokens else manifest.dimensions, given["truncate_dim"]
    dimensions = width if asked is None else require_range("truncate_dim", asked, 1, width)
    require_convertible(given["output_dtype"], dimensions)
    truncation, length = given["truncation"], given["max_length"]
    if truncation not in TRUNCATIONS:
        raise InputError(
            f"truncation {truncation!r} is unknown; use one of {', '.join(TRUNCATIONS)}", argument="truncation"
        )
    return Settings(
        max_length=max_length if length is None else require_length(model, "max_length", length),
        dimensions=dimensions,
        batch_size=require_range("batch_size", given["batch_size"], 1, None),
        prefix=choose_prompt(manifest.prompts, manifest.default_prompt, given["prompt_name"], given["prompt"]),
        truncation=truncation,
        normalize=given["normalize_embeddings"],
        output_dtype=given["output_dtype"],
    )


def require_length(model: LoadedModel, argument: str, value: int) -> int:
    """Return `value` if texts, or pairs, can be cut to so many tokens; special tokens alone would say nothing.

    Raises:
        InputTypeError: it is no integer.
        InputError: it is out of range.
    """
    manifest = model.bundle.manifest
    special_tokens = special_tokens_of(model.tokenizer, manifest.classifier is not None)
    return require_range(argument, value, special_tokens + 1, manifest.model.max_tokens)


def require_rows_of_tokens(settings: Settings) -> None:
    """Return if one row per token can be had.

    Raises:
        InputError: windows would be averaged, or the type is one of vectors of texts.
    """
    if settings.truncation == "mean":
        raise InputError(
            "truncation 'mean' averages windows, and token embeddings are not averaged; use another",
            argument="truncation",
        )
    if settings.output_dtype not in ("float32", "float16"):
        raise InputError(
            f"output_dtype {settings.output_dtype} is for vectors of texts; tokens are float32 or float16",
            argument="output_dtype",
        )
