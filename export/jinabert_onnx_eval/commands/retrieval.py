"""`jinabert-onnx eval retrieval`: the report of `retrieval` as text, and the user's reranker."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module

from jinabert_onnx import Embedder
from jinabert_onnx.bench.columns import aligned
from jinabert_onnx.cli.command import add_runtime_options
from jinabert_onnx.errors import InputError, first_line

from jinabert_onnx_eval.metrics.retrieval import (
    CANDIDATES,
    CHUNK_TOKENS,
    HITS,
    Rerank,
    RetrievalReport,
    measure_retrieval,
)
from jinabert_onnx_eval.texts.cloze import make_corpus
from jinabert_onnx_eval.texts.read import read_texts

from .options import add_texts_and_output, run_report, say
from .tables import decimal, percent, points

HELP = "measure chunks of long documents: plain and late chunking, with and without a reranker"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the report."""
    add_texts_and_output(parser)
    parser.add_argument(
        "--chunk-tokens",
        type=int,
        default=CHUNK_TOKENS,
        metavar="N",
        help="maximum number of tokens per chunk of whole sentences (default: %(default)s)",
    )
    parser.add_argument(
        "--rerank",
        metavar="MODULE:FUNCTION",
        help="function that takes a query and a list of texts and returns a score for each (larger is better); MODULE "
        "may be in the current directory",
    )
    parser.add_argument(
        "--candidates",
        type=int,
        default=CANDIDATES,
        metavar="N",
        help="number of chunks to give to the reranker (default: %(default)s)",
    )
    add_runtime_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure on the long texts; print, and write what was asked for."""
    corpus = make_corpus(texts := read_texts(arguments.texts))
    rerank = None if arguments.rerank is None else load_reranker(arguments.rerank)

    def measure(model: Embedder) -> RetrievalReport:
        sizes = {"chunk_tokens": arguments.chunk_tokens, "candidates": arguments.candidates}
        return measure_retrieval(model, corpus, rerank=rerank, say=say, **sizes)

    return run_report(arguments, "retrieval", texts, measure, lines_of)


def load_reranker(name: str) -> Rerank:
    """Return the function that MODULE:FUNCTION names.

    Raises:
        InputError: it cannot be imported, or is no function.
    """
    module, _, function = name.partition(":")
    if not module or not function:
        raise InputError(f"--rerank {name!r}: give MODULE:FUNCTION, such as my_reranker:scores")
    if "" not in sys.path:  # a console script does not look where it was started
        sys.path.insert(0, "")
    try:
        found = getattr(import_module(module), function, None)
    except Exception as error:  # whatever the user's module raises
        raise InputError(f"--rerank {name}: {module} cannot be imported ({first_line(error)})") from error
    if not callable(found):
        raise InputError(f"--rerank {name}: {module} has no function {function!r}")
    rerank: Rerank = found
    return rerank


def lines_of(report: RetrievalReport) -> Iterator[str]:
    """Yield the report for a terminal."""
    kind = "sentences that were taken out find their place" if report.kind == "cloze" else "questions find their answer"
    yield (
        f"{report.queries} {kind} among {report.chunks} chunks (mean {report.chunk_tokens:.0f} tokens) of "
        f"{report.documents} documents"
    )
    header = ("", *("first place" if top == 1 else f"top {top}" for top in HITS), "MRR")
    rows = [(name, *(percent(row.hits[top]) for top in HITS), decimal(row.mrr, 4)) for name, row in report.rows.items()]
    yield from aligned(header, rows)
    yield f"late less plain chunks, first place: {points(report.late_gain)}"
    for name, gain in report.rerank_gain.items():
        yield (
            f"reranking {name} chunks, first place: {points(gain)}; the answer is among the {report.candidates} "
            f"candidates for {percent(report.within[name])}"
        )
