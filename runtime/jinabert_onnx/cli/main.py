"""Parse the command line, run one command, and turn errors into one line and an exit code.

0 success, 1 a failure that is told in one line, 2 wrong usage, 128 and the signal's number where one ended it: 130
after Ctrl-C, 143 after SIGTERM.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path

from jinabert_onnx.errors import JinaBertError
from jinabert_onnx.version import __version__

from . import archive, bench, embed, info, lambda_zip, rerank, serve, verify
from .command import Command, exporter_entry_points, load_exporter

_OWN = {
    "embed": embed.COMMAND,
    "rerank": rerank.COMMAND,
    "info": info.COMMAND,
    "verify": verify.COMMAND,
    "pack": archive.PACK,
    "unpack": archive.UNPACK,
    "lambda-zip": lambda_zip.COMMAND,
    "serve": serve.COMMAND,
    "bench": bench.COMMAND,
}
_ORDER = (
    "export",
    "embed",
    "rerank",
    "serve",
    "info",
    "verify",
    "pack",
    "unpack",
    "lambda-zip",
    "bench",
    "eval",
    "demo",
)
_EXAMPLES = """\
examples:
  jinabert-onnx export jinaai/jina-embeddings-v2-base-de bundle --precision fp32 int8
  jinabert-onnx embed bundle "How is the weather today?" "Wie ist das Wetter heute?"
  jinabert-onnx embed bundle --input texts.txt --output vectors.npy --precision int8
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's) and return the exit code."""
    _prepare_process()
    try:
        commands = _commands()
        arguments = _parse(_parser(commands), argv)
        if sys.stdout is None:
            return _fail("stdout is closed, and results go there")
        return commands[arguments.command].run(arguments)
    except JinaBertError as error:
        return _fail(str(error))
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; python would complain once more at exit
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}")
    except MemoryError:
        return _fail("out of memory; use a smaller --batch-size or --max-length")
    except KeyboardInterrupt as error:
        print("jinabert-onnx: interrupted", file=sys.stderr)
        return 128 + (error.number if isinstance(error, _Ended) else signal.SIGINT)


def _prepare_process() -> None:
    """Closed streams become empty ones, signals that end the process let it clean up, warnings are one line."""
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115 - for as long as the process lives
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold what the terminal's encoding does not
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                signal.signal(number, _interrupt)
    warnings.showwarning = _show_warning
    logger = logging.getLogger("jinabert_onnx")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("jinabert-onnx: warning: %(message)s"))
        logger.addHandler(handler)


def _parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Arguments in any order: argparse takes no TEXT after an option that follows MODEL."""
    arguments, rest = parser.parse_known_args(bench.with_action(sys.argv[1:] if argv is None else argv))
    texts = getattr(arguments, "texts", None)
    if rest and (not isinstance(texts, list) or any(text.startswith("-") for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if isinstance(texts, list):
        texts += rest
    return arguments


def _commands() -> dict[str, Command]:
    """Return all commands by name; if the exporter's dependencies are missing, its commands say so when they run."""
    commands = dict(_OWN)
    for name in exporter_entry_points():
        if name in _ORDER:
            command = load_exporter(name)
            assert isinstance(command, Command)
            commands[name] = command
    return {name: commands[name] for name in _ORDER if name in commands}


def _parser(commands: dict[str, Command]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="jinabert-onnx",
        description="Export JinaBERT embedding models and rerankers to ONNX and run them without PyTorch.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"jinabert-onnx {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in commands.items():
        subparser = subparsers.add_parser(name, help=command.help, description=f"{command.help}.")
        command.add_arguments(subparser)
    return parser


def _fail(message: str) -> int:
    print(f"jinabert-onnx: error: {' '.join(message.split())}", file=sys.stderr)
    return 1


class _Ended(KeyboardInterrupt):
    """Raised by SIGTERM and SIGHUP: they end the process as Ctrl-C does, with an exit code of their own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _interrupt(number: int, frame: object) -> None:
    raise _Ended(number)


def _show_warning(message: Warning | str, *details: object, **more: object) -> None:
    print(f"jinabert-onnx: warning: {message}", file=sys.stderr)
