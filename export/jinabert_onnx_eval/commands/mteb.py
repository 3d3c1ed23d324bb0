"""`jinabert-onnx eval mteb`: tasks of mteb with a bundle, and what they say beside the model card.

Importing this module loads neither torch nor mteb, so that help is quick.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from jinabert_onnx import Embedder
from jinabert_onnx.bench.machine import versions
from jinabert_onnx.cli.command import add_model_argument, add_runtime_options, load_embedder
from jinabert_onnx.errors import JinaBertError, MissingDependencyError
from jinabert_onnx.text.inputs import require_range

from jinabert_onnx_eval.mteb import report
from jinabert_onnx_eval.mteb.card import MEASURES, MODEL, CardRow, read_card
from jinabert_onnx_eval.mteb.compare import Pin, Result, compare

from .options import say, show, write_report, write_whole

if TYPE_CHECKING:
    from jinabert_onnx_eval.mteb.run import Failure

HELP = "run MTEB tasks and compare each score with the model card's"


class UnfinishedTasksError(JinaBertError, RuntimeError):
    """Some tasks did not run to their end; the report has the others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the report."""
    parser.epilog = "Without --tasks, --types, --languages, --comparable or --own, only what DIR holds is reported."
    add_model_argument(parser)
    parser.add_argument(
        "--output",
        metavar="DIR",
        required=True,
        type=Path,
        help="folder of results, created if missing; what it has for this model and precision is not run again",
    )
    parser.add_argument("--tasks", metavar="NAME", nargs="+", default=[], help="names of MTEB tasks, or of your own")
    parser.add_argument(
        "--types", metavar="TYPE", nargs="+", default=[], choices=tuple(MEASURES), help=f"of {', '.join(MEASURES)}"
    )
    parser.add_argument(
        "--languages",
        metavar="CODE",
        nargs="+",
        default=[],
        help="keep only subsets in these languages, such as deu or eng",
    )
    parser.add_argument(
        "--comparable",
        action="store_true",
        help="keep only what can be compared with the model card: the same data and protocol",
    )
    parser.add_argument(
        "--own",
        metavar="FILE",
        type=Path,
        help="a Python file that defines your own tasks as mteb classes; it is executed",
    )
    parser.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="maximum number of texts per batch (default: 32)"
    )
    parser.add_argument(
        "--max-length", type=int, metavar="N", help="maximum number of tokens per text (default: the model's limit)"
    )
    add_runtime_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run what was asked for, print the report, and write it beside the results.

    Raises:
        UnfinishedTasksError: some tasks failed; the report is written all the same.
        MissingDependencyError: mteb is not installed.
    """
    require_range("--batch-size", arguments.batch_size, 1, None)
    _prepare_environment(arguments.local_files_only)
    rows = read_card()
    pins, tasks = _choose(arguments, rows)
    with load_embedder(arguments) as model:
        if arguments.max_length is not None:
            model.max_seq_length = arguments.max_length
        results, failures = _measure(arguments, model, tasks)
        _report(arguments.output, model, rows, pins, results)
    if failures:
        names = ", ".join(failure.task for failure in failures)
        raise UnfinishedTasksError(
            f"{len(failures)} of {len(tasks)} tasks failed ({names}): {failures[0].reason}; run the same again to go on"
        )
    return 0


def _prepare_environment(offline: bool) -> None:
    """What the libraries below read when they are imported."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # every bar of mteb, datasets and huggingface_hub
    logging.getLogger("mteb").setLevel(logging.ERROR)  # warnings come as Python's too, and would be told twice


def _choose(arguments: argparse.Namespace, rows: Sequence[CardRow]) -> tuple[Mapping[str, Pin], list[object]]:
    """What mteb has of the card's tasks, and the tasks to run."""
    try:
        from jinabert_onnx_eval.mteb import tasks
    except ImportError as error:
        raise MissingDependencyError(
            f"this needs mteb ({error}); install it: pip install 'jinabert-onnx[eval]'"
        ) from error
    own = {} if arguments.own is None else tasks.read_own_tasks(arguments.own)
    choice = tasks.Choice(
        tuple(arguments.tasks), tuple(arguments.types), tuple(arguments.languages), arguments.comparable
    )
    pins = tasks.pins_of(rows)
    return pins, tasks.choose_tasks(rows, pins, choice, own)


def _measure(
    arguments: argparse.Namespace, model: Embedder, tasks: Sequence[object]
) -> tuple[Mapping[str, Result], list[Failure]]:
    """All results that the folder holds after running `tasks`, and what failed."""
    from jinabert_onnx_eval.mteb import run
    from jinabert_onnx_eval.mteb.model import BundleEncoder

    store = run.open_store(arguments.output)
    encoder = BundleEncoder(model)
    run.read_results(encoder, store)  # refuses a damaged file before hours of work, not after
    if not tasks:
        say("nothing to run was chosen; the report is of what the folder holds")
    failures = run.run_tasks(encoder, tasks, store, arguments.batch_size, say)
    if encoder.cut:
        say(f"{encoder.cut} of {encoder.read} texts were longer than {model.max_seq_length} tokens, and were cut")
    return run.read_results(encoder, store), failures


def _report(
    folder: Path,
    model: Embedder,
    rows: Sequence[CardRow],
    pins: Mapping[str, Pin],
    results: Mapping[str, Result],
) -> None:
    comparisons = [compare(row, pins.get(row.task), results.get(row.task)) for row in rows]
    elsewhere = report.not_on_card(rows, results)
    manifest = model.bundle.manifest
    of_card_model = manifest.verification.get("published_checkpoint") == MODEL  # found by its vectors, not its name
    show(report.lines_of(comparisons, elsewhere, of_card_model))
    name = manifest.source or model.bundle.path.name
    figures = {
        "fingerprint": str(model.fingerprint),
        "max_length": model.max_seq_length,
        "versions": {**versions(), "mteb": version("mteb")},
        "of_card_model": of_card_model,
        **report.data_of(comparisons, elsewhere),
    }
    stem = f"report-{str(model.fingerprint).replace(':', '-')}"
    title = f"{name}, {model.precision}, against the card"
    write_report(folder / f"{stem}.json", "mteb", name, figures)
    write_whole(folder / f"{stem}.csv", report.csv_of(comparisons))
    write_whole(folder / f"{stem}.md", report.markdown_of(title, comparisons, elsewhere, of_card_model))
    say(f"written to {folder / stem}.json, .csv and .md")
