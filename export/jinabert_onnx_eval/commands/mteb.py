"""`jinabert-onnx eval mteb`: tasks of mteb with a bundle, beside what the model card states of them.

Importing this module loads neither torch nor mteb, so that help is quick.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from jinabert_onnx import Embedder
from jinabert_onnx.bench.columns import aligned
from jinabert_onnx.cli.command import add_model_argument, add_runtime_options, load_embedder
from jinabert_onnx.encoding.options import BATCH_SIZE
from jinabert_onnx.errors import JinaBertError, needed
from jinabert_onnx.text.inputs import require_range

from jinabert_onnx_eval.mteb.card import MODEL, SPLIT, SUBSET, Published, read_card

from .options import say, show
from .tables import decimal

HELP = "run MTEB tasks and show each score beside the model card's"
_HEADER = ("task", "split", "subset", "metric", "score", "card", "difference")
_WORDS = range(4)  # columns that stand to the left


class UnfinishedTasksError(JinaBertError, RuntimeError):
    """Some tasks did not run to their end; the report has the others."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the report."""
    parser.epilog = "Without --tasks, --types, --languages or --comparable, only what DIR holds is shown."
    add_model_argument(parser)
    parser.add_argument(
        "--output",
        metavar="DIR",
        required=True,
        type=Path,
        help="folder of mteb's results, created if missing; what it has for this model and precision is not run again",
    )
    parser.add_argument("--tasks", metavar="NAME", nargs="+", default=[], help="names of MTEB tasks")
    parser.add_argument("--types", metavar="TYPE", nargs="+", default=[], help="types of MTEB tasks, such as STS")
    parser.add_argument(
        "--languages",
        metavar="CODE",
        nargs="+",
        default=[],
        help="keep only subsets in these languages, such as deu or eng",
    )
    parser.add_argument(
        "--comparable", action="store_true", help="choose among the tasks that can be compared with the model card"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        default=BATCH_SIZE,
        metavar="N",
        help="maximum number of texts per batch (default: %(default)s)",
    )
    parser.add_argument(
        "--max-length", type=int, metavar="N", help="maximum number of tokens per text (default: the model's limit)"
    )
    add_runtime_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run what was asked for, and print all that the folder holds of this model.

    Raises:
        UnfinishedTasksError: some tasks failed; the others are printed all the same.
        MissingDependencyError: mteb is not installed.
    """
    require_range("--batch-size", arguments.batch_size, 1, None)
    _prepare_environment(arguments.local_files_only)
    runner, card = _import_runner(), read_card()
    tasks = _choose(arguments, runner, card)
    with load_embedder(arguments) as model:
        if arguments.max_length is not None:
            model.max_seq_length = arguments.max_length
        failed, results = _measure(arguments, runner, model, tasks)
        known = model.bundle.manifest.verification.get("published_checkpoint")  # by its vectors, not its name
        show(lines_of(results, card, known == MODEL))
    if failed:
        raise UnfinishedTasksError(
            f"{len(failed)} of {len(tasks)} tasks failed ({', '.join(failed)}); run the same command again to resume"
        )
    return 0


def _prepare_environment(offline: bool) -> None:
    """Set what the libraries below read when they are imported."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # every bar of mteb, datasets and huggingface_hub
    logging.getLogger("mteb").setLevel(logging.ERROR)  # warnings come as Python's too, and would be told twice


def _import_runner() -> ModuleType:
    with needed("this needs mteb", "eval"):
        from jinabert_onnx_eval.mteb import run as runner
    return runner


def _choose(arguments: argparse.Namespace, runner: ModuleType, card: Sequence[Published]) -> list[Any]:
    names = arguments.tasks or [row.task for row in card if arguments.comparable]
    if not (names or arguments.types or arguments.languages):
        say("nothing to run was chosen; the table shows what the folder holds")
        return []
    tasks: list[Any] = runner.choose_tasks(names, arguments.types, arguments.languages)
    return tasks


def _measure(
    arguments: argparse.Namespace, runner: ModuleType, model: Embedder, tasks: Sequence[Any]
) -> tuple[list[str], list[Any]]:
    """The names of the tasks that failed, and all results that the folder holds after running `tasks`."""
    encoder = runner.BundleEncoder(model)
    arguments.output.mkdir(parents=True, exist_ok=True)
    runner.read_results(encoder, arguments.output)  # refuses a damaged file before hours of work, not after
    failed = runner.run_tasks(encoder, tasks, arguments.output, arguments.batch_size, say)
    if encoder.cut:
        say(f"{encoder.cut} of {encoder.read} texts were longer than {model.max_seq_length} tokens, and were cut")
    return failed, runner.read_results(encoder, arguments.output)


def lines_of(results: Iterable[Any], card: Sequence[Published], of_card_model: bool) -> Iterator[str]:
    """Yield the table: the card's tasks, run or not, then the others; scores of 0 to 100."""
    scores = {
        (result.task_name, result.dataset_revision, split, of_subset["hf_subset"]): of_subset
        for result in results
        for split, subsets in result.scores.items()
        for of_subset in subsets
    }
    rows = [_card_row(row, scores.pop((row.task, row.revision, SPLIT, SUBSET), {})) for row in card]
    rows += [
        (task, split, subset, "main score", _points(found["main_score"]), "-", "-")
        for (task, _, split, subset), found in scores.items()
    ]
    yield from aligned(_HEADER, rows, _WORDS)
    yield f"The card is that of {MODEL}; of other data, or by another protocol, it has nothing to compare with."
    if not of_card_model:
        yield "This bundle is not known to be made of that model: differences are to be expected."


def _card_row(row: Published, found: Mapping[str, Any]) -> tuple[str, ...]:
    score = found.get(row.metric)
    difference = "-" if score is None else f"{100 * score - row.score:+.2f}"
    return (row.task, SPLIT, SUBSET, row.metric, _points(score), decimal(row.score, 2), difference)


def _points(score: float | None) -> str:
    return "-" if score is None else f"{100 * score:.2f}"
