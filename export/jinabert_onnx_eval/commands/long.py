"""`jinabert-onnx eval long`: the report of `truncation` as text."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from jinabert_onnx.bench.columns import aligned

from jinabert_onnx_eval.metrics.truncation import CUT, TruncationReport, measure_truncation
from jinabert_onnx_eval.scores import Found
from jinabert_onnx_eval.texts.cloze import make_corpus
from jinabert_onnx_eval.texts.read import read_texts

from .options import add_report_arguments, run_report, say
from .tables import decimal, percent, points

add_arguments = add_report_arguments
HELP = f"measure long texts: what cutting at {CUT} tokens loses"


def run(arguments: argparse.Namespace) -> int:
    """Measure on the long texts; print, and write what was asked for."""
    corpus = make_corpus(texts := read_texts(arguments.texts))
    return run_report(arguments, "long", texts, lambda model: measure_truncation(model, corpus, say), lines_of)


def lines_of(report: TruncationReport) -> Iterator[str]:
    """Yield the report for a terminal."""
    kind = "sentences that were taken out find their document" if report.kind == "cloze" else "questions find theirs"
    yield f"{report.documents} documents of more than {CUT} tokens (mean {report.mean_tokens:.0f}); {kind}"
    header = ("documents read", "mean cosine", "smallest", "first place", "MRR", "of the beginning", "of the rest")
    yield from aligned(
        header,
        [
            (
                name,
                decimal(item.mean_cosine, 4),
                decimal(item.min_cosine, 4),
                percent(item.found.hit_1),
                decimal(item.found.mrr, 4),
                _share(item.found_beginning),
                _share(item.found_rest),
            )
            for name, item in report.readings.items()
        ],
    )
    whole = next(iter(report.readings.values()))
    yield (
        f"cosines are with whole documents; the beginning is their first {CUT} tokens, which "
        f"{_count(whole.found_beginning)} queries are from, and {_count(whole.found_rest)} from the rest"
    )
    yield f"whole less first {CUT}, first place: {points(report.gain)}"
    if report.gain_rest is not None:
        yield f"of the queries from the rest: {points(report.gain_rest)}"


def _share(found: Found | None) -> str:
    return percent(None if found is None else found.hit_1)


def _count(found: Found | None) -> int:
    return 0 if found is None else found.queries
