"""What each form of a model costs in quality: its vectors beside those of fp32, by length of text.

A form is a precision, or anything else that turns texts into vectors. Knows nothing of bundles or sessions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jinabert_onnx_eval.scores import Fidelity, Found, Vectors, fidelity, found_of, own_ranks
from jinabert_onnx_eval.texts.groups import Group


@dataclass(frozen=True)
class FormReport:
    """One form in one group: agreement with the reference, and how texts find their translation.

    `fidelity` is None for the reference itself, the others for a group without two pairs.
    """

    fidelity: Fidelity | None
    german_finds_english: Found | None
    english_finds_german: Found | None


@dataclass(frozen=True)
class GroupReport:
    """One group of texts, by form; the reference is the first."""

    name: str
    texts: int
    pairs: int
    forms: Mapping[str, FormReport]


def compare_forms(groups: Sequence[Group], vectors: Mapping[str, Mapping[str, Vectors]]) -> list[GroupReport]:
    """Return the report on each group.

    Args:
        groups: whose `texts` the vectors are of.
        vectors: by form and group, (texts, hidden); the first form is the reference.

    Raises:
        InputError: a vector is not finite.
    """
    reference = next(iter(vectors.values()))
    reports = []
    for group in groups:
        forms = {
            name: FormReport(
                None if rows is reference else fidelity(rows[group.name], reference[group.name]),
                *_retrieval(group, rows[group.name]),
            )
            for name, rows in vectors.items()
        }
        reports.append(GroupReport(group.name, len(group.texts), len(group.pairs), forms))
    return reports


def essence(reports: Sequence[GroupReport]) -> dict[str, dict[str, float]]:
    """Return a line a form, for the manifest.

    Means over the groups, but the smallest cosine of all; retrieval in the one with the most pairs, the hardest.
    """
    largest = max(reports, key=lambda report: report.pairs)
    return {name: _essence(name, reports, largest) for name in largest.forms}


def _essence(name: str, reports: Sequence[GroupReport], largest: GroupReport) -> dict[str, float]:
    found = [form for report in reports if (form := report.forms[name].fidelity) is not None]
    correlations = [form.rank_correlation for form in found if form.rank_correlation is not None]
    line = {}
    if found:
        line["mean_cosine"] = float(np.mean([form.mean_cosine for form in found]))
        line["min_cosine"] = min(form.min_cosine for form in found)
        line["top_10_overlap"] = float(np.mean([form.top_overlap for form in found]))
    if correlations:
        line["rank_correlation"] = float(np.mean(correlations))
    german, english = largest.forms[name].german_finds_english, largest.forms[name].english_finds_german
    if german is not None and english is not None:
        line |= {"german_finds_english": german.hit_1, "english_finds_german": english.hit_1}
    return line


def _retrieval(group: Group, vectors: Vectors) -> tuple[Found | None, Found | None]:
    """German texts find their English ones among all, and the reverse."""
    count = len(group.pairs)
    if count < 2:
        return None, None
    english, german = vectors[:count], vectors[count : 2 * count]
    return found_of(own_ranks(german, english), count), found_of(own_ranks(english, german), count)
