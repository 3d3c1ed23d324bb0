"""`jinabert-onnx serve`: a server of embeddings and reranking for clients of OpenAI's, Jina's and Cohere's APIs."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from jinabert_onnx.bundle.locate import open_source
from jinabert_onnx.encoding.load_options import LoadOptions
from jinabert_onnx.engine.memory_model import in_megabytes, parse_memory
from jinabert_onnx.errors import InputError, MemoryLimitError, needed
from jinabert_onnx.model import Model
from jinabert_onnx.model_class import class_of
from jinabert_onnx.text.pair_tokenizer import special_tokens_of

from .command import Command, add_models_argument, add_runtime_options, load_options

if TYPE_CHECKING:
    from jinabert_onnx.http.served import Served
    from jinabert_onnx.server.options import Options

_MODEL_VARIABLE = "JINABERT_ONNX_MODEL"
_PRECISION_VARIABLE = "JINABERT_ONNX_PRECISION"
_SHORTEST, _LONGEST = 0.1, 86_400.0  # seconds
_SHORTEST_DRAIN = 1.0  # seconds, of which uvicorn counts whole ones
_SMALLEST_BODY = len('{"input":"a"}')


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_models_argument(parser, _MODEL_VARIABLE)
    parser.add_argument(
        "--host",
        default=os.environ.get("HOST", "127.0.0.1"),
        help="address to listen on (default: $HOST, or 127.0.0.1)",
    )
    parser.add_argument(
        "--port", default=os.environ.get("PORT", "8080"), help="port to listen on, 0 for any (default: $PORT, or 8080)"
    )
    parser.add_argument(
        "--model-name",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that clients use for the model; with one model repeatable, with several once for each, in order "
        "(default: the names of a model's checkpoint and of its bundle)",
    )
    parser.add_argument(
        "--max-length", type=int, metavar="N", help="maximum number of tokens per text or pair (default: the bundle's)"
    )
    parser.add_argument(
        "--api-key-file",
        metavar="FILE",
        help="API keys, one per line; clients must send one (default: $JINABERT_ONNX_API_KEYS, separated by commas)",
    )
    _add_limits(parser)
    parser.add_argument(
        "--accept-token-ids", action="store_true", help="also accept token ids of a model's own tokenizer"
    )
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="format of the log on stderr (default: %(default)s)",
    )
    add_runtime_options(
        parser,
        precision=os.environ.get(_PRECISION_VARIABLE, LoadOptions.precision),
        memory_help="memory limit of the process: models, server and open requests, such as 1400MB (default: none)",
    )
    parser.set_defaults(usage_error=parser.error)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        metavar="S",
        help="time limit of a request in seconds (default: %(default)s)",
    )
    parser.add_argument(
        "--body-timeout",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds within which the body must arrive, and each part of an answer be read (default: %(default)s)",
    )
    parser.add_argument(
        "--max-body", default="8MB", metavar="SIZE", help="maximum size of a request's body (default: %(default)s)"
    )
    parser.add_argument(
        "--max-inputs",
        type=int,
        default=2048,
        metavar="N",
        help="maximum number of texts or documents per request (default: %(default)s)",
    )
    parser.add_argument(
        "--max-queue-tokens",
        type=int,
        default=65_536,
        metavar="N",
        help="maximum number of tokens in a model's queue, and in one request (default: %(default)s)",
    )
    parser.add_argument(
        "--drain",
        type=float,
        default=25.0,
        metavar="S",
        help="seconds to finish requests after SIGTERM (default: %(default)s)",
    )


def _run(arguments: argparse.Namespace) -> int:
    with needed("the server needs more packages", "cpu,server", "install them"):
        from jinabert_onnx.http.served import require_use, without_shared_names
        from jinabert_onnx.server.serving import serve
    if not arguments.models:
        raise InputError(f"no model; give the directory or the hub id of a bundle, or set {_MODEL_VARIABLE}")
    options, port = _options(arguments), _port(arguments)
    stopped: list[int] = []
    # A signal while the model loads takes effect once it has loaded: libraries do not like to be interrupted.
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    with ExitStack() as stack:
        names = _names(arguments)
        loaded = zip(_load_all(arguments, stack), arguments.models, names, strict=True)
        models = without_shared_names([_served(arguments, *each) for each in loaded])
        require_use(models)
        serve(models, options, arguments.host, port, stopped)
    return 0


def _load_all(arguments: argparse.Namespace, stack: ExitStack) -> Iterator[Model]:
    """Load the models one after the other, each into the memory that those before it leave."""
    options = load_options(arguments)
    limit = None if options.max_memory is None else parse_memory(options.max_memory)
    taken = 0
    for source in arguments.models:
        bundle = open_source(source, options.revision, options.local_files_only)
        try:
            left = None if limit is None else max(1, limit - taken)
            model = stack.enter_context(class_of(bundle).load(source, **vars(replace(options, max_memory=left))))
        except MemoryLimitError as error:
            if not taken:
                raise
            before = f"the models before it take {in_megabytes(taken)} of the {in_megabytes(taken + (left or 0))}"
            raise MemoryLimitError(f"{source}: {error}; {before}") from error
        if model.loaded.memory is not None:
            taken += model.loaded.memory.model.beyond_process()
        _set_max_length(model, arguments)
        yield model


def _names(arguments: argparse.Namespace) -> list[list[str]]:
    """Return the names that each model was given: of one all, of several one or none."""
    if len(arguments.models) == 1:
        return [arguments.model_name]
    return [[name] for name in arguments.model_name] or [[] for _ in arguments.models]


def _served(arguments: argparse.Namespace, model: Model, source: str, names: Sequence[str]) -> Served:
    """Describe one of the models as the arguments have it for clients."""
    from jinabert_onnx.http.served import serve_as

    return serve_as(
        model,
        source,
        names,
        max_inputs=arguments.max_inputs,
        max_tokens=arguments.max_queue_tokens,
        accept_token_ids=arguments.accept_token_ids,
    )


def _options(arguments: argparse.Namespace) -> Options:
    """Read what the server is to do; what could never answer a request is wrong usage."""
    from jinabert_onnx.server.options import Options, held_memory, read_keys

    _require_usable(arguments)
    max_body = _max_body(arguments)
    return Options(
        timeout=_seconds(arguments, "timeout"),
        body_timeout=_seconds(arguments, "body_timeout"),
        max_body=max_body,
        held=held_memory(max_body),
        max_queue_tokens=arguments.max_queue_tokens,
        drain=_seconds(arguments, "drain", _SHORTEST_DRAIN),
        keys=read_keys(arguments.api_key_file),
        json_log=arguments.log_format == "json",
    )


def _require_usable(arguments: argparse.Namespace) -> None:
    fail: Callable[[str], None] = arguments.usage_error
    if not arguments.host:
        fail("--host is empty; give an address to listen on, such as 127.0.0.1")
    for name in arguments.model_name:
        if not (name.strip() and name.isprintable()):
            fail(f"--model-name is {name!r}; give a name of printable characters, or leave the option out")
    models, names = len(arguments.models), len(arguments.model_name)
    if models > 1 and names not in (0, models):
        fail(f"--model-name was given {names} times for {models} models; give it once for each, in their order")
    if models > 1 and arguments.revision is not None:
        fail("--revision is that of one model; serve several from directories, or as they are on the hub now")
    if arguments.max_inputs < 1:
        fail(f"--max-inputs is {arguments.max_inputs}; it must be at least 1")


def _max_body(arguments: argparse.Namespace) -> int:
    size = parse_memory(arguments.max_body, "--max-body")
    if size < _SMALLEST_BODY:
        arguments.usage_error(
            f"--max-body is {size} bytes; a request of one letter has {_SMALLEST_BODY}, so it must be at least that"
        )
    return size


def _seconds(arguments: argparse.Namespace, name: str, shortest: float = _SHORTEST) -> float:
    value: float = getattr(arguments, name)
    if not shortest <= value <= _LONGEST:
        option = name.replace("_", "-")
        arguments.usage_error(f"--{option} is {value:g}; it must be from {shortest:g} to {_LONGEST:g} seconds")
    return value


def _port(arguments: argparse.Namespace) -> int:
    text: str = arguments.port
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and int(text) < 65_536):
        arguments.usage_error(f"--port is {text[:80]!r}; it must be a number from 0 to 65535")
    return int(text)


def _set_max_length(model: Model, arguments: argparse.Namespace) -> None:
    """Set the most tokens of a text or pair, which a request must be able to have."""
    manifest = model.bundle.manifest
    lowest = special_tokens_of(model.loaded.tokenizer, pairs=manifest.classifier is not None) + 1
    highest = manifest.model.max_tokens
    length = model.max_seq_length if arguments.max_length is None else arguments.max_length
    of_model = "" if len(arguments.models) == 1 else f"{model.bundle.path}: "
    if not lowest <= length <= highest:
        arguments.usage_error(
            f"{of_model}--max-length is {length}; it must be from {lowest}, of which {lowest - 1} are special tokens, "
            f"to {highest}"
        )
    if arguments.max_queue_tokens < length:
        arguments.usage_error(
            f"{of_model}--max-queue-tokens is {arguments.max_queue_tokens}; a text may have {length} tokens, so it "
            f"must be at least {length}, or --max-length smaller"
        )
    model.max_seq_length = length


COMMAND = Command(
    "serve embeddings and reranking over HTTP to clients of OpenAI's, Jina's and Cohere's APIs", _add_arguments, _run
)
