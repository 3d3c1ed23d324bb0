"""`jinabert-onnx serve`: an embeddings server that OpenAI's and Jina's clients speak to."""

from __future__ import annotations

import argparse
import os
import signal

from jinabert_onnx.engine.memory_model import parse_memory
from jinabert_onnx.errors import InputError, MissingDependencyError
from jinabert_onnx.text.inputs import require_range

from .command import Command, add_model_argument, add_runtime_options, load_embedder

_MODEL_VARIABLE = "JINABERT_ONNX_MODEL"
_PRECISION_VARIABLE = "JINABERT_ONNX_PRECISION"
_LONGEST = 86_400.0  # seconds


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser, variable=_MODEL_VARIABLE)
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
        help="a name that clients use for the model; repeatable (default: the names of its checkpoint and its bundle)",
    )
    parser.add_argument(
        "--max-length", type=int, metavar="N", help="maximum number of tokens per text (default: the model's limit)"
    )
    parser.add_argument(
        "--api-key-file",
        metavar="FILE",
        help="API keys, one per line; clients must send one (default: $JINABERT_ONNX_API_KEYS, separated by commas)",
    )
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
        help="seconds within which the headers, and then the body, must arrive (default: %(default)s)",
    )
    parser.add_argument(
        "--max-body", default="8MB", metavar="SIZE", help="maximum size of a request's body (default: %(default)s)"
    )
    parser.add_argument(
        "--max-inputs",
        type=int,
        default=2048,
        metavar="N",
        help="maximum number of texts per request (default: %(default)s)",
    )
    parser.add_argument(
        "--max-queue-tokens",
        type=int,
        default=65_536,
        metavar="N",
        help="maximum number of tokens in the queue, and in one request (default: %(default)s)",
    )
    parser.add_argument(
        "--drain",
        type=float,
        default=25.0,
        metavar="S",
        help="seconds to finish requests after SIGTERM (default: %(default)s)",
    )
    parser.add_argument(
        "--accept-token-ids", action="store_true", help="also accept token ids of this model's tokenizer"
    )
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="format of the log on stderr (default: %(default)s)",
    )
    add_runtime_options(parser, precision=os.environ.get(_PRECISION_VARIABLE, "fp32"))


def _run(arguments: argparse.Namespace) -> int:
    try:
        from jinabert_onnx.server.options import Options, read_keys
        from jinabert_onnx.server.serving import serve
    except ImportError as error:
        raise MissingDependencyError(
            f"the server needs more packages ({error}); install them: pip install 'jinabert-onnx[cpu,server]'"
        ) from error
    if arguments.model is None:
        raise InputError(f"no model; give the directory or the hub id of a bundle, or set {_MODEL_VARIABLE}")
    options = Options(
        timeout=_seconds("timeout", arguments.timeout),
        body_timeout=_seconds("body_timeout", arguments.body_timeout),
        max_body=parse_memory(arguments.max_body),
        max_inputs=require_range("max_inputs", arguments.max_inputs, 1, None),
        max_queue_tokens=require_range("max_queue_tokens", arguments.max_queue_tokens, 1, None),
        drain=_seconds("drain", arguments.drain),
        keys=read_keys(arguments.api_key_file),
        names=tuple(arguments.model_name),
        accept_token_ids=arguments.accept_token_ids,
        json_log=arguments.log_format == "json",
    )
    port = require_range("port", _whole_number(arguments.port), 0, 65_535)
    stopped: list[int] = []
    # An end while it loads is in order too, once it has loaded: libraries do not like to be interrupted.
    signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
    with load_embedder(arguments) as embedder:
        if arguments.max_length is not None:
            embedder.max_seq_length = arguments.max_length
        serve(embedder, arguments.model, options, arguments.host, port, stopped)
    return 0


def _seconds(name: str, value: float) -> float:
    if not 0 < value <= _LONGEST:
        raise InputError(f"{name} is {value:g}; it must be above 0 and at most {_LONGEST:g} seconds")
    return value


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise InputError(f"port {text!r} is not a number")
    return int(text)


COMMAND = Command("serve embeddings over HTTP to clients of OpenAI's and Jina's APIs", _add_arguments, _run)
