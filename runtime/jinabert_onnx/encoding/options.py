"""The options of `encode` and its siblings, each declared once: its type, its default and what it means.

Knows nothing of models. Without `from __future__ import annotations`, for the declarations are read at run time.
"""

import inspect
import textwrap
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, NamedTuple, TypedDict, TypeVar, cast

from jinabert_onnx.engine.cancellation import Cancellation
from jinabert_onnx.errors import InputError, InputTypeError

BATCH_SIZE = 32  # texts, unless told otherwise

_WIDTH = 120  # characters of a line of a docstring

_Function = TypeVar("_Function", bound=Callable[..., object])


class Option(NamedTuple):
    """What is said of an option beside its type."""

    default: object
    meaning: str


class VectorOptions(TypedDict, total=False):
    """Options of every method that returns vectors."""

    normalize_embeddings: Annotated[
        bool, Option(False, "scale each vector to length 1 (default: no, as in the model's own `encode`).")
    ]
    truncate_dim: Annotated[int | None, Option(None, "keep the first channels only, before normalising.")]
    output_dtype: Annotated[
        str,
        Option(
            "float32",
            '"float32", "float16", "int8", "uint8" (of ranges that the bundle holds), "binary" or "ubinary" (a bit per '
            "channel); see `similarity`. Token embeddings are float32 or float16.",
        ),
    ]
    prompt_name: Annotated[
        str | None, Option(None, "name of one of the bundle's prompts to put before each text, or before each window.")
    ]
    prompt: Annotated[str | None, Option(None, "text to put there; give only one of the two.")]
    timeout: Annotated[float | None, Option(None, "seconds after which the call ends with a DeadlineError.")]
    cancellation: Annotated[
        Cancellation | None, Option(None, "ends the call from another thread, with a CancelledError.")
    ]


class TextOptions(VectorOptions, total=False):
    """Options of methods that read each text by itself, except `batch_size`, which `encode` also takes by position."""

    show_progress_bar: Annotated[
        bool | None, Option(None, "True, False, or None for a bar on a terminal when the work takes long.")
    ]
    max_length: Annotated[
        int | None, Option(None, "tokens, special ones included, to cut each text to; default `max_seq_length`.")
    ]
    truncation: Annotated[
        str,
        Option(
            "warn",
            'what to do with a text of more tokens than `max_length`: "warn" reads its beginning and gives a '
            'TruncationWarning, "head" reads it without one, "tail" reads the end, "mean" reads all of it, in windows '
            'whose vectors are averaged by their tokens, "error" refuses it.',
        ),
    ]
    convert_to_numpy: Annotated[
        bool, Option(True, "as in sentence-transformers; only True, because vectors are numpy arrays.")
    ]
    convert_to_tensor: Annotated[bool, Option(False, "likewise; only False.")]
    device: Annotated[
        object, Option(None, "likewise; only where the model runs: its name, an object that prints as it, or None.")
    ]


class EncodeOptions(TextOptions, total=False):
    """All options of `encode`."""

    batch_size: Annotated[
        int,
        Option(BATCH_SIZE, "maximum number of texts per batch; fewer if they are long (512 tokens in all on a CPU)."),
    ]


def with_defaults(options: EncodeOptions) -> EncodeOptions:
    """Return every option, with its default where it was not given."""
    return cast(EncodeOptions, {**defaults_of(EncodeOptions), **options})


def defaults_of(declaration: type) -> dict[str, Any]:
    """Return the default of each option that is declared there, by name."""
    return {name: option.default for name, (_, option) in _declared(declaration).items()}


def require_known(method: str, options: Mapping[str, object], declaration: type = EncodeOptions) -> None:
    """Return if every option is declared.

    Raises:
        InputTypeError: one is not, as Python would say of `method`.
    """
    for name in options:
        if name not in declaration.__annotations__:
            raise InputTypeError(f"{method}() got an unexpected keyword argument {name!r}", argument=name)


def require_no_effect(options: EncodeOptions, provider: str) -> None:
    """Return if what sentence-transformers' users write asks for what happens anyway: numpy arrays from `provider`.

    Raises:
        InputError: it asks for anything else; says what to write instead.
    """
    if options["convert_to_tensor"]:
        raise InputError(
            "convert_to_tensor=True would need torch, and vectors are numpy arrays here; leave it out, and write "
            "torch.from_numpy(vectors)",
            argument="convert_to_tensor",
        )
    if not options["convert_to_numpy"]:
        raise InputError(
            "convert_to_numpy=False would need torch, and vectors are numpy arrays here; leave it out, and write "
            "list(torch.from_numpy(vectors))",
            argument="convert_to_numpy",
        )
    device = options["device"]
    if device is not None and str(device) not in (provider, f"{provider}:0"):
        raise InputError(
            f"device {str(device)!r} is not where this model runs ({provider}); leave it out, and choose when loading: "
            "Embedder.load(path, provider='cpu') or provider='cuda'",
            argument="device",
        )


def expand_options(declaration: type, **defaults: object) -> Callable[[_Function], _Function]:
    """Complete what `help` and `inspect.signature` tell of a function that takes `**options: Unpack[declaration]`.

    The options become keyword-only parameters of its signature, and what they mean takes the place of the line
    `options: ...` of its docstring. `defaults` are those that differ in this function.
    """

    def decorate(function: _Function) -> _Function:
        signature = inspect.signature(function)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        taken = {each.name for each in own}
        added = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(name, option.default),
                annotation=annotation,
            )
            for name, (annotation, option) in _declared(declaration).items()
            if name not in taken
        ]
        function.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        if function.__doc__ is not None:  # python -OO leaves none
            lines = inspect.cleandoc(function.__doc__).split("\n")
            place = next(index for index, line in enumerate(lines) if line.startswith("    options: "))
            told = [_told(name, option.meaning) for name, (_, option) in _declared(declaration).items()]
            function.__doc__ = "\n".join([*lines[:place], *told, *lines[place + 1 :]])
        return function

    return decorate


@cache
def _declared(declaration: type) -> dict[str, tuple[Any, Option]]:
    """Return the type of each option, and what is said beside it."""
    return {
        name: (annotation.__origin__, annotation.__metadata__[0])
        for name, annotation in declaration.__annotations__.items()
    }


@cache
def _told(name: str, meaning: str) -> str:
    return textwrap.fill(f"{name}: {meaning}", _WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8)


DEFAULTS = with_defaults({})
