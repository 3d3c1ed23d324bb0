"""What the reports' command lines share: texts, the model, and where results go.

Knows nothing of what a report measures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jinabert_onnx import Embedder
from jinabert_onnx.cli.command import add_model_argument, add_runtime_options, load_embedder
from jinabert_onnx.errors import InputError, printable
from jinabert_onnx.files.atomic import atomic_file

from jinabert_onnx_eval.texts.read import EvalTexts

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Report = TypeVar("Report", bound="DataclassInstance")


def add_texts_and_output(parser: argparse.ArgumentParser) -> None:
    """MODEL, --texts and --json."""
    add_model_argument(parser)
    parser.add_argument(
        "--texts",
        metavar="FILE",
        required=True,
        type=Path,
        help="JSON file with texts like yours, on which the model was not trained, in the format described in "
        "docs/guides/quality.md; this repository has tests/data/tiny-de-en/heldout.json",
    )
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="also write all figures, the machine and the versions to FILE"
    )


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of a report that has no others: those above, and how the model runs."""
    add_texts_and_output(parser)
    add_runtime_options(parser)


def require_writable(path: Path | None) -> None:
    """Return if a file can come to stand at `path`, so that what would fail after the work fails before it.

    Raises:
        InputError: it is a directory, or would lie in none, or in one that cannot be written to.
    """
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{path}: is a directory; give --json the name of a file")
    directory = path.resolve().parent
    if not directory.is_dir():
        raise InputError(f"{path}: there is no directory {directory}")
    if not os.access(directory, os.W_OK):
        raise InputError(f"{path}: the directory {directory} cannot be written to")


def say(line: str) -> None:
    """Tell of progress, on stderr."""
    print(f"jinabert-onnx: {printable(line)}", file=sys.stderr, flush=True)


def show(lines: Iterable[str]) -> None:
    """Print a report."""
    print("\n".join(printable(line) for line in lines), flush=True)


def run_report(
    arguments: argparse.Namespace,
    name: str,
    texts: EvalTexts,
    measure: Callable[[Embedder], Report],
    lines_of: Callable[[Report], Iterable[str]],
) -> int:
    """Load the model, measure, print the report and write its figures to --json; return the exit code."""
    require_writable(arguments.json)
    with load_embedder(arguments) as model:
        report = measure(model)
        fingerprint = str(model.fingerprint)
    show(lines_of(report))
    write_report(arguments.json, name, fingerprint, {"texts": texts.describe(), "results": asdict(report)})
    return 0


def write_report(path: Path | None, report: str, model: str, figures: Mapping[str, object]) -> None:
    """Write the figures of `report` as JSON to `path`, which appears whole or not at all; None: nowhere.

    `model` is the fingerprint, or what else names the vectors.
    """
    if path is None:
        return
    from jinabert_onnx.bench.machine import describe, versions

    content = {
        "report": report,
        "model": model,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": asdict(describe()),
        "versions": versions(),
        **figures,
    }
    write_whole(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a UTF-8 file that appears, or replaces the former, at once.

    Raises:
        OSError: it cannot be written; nothing is left, and the former stands.
    """
    with atomic_file(path.resolve()) as stream:  # a link is followed, not replaced
        stream.write(text.encode())
