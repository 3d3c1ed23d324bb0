"""`jinabert-onnx bench`: how fast a bundle is here, its cold start and memory; and two such runs compared."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from jinabert_onnx.bundle.manifest import PRECISIONS
from jinabert_onnx.engine.providers import PROVIDERS
from jinabert_onnx.engine.threads import count_threads
from jinabert_onnx.errors import InputError, printable

from .command import Command, add_model_argument

_Value = TypeVar("_Value", int, str)

_COMPARE = "compare"
_MEASURING = (  # options that a comparison has no use for
    *("revision", "local_files_only", "precision", "threads", "provider", "batch_size", "length", "workload"),
    *("quick", "seconds", "rounds", "output", "no_plots"),
)
_USAGE = """\
jinabert-onnx bench MODEL [--quick] [--precision P ...] [--threads N ...] [--provider P ...]
                           [--batch-size N ...] [--length N ...] [--workload W ...]
                           [--seconds S] [--rounds N] [--output DIR] [--no-plots]
       jinabert-onnx bench compare A.json B.json [--max-slowdown PERCENT]"""
_WORKLOADS = ("queries", "passages", "documents")


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = _USAGE
    add_model_argument(parser)
    parser.add_argument(
        "files",
        metavar="A.json B.json",
        nargs="*",
        help="after the word `compare`: results of two runs, earlier and later (a model of that name is ./compare)",
    )
    _add_axes(parser)
    parser.add_argument("--quick", action="store_true", help="less of everything: under a minute at base size")
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="time for the timing itself (default: 600, with --quick 18)"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of all cells (default: 10, with --quick 5)")
    parser.add_argument(
        "--output", metavar="DIR", help="write bench.json, bench.csv, bench.png and bench.svg into a new directory"
    )
    parser.add_argument("--no-plots", action="store_true", help="no pictures, for which matplotlib is needed")
    parser.add_argument(
        "--max-slowdown",
        type=float,
        metavar="PERCENT",
        help="with compare: exit code 1 if anything is surely slower by more than this",
    )
    parser.set_defaults(usage_error=parser.error)


def _add_axes(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument("--provider", nargs="+", choices=PROVIDERS, default=[], help="where to run (default: auto)")
    parser.add_argument(
        "--batch-size", nargs="+", type=int, default=[], metavar="N", help="texts a call (default: 1 8 32)"
    )
    parser.add_argument(
        "--length",
        nargs="+",
        type=int,
        default=[],
        metavar="N",
        help="tokens of each text, special ones included (default: 16 128 512 2048 8192)",
    )
    parser.add_argument(
        "--workload",
        nargs="+",
        choices=_WORKLOADS,
        default=[],
        help="texts of mixed lengths (default: all, unless --length is given)",
    )


def _run(arguments: argparse.Namespace) -> int:
    if arguments.model == _COMPARE:
        return _compare(arguments)
    if arguments.files:
        arguments.usage_error(f"unrecognized arguments: {' '.join(arguments.files)}")
    if arguments.max_slowdown is not None:
        arguments.usage_error("--max-slowdown is for `bench compare`")
    return _measure(arguments)


def _measure(arguments: argparse.Namespace) -> int:
    from jinabert_onnx.bench import Wanted, output, plots, run_bench, table

    directory = None if arguments.output is None else Path(arguments.output)
    if directory is not None:  # what would fail after minutes of work fails now
        output.require_free(directory)
        if not arguments.no_plots:
            plots.require_matplotlib()
    wanted = Wanted(
        precisions=_unique(arguments.precision),
        providers=_unique(arguments.provider),
        threads=tuple(dict.fromkeys(_threads(text) for text in arguments.threads)),
        batch_sizes=_unique(arguments.batch_size),
        lengths=_unique(arguments.length),
        workloads=_unique(arguments.workload),
        quick=arguments.quick,
        seconds=arguments.seconds,
        rounds=arguments.rounds,
    )
    record = run_bench(
        arguments.model,
        wanted,
        revision=arguments.revision,
        local_files_only=arguments.local_files_only,
        note=_note,
    )
    try:
        if directory is not None:
            output.write_results(directory, record, None if arguments.no_plots else plots.draw)
    finally:  # what took minutes is told, whatever became of the files
        _print(table.lines_of(record))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from jinabert_onnx.bench import compare, read_record, verdicts

    if len(arguments.files) != 2:
        arguments.usage_error("compare takes two files, A.json and B.json")
    for name in _MEASURING:
        if getattr(arguments, name):
            arguments.usage_error(f"--{name.replace('_', '-')} is not for `bench compare`")
    if arguments.max_slowdown is not None and not 0 <= arguments.max_slowdown <= 1e6:
        raise InputError(f"max_slowdown is {arguments.max_slowdown:g}; it must be from 0 percent on")
    first, second = (read_record(Path(name)) for name in arguments.files)
    found = compare(first, second)
    _print(verdicts.lines_of(found))
    if arguments.max_slowdown is None:
        return 0
    slower = found.slower_than(arguments.max_slowdown / 100)
    for item in slower:
        _note(f"{item.name}: surely more than {arguments.max_slowdown:g} % slower")
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
