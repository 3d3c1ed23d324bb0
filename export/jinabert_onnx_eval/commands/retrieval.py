"""`jinabert-onnx eval retrieval`: the report of `retrieval` as text, and the reranker: a bundle or a function."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib import import_module

from jinabert_onnx import CrossEncoder, Embedder
from jinabert_onnx.bench.columns import aligned
from jinabert_onnx.cli.command import add_runtime_options, load_options
from jinabert_onnx.engine.memory_limit import share_limit
from jinabert_onnx.errors import InputError, first_line

from jinabert_onnx_eval.metrics.reranking import Rerank, as_function
from jinabert_onnx_eval.metrics.retrieval import (
    CANDIDATES,
    CHUNK_TOKENS,
    HITS,
    MRR_TOP,
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
    parser.epilog = (
        f"top {MRR_TOP} and MRR@{MRR_TOP} are the hit rate and MRR of LlamaIndex's comparison of embedding models and "
        "rerankers, which Jina's model cards quote. It took the best 10 chunks of 512 tokens, and two questions that a "
        "language model wrote for each chunk. To measure alike: questions of your own, --chunk-tokens 512 and "
        "--candidates 10. The texts differ, so compare what a reranker gains, not the figures themselves."
    )
    add_texts_and_output(parser)
    parser.add_argument(
        "--chunk-tokens",
        type=int,
        default=CHUNK_TOKENS,
        metavar="N",
        help="maximum number of tokens per chunk of whole sentences (default: %(default)s)",
    )
    rerankers = parser.add_mutually_exclusive_group()
    rerankers.add_argument(
        "--reranker",
        metavar="BUNDLE",
        help="directory of a cross-encoder's bundle, or its hub id: it orders the best chunks anew; the options below "
        "are for both models",
    )
    rerankers.add_argument(
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
    with open_reranker(arguments) as rerank:

        def measure(model: Embedder) -> RetrievalReport:
            memories = [model.loaded.memory, rerank.loaded.memory if isinstance(rerank, CrossEncoder) else None]
            share_limit([memory for memory in memories if memory is not None])
            sizes = {"chunk_tokens": arguments.chunk_tokens, "candidates": arguments.candidates}
            return measure_retrieval(model, corpus, rerank=rerank, say=say, **sizes)

        return run_report(arguments, "retrieval", texts, measure, lines_of)


def open_reranker(arguments: argparse.Namespace) -> AbstractContextManager[CrossEncoder | Rerank | None]:
    """Return the cross-encoder or the function that was asked for, if any, to be used in a `with` statement.

    Raises:
        InputError: --rerank names no function, or --reranker a classifier.
        What `CrossEncoder.load` raises.
    """
    if arguments.reranker is None:
        return nullcontext(None if arguments.rerank is None else load_function(arguments.rerank))
    options = replace(load_options(arguments), revision=None)  # that is of MODEL
    model = CrossEncoder.load(arguments.reranker, **vars(options))
    as_function(model)  # a classifier is refused before the embedding model is loaded
    return model


def load_function(name: str) -> Rerank:
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
    places = ("first place" if top == 1 else f"top {top}" for top in HITS)
    rows = [
        (name, *(percent(row.hits[top]) for top in HITS), decimal(row.mrr_5, 4), decimal(row.mrr, 4))
        for name, row in report.rows.items()
    ]
    yield from aligned(("", *places, f"MRR@{MRR_TOP}", "MRR"), rows)
    yield f"late less plain chunks, first place: {points(report.late_gain)}"
    for name, gain in report.rerank_gain.items():
        yield f"reranked less {name}, first place: {points(gain)}"
        yield f"reranked less {name}, MRR: {points(report.rerank_mrr_gain[name])}"
    if report.rerank_gain:
        within = _of_each({name: percent(share) for name, share in report.within.items()})
        yield f"the answer is among the {report.candidates} candidates for {within}"
    yield _seconds(report)


def _seconds(report: RetrievalReport) -> str:
    line = f"seconds a query, median: search {report.search_seconds:.3g}"
    if report.rerank_seconds:
        line += f", reranking {_of_each({name: f'{value:.3g}' for name, value in report.rerank_seconds.items()})}"
    return line


def _of_each(figures: Mapping[str, str]) -> str:
    return ", ".join(f"{figure} ({name})" for name, figure in figures.items())
