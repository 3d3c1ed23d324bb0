"""`jinabert-onnx eval languages`: the report of `languages` as text."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from jinabert_onnx import Embedder
from jinabert_onnx.bench.columns import aligned

from jinabert_onnx_eval.metrics.languages import LEAST_PAIRS, LanguagesReport, Mixed, Preference, measure_languages
from jinabert_onnx_eval.scores import TOP, Found
from jinabert_onnx_eval.texts.read import read_texts

from .options import add_report_arguments, run_report, say
from .tables import decimal, percent, points

add_arguments = add_report_arguments
HELP = "compare German and English: retrieval in both directions, bias towards a language, mixed texts"


def run(arguments: argparse.Namespace) -> int:
    """Measure on the pairs of the texts; print, and write what was asked for."""
    texts = read_texts(arguments.texts)
    texts.require("pairs", LEAST_PAIRS)

    def measure(model: Embedder) -> LanguagesReport:
        say(f"{model.precision} on {model.provider}: {len(texts.pairs)} pairs")
        return measure_languages(lambda batch: model.encode(batch, truncation="head"), texts.pairs)

    return run_report(arguments, "languages", texts, measure, lines_of)


def lines_of(report: LanguagesReport) -> Iterator[str]:
    """Yield the report for a terminal."""
    yield f"each text finds its translation among {report.pairs} of the other language"
    directions = report.directions
    yield from _found_table(
        {
            "German finds English": directions.german_finds_english,
            "English finds German": directions.english_finds_german,
        }
    )
    yield f"German less English queries: first place {points(directions.hit_difference)}"
    yield f"                             MRR         {points(directions.mrr_difference)}"
    yield ""
    yield from _preferences({"German queries": report.german_queries, "English queries": report.english_queries})
    yield ""
    yield from _mixed(report.mixed)


def _preferences(preferences: dict[str, Preference]) -> Iterator[str]:
    yield "documents in both languages: what a query prefers"
    header = ("", "own language nearer", f"among the {TOP} nearest", "gap of similarity", "spread of similarity")
    rows = [
        (
            name,
            percent(item.own_language),
            percent(item.own_language_near),
            f"{item.similarity_gap:+.4f}",
            decimal(item.similarity_spread, 4),
        )
        for name, item in preferences.items()
    ]
    yield from aligned(header, rows)
    yield "50 % and 0 are without bias. The translation among documents of both languages:"
    yield from _found_table({name: item.found for name, item in preferences.items()})
    for name, item in preferences.items():
        yield f"{name}: lost by searching both languages: first place {points(item.loss)}"


def _mixed(mixed: Mixed) -> Iterator[str]:
    yield f"{mixed.texts} texts of one German and one English sentence, beside the same in one language"
    yield (
        f"mean cosine to German {mixed.to_german:.4f}, to English {mixed.to_english:.4f}, "
        f"of these two {mixed.between:.4f}"
    )
    leaning = mixed.leaning
    verdict = "clear" if leaning.is_clear else "within chance"
    yield f"leaning to German {leaning.mean:+.4f} ({leaning.low:+.4f} to {leaning.high:+.4f}; {verdict})"
    yield from _found_table(
        {
            "mixed finds German": mixed.finds_german,
            "mixed finds English": mixed.finds_english,
            "German finds mixed": mixed.found_by_german,
            "English finds mixed": mixed.found_by_english,
        }
    )


def _found_table(rows: dict[str, Found]) -> Iterator[str]:
    header = ("", "first place", "top 10", "MRR", "documents")
    yield from aligned(
        header,
        [
            (name, percent(item.hit_1), percent(item.hit_10), decimal(item.mrr, 4), str(item.documents))
            for name, item in rows.items()
        ],
    )
