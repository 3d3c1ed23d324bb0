"""`jinabert-onnx eval long`: the reports of `truncation` and `long_agreement` as text."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from jinabert_onnx import Embedder
from jinabert_onnx.bench.columns import aligned
from jinabert_onnx.bundle.probes import required
from jinabert_onnx.cli.command import add_model_argument, add_runtime_options
from jinabert_onnx.errors import InputError

from jinabert_onnx_eval.metrics.truncation import CUT, TruncationReport, measure_truncation
from jinabert_onnx_eval.scores import Found
from jinabert_onnx_eval.texts.cloze import make_corpus
from jinabert_onnx_eval.texts.read import read_texts

from .options import add_texts_and_output, import_with_exporter, run_report, say, show
from .tables import decimal, percent, points

if TYPE_CHECKING:
    from jinabert_onnx_eval.metrics.long_agreement import LengthAgreement

HELP = f"measure long texts: what cutting at {CUT} tokens loses, and agreement with PyTorch up to 8192 tokens"
LENGTHS = (2048, 4096, 8192)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the report."""
    add_model_argument(parser)
    add_texts_and_output(parser)
    parser.add_argument(
        "--checkpoint",
        metavar="CHECKPOINT",
        help="the bundle's checkpoint (directory or hub id), to compare with PyTorch; needs the exporter",
    )
    parser.add_argument(
        "--lengths",
        nargs="+",
        type=int,
        default=None,
        metavar="N",
        help=f"with --checkpoint: tokens of the texts to compare (default: {' '.join(map(str, LENGTHS))}, as "
        "far as the model reads)",
    )
    add_runtime_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure on the long texts; print, and write what was asked for."""
    if arguments.lengths is not None and arguments.checkpoint is None:
        raise InputError("--lengths is for the comparison with torch; give --checkpoint too")
    corpus = make_corpus(texts := read_texts(arguments.texts))

    def measure(model: Embedder) -> tuple[Iterator[str], object]:
        agreement: list[LengthAgreement] = []
        if arguments.checkpoint is not None:  # first, because it may not fit the bundle
            limit = model.bundle.manifest.model.max_tokens
            lengths = arguments.lengths or [length for length in LENGTHS if length <= limit] or [limit]
            compare = import_with_exporter("metrics.long_agreement").compare_with_torch
            agreement = compare(model, arguments.checkpoint, texts.long, lengths, say)
            show(agreement_lines(agreement, model.precision))  # now: the texts may be too short for the other report
        report = measure_truncation(model, corpus, say)
        results = {"agreement with torch": [asdict(row) for row in agreement], "truncation": asdict(report)}
        return truncation_lines(report), results

    return run_report(arguments, "long", texts, measure)


def agreement_lines(rows: Sequence[LengthAgreement], precision: str) -> Iterator[str]:
    """Yield the comparison with torch for a terminal."""
    yield f"{precision} beside torch in float32, texts joined to one length; required is {required(precision)}"
    header = ("tokens", "texts", "largest difference of a token", "smallest cosine of a token", "of a vector", "")
    yield from aligned(
        header,
        [
            (
                str(row.tokens),
                str(row.texts),
                f"{row.max_difference_tokens:.1e}",
                decimal(row.min_cosine_tokens, 7),
                decimal(row.min_cosine_vectors, 7),
                "agrees" if row.within else "differs",
            )
            for row in rows
        ],
    )
    yield ""


def truncation_lines(report: TruncationReport) -> Iterator[str]:
    """Yield what cutting loses, for a terminal."""
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
