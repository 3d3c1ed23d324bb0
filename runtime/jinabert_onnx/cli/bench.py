"""`jinabert-onnx bench`: how fast a bundle is here, its cold start and memory; and two such runs compared."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

from jinabert_onnx.bundle.manifest import PRECISIONS
from jinabert_onnx.engine.providers import PROVIDERS
from jinabert_onnx.engine.threads import count_threads
from jinabert_onnx.errors import InputError, printable
from jinabert_onnx.files.atomic import atomic_directory

from .command import Command, add_model_argument

_Value = TypeVar("_Value", int, str)

_ACTIONS = ("run", "compare")


def with_action(words: Sequence[str]) -> list[str]:
    """Return the words of a command line, `bench MODEL` spelled out as `bench run MODEL`."""
    if words[:1] != ["bench"] or (len(words) > 1 and words[1] in (*_ACTIONS, "-h", "--help")):
        return list(words)
    return ["bench", "run", *words[1:]]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "`bench MODEL` is `bench run MODEL`; a model in a directory of an action's name is ./run or ./compare."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    about = "measure latency, throughput, cold start and memory of a bundle"
    _add_run(actions.add_parser("run", help=about, description=f"{about}."))
    about = "show what changed between two runs"
    _add_compare(actions.add_parser("compare", help=about, description=f"{about}."))


def _add_compare(parser: argparse.ArgumentParser) -> None:
    for name, when in (("before", "earlier"), ("after", "later")):
        parser.add_argument(name, type=Path, help=f"the {when} run: its bench.json, or the directory that holds it")
    parser.add_argument(
        "--max-slowdown",
        type=float,
        metavar="PERCENT",
        help="exit code 1 if anything is certainly slower by more than this",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=PRECISIONS,
        default=[],
        help="default: those of the bundle that are made for the provider",
    )
    parser.add_argument(
        "--threads", nargs="+", default=[], metavar="N", help="numbers of CPU threads, or auto (default: auto)"
    )
    parser.add_argument("--provider", choices=PROVIDERS, default="auto", help="where to run (default: auto)")
    parser.add_argument(
        "--batch-size", nargs="+", type=int, default=[], metavar="N", help="texts or pairs per call (default: 1 8 32)"
    )
    parser.add_argument(
        "--length",
        nargs="+",
        type=int,
        default=[],
        metavar="N",
        help=(
            "tokens of each text, or of both of a pair, special ones included (default: 16 128 512 2048 8192; for "
            "rerankers and classifiers 64 128 256 512 1024 8192)"
        ),
    )
    parser.add_argument("--quick", action="store_true", help="less of everything: under a minute at base size")
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="time for the timing itself (default: 600, with --quick 18)"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of all cells (default: 10, with --quick 5)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write bench.json into a new directory")


def _run(arguments: argparse.Namespace) -> int:
    return _compare(arguments) if arguments.action == "compare" else _measure(arguments)


def _measure(arguments: argparse.Namespace) -> int:
    from jinabert_onnx.bench import Wanted, run_bench, summary, table

    wanted = Wanted(
        precisions=_unique(arguments.precision),
        provider=arguments.provider,
        threads=tuple(dict.fromkeys(_threads(text) for text in arguments.threads)),
        batch_sizes=_unique(arguments.batch_size),
        lengths=_unique(arguments.length),
        quick=arguments.quick,
        seconds=arguments.seconds,
        rounds=arguments.rounds,
    )
    with nullcontext() if arguments.output is None else atomic_directory(arguments.output) as directory:
        record = run_bench(
            arguments.model,
            wanted,
            revision=arguments.revision,
            local_files_only=arguments.local_files_only,
            note=_note,
        )
        _print(table.lines_of(record))  # what took minutes is told, whatever becomes of the file
        if directory is not None:
            (directory / "bench.json").write_text(record.to_json(summary.rows(record)), encoding="utf-8")
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from jinabert_onnx.bench import compare, read_record, verdicts

    if arguments.max_slowdown is not None and not 0 <= arguments.max_slowdown <= 1e6:
        raise InputError(f"max_slowdown is {arguments.max_slowdown:g}; it must be 0 percent or more")
    found = compare(read_record(arguments.before), read_record(arguments.after))
    _print(verdicts.lines_of(found))
    if arguments.max_slowdown is None:
        return 0
    slower = found.slower_than(arguments.max_slowdown / 100)
    for item in slower:
        _note(f"{item.name}: certainly more than {arguments.max_slowdown:g} % slower")
    return 1 if slower else 0


def _threads(text: str) -> int:
    if text == "auto":
        return count_threads("auto")[0]
    if not text.isdecimal():
        raise InputError(f"threads {text!r} is neither a number nor 'auto'")
    return count_threads(int(text))[0]


def _unique(values: Sequence[_Value]) -> tuple[_Value, ...]:
    return tuple(dict.fromkeys(values))


def _print(lines: Iterable[str]) -> None:
    print("\n".join(printable(line) for line in lines))


def _note(text: str) -> None:
    print(f"jinabert-onnx: {printable(text)}", file=sys.stderr)


COMMAND = Command(
    "measure latency, throughput, cold start and memory of a bundle; compare two runs", _add_arguments, _run
)
