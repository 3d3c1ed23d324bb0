"""`jinabert-onnx eval precisions`: the table of `precisions`, and its essence into the bundle's manifest."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import numpy as np
from jinabert_onnx import Embedder
from jinabert_onnx.bench.columns import aligned
from jinabert_onnx.bundle.hub import resolve
from jinabert_onnx.bundle.manifest import ALL_FILES, Bundle, open_bundle
from jinabert_onnx.cli.command import add_provider_options
from jinabert_onnx.errors import BundleError

from jinabert_onnx_eval.metrics.precisions import FormReport, GroupReport, compare_forms, essence
from jinabert_onnx_eval.scores import Vectors
from jinabert_onnx_eval.texts.groups import Group, group_by_length
from jinabert_onnx_eval.texts.read import EvalTexts, read_texts

from . import record
from .options import add_texts_and_output, require_writable, say, show, write_report
from .tables import decimal, percent

HELP = "measure what int8 and fp16 cost in quality: each precision against fp32, by length of text"
REFERENCE = "fp32"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the report."""
    add_texts_and_output(parser)
    parser.add_argument(
        "--record", action="store_true", help="write the summary into the bundle's manifest, for `jinabert-onnx info`"
    )
    add_provider_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure every precision that the bundle holds and the provider runs; print, and write what was asked for."""
    texts = read_texts(arguments.texts)
    require_writable(arguments.json)
    bundle = open_bundle(
        resolve(arguments.model, arguments.revision, ALL_FILES, local_files_only=arguments.local_files_only)
    )
    if REFERENCE not in bundle.manifest.precisions:
        raise BundleError(f"{bundle.path}: holds no {REFERENCE} to compare with; export it with --precision fp32 too")
    if arguments.record:
        record.require_recordable(bundle)
    groups, vectors = _encode_all(arguments, bundle, texts)
    reports = compare_forms(groups, vectors)
    lines = essence(reports)
    show(lines_of(reports, lines))
    results = {"groups": [asdict(report) for report in reports], "essence": lines}
    figures = {"texts": texts.describe(), "results": results}
    write_report(arguments.json, "precisions", bundle.manifest.source or bundle.path.name, figures)
    if arguments.record:
        record.write_quality(bundle, texts, lines)
        say(f"recorded in {bundle.path / 'manifest.json'}")
    return 0


def _encode_all(
    arguments: argparse.Namespace, bundle: Bundle, texts: EvalTexts
) -> tuple[list[Group], dict[str, dict[str, Vectors]]]:
    """The groups, and by precision and group the vectors; one model is in memory at a time."""
    groups: list[Group] = []
    vectors: dict[str, dict[str, Vectors]] = {}
    for precision in _runnable(bundle, arguments.provider):
        with Embedder.load(
            arguments.model,
            precision=precision,
            provider=arguments.provider,
            threads=arguments.threads,
            revision=arguments.revision,
            local_files_only=arguments.local_files_only,
        ) as model:
            groups = groups or group_by_length(texts, model.count_tokens, bundle.manifest.default_max_length)
            vectors[precision] = {}
            for group in groups:
                say(f"{precision}: {group.name}, {len(group.texts)} texts")
                vectors[precision][group.name] = np.asarray(model.encode(group.texts, truncation="head"))
    return groups, vectors


def _runnable(bundle: Bundle, provider: str) -> list[str]:
    held = [name for name in bundle.manifest.precisions if not (name == "int8" and provider == "cuda")]
    return sorted(held, key=lambda name: name != REFERENCE)


def lines_of(reports: Sequence[GroupReport], lines: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Yield the table for a terminal: a block a group, then the essence."""
    for report in reports:
        pairs = f", {report.pairs} of them pairs of one meaning" if report.pairs else ""
        yield f"{report.name}: {report.texts} texts{pairs}"
        yield from aligned(_HEADER, [_row(name, form) for name, form in report.forms.items()])
        yield ""
    yield "in short: means of the groups, smallest cosine of all, retrieval among the most pairs"
    yield from aligned(_SHORT_HEADER, [_short_row(name, line) for name, line in lines.items()])


_HEADER = ("", "mean cosine", "5 %", "1 %", "smallest", "rank corr.", "top-10", "de->en", "en->de")
_SHORT_HEADER = ("", "mean cosine", "smallest", "rank corr.", "top-10", "de->en", "en->de")


def _row(name: str, form: FormReport) -> list[str]:
    found = form.fidelity
    figures = ["-"] * 6
    if found is not None:
        cosines = (found.mean_cosine, found.percentile_5, found.percentile_1, found.min_cosine)
        figures = [*(decimal(value, 6) for value in (*cosines, found.rank_correlation)), decimal(found.top_overlap, 4)]
    directions = (form.german_finds_english, form.english_finds_german)
    return [name, *figures, *(percent(None if item is None else item.hit_1) for item in directions)]


def _short_row(name: str, line: Mapping[str, float]) -> list[str]:
    figures = [decimal(line.get(key), 6) for key in ("mean_cosine", "min_cosine", "rank_correlation")]
    shares = [percent(line.get(key)) for key in ("german_finds_english", "english_finds_german")]
    return [name, *figures, decimal(line.get("top_10_overlap"), 4), *shares]
