"""Other programs read bundles of rerankers and classifiers, by the snippets of docs/guides/other-runtimes.md."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from jinabert_onnx import CrossEncoder
from snippets import Job, Vectors, run_node, run_python, sections, with_pairs, with_precision
from support.pair_goldens import NAMES, RERANKERS, PairGolden, read_pair_golden
from support.paths import RERANKER

PROGRAMS = ("sentence-transformers", "optimum", "onnxruntime", "transformers.js")
SNIPPETS = dict(zip(PROGRAMS, sections("guides/other-runtimes.md")["Rerankers and classifiers"], strict=True))
SPLIT_AT_WORDS = "reranker-12h"  # its tokenizer's pre-tokenizer is `Whitespace`
ENVIRONMENTS = dict(zip(PROGRAMS, (".venv-peers-transformers",) * 2 + (".venv-peers-fastembed", "node"), strict=True))
RESULTS = dict.fromkeys(PROGRAMS, ("logits",)) | {"sentence-transformers": ("logits", "scores")}
PRECISIONS = ("fp32", "int8")


class Case(NamedTuple):
    """A bundle's golden inputs of one type: all of them pairs, or all of them single texts."""

    name: str
    kind: type

    @property
    def golden(self) -> PairGolden:
        return read_pair_golden(self.name)

    @property
    def rows(self) -> list[int]:
        return [index for index, given in enumerate(self.golden.pairs) if isinstance(given, self.kind)]


PAIRS = [Case(name, tuple) for name in (*NAMES, RERANKER.name)]
# sentence-transformers takes single texts in a list for one pair, and the snippet for transformers.js takes none.
READ = [
    *((program, case) for program in PROGRAMS for case in PAIRS),
    *((program, Case("classifier-3-4h", str)) for program in ("optimum", "onnxruntime")),
]
each_read = pytest.mark.parametrize(
    ("program", "case"), READ, ids=[f"{program}-{case.name}-{case.kind.__name__}" for program, case in READ]
)

Read = Callable[[str], dict[tuple[Case, str, str], Vectors]]


@pytest.fixture(scope="session")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """What a program gives, by case, precision and variable, in the goldens' rows; it runs when first asked for."""

    @functools.cache
    def results_of(program: str) -> dict[tuple[Case, str, str], Vectors]:
        jobs = {}
        cases = [case for name, case in READ if name == program]
        for case, precision, result in itertools.product(cases, PRECISIONS, RESULTS[program]):
            directory = tmp_path_factory.mktemp(f"{case.name}-{precision}")
            (directory / "bundle").symlink_to(case.golden.bundle)
            pairs = [case.golden.pairs[row] for row in case.rows]
            code = with_pairs(with_precision(SNIPPETS[program], precision), pairs)
            jobs[case, precision, result] = Job(code, directory, directory / "result.npy", result)
        run(program, list(jobs.values()))
        return {key: in_rows(key[0], np.load(job.output)) for key, job in jobs.items()}

    return results_of


def in_rows(case: Case, found: Vectors) -> Vectors:
    """(inputs of the case,) or (inputs of the case, labels) -> (inputs of the golden, labels), NaN where not given."""
    rows = np.full_like(case.golden.logits, np.nan)
    rows[case.rows] = found.reshape(len(case.rows), -1)
    return rows


def rows_compared(program: str, case: Case) -> list[int]:
    """Rows that the program reads as the original does: transformers.js has the two limits that are tested below."""
    given = case.golden.pairs
    if program != "transformers.js":
        return case.rows
    rows = [row for row in case.rows if given[row][1]]
    return rows if case.name != SPLIT_AT_WORDS else [row for row in rows if "".join(given[row]).isascii()]


def run(program: str, jobs: list[Job]) -> None:
    environment = ENVIRONMENTS[program]
    if environment == "node":
        for job in jobs:
            run_node(job)
    else:
        run_python(environment, jobs)


@functools.cache
def our_int8(bundle: Path, raw_scores: bool) -> Vectors:
    """Scores of all golden inputs, (inputs, labels), by the operators that the other programs run."""
    with CrossEncoder.load(bundle, precision="int8", kernels="off") as model:
        pairs = read_pair_golden(bundle.name).pairs
        return model.predict(pairs, raw_scores=raw_scores).reshape(len(pairs), -1)


@each_read
def test_logits_are_the_originals_in_fp32_and_ours_in_int8(program: str, case: Case, read: Read) -> None:
    found, rows = read(program), rows_compared(program, case)
    np.testing.assert_allclose(found[case, "fp32", "logits"][rows], case.golden.logits[rows], rtol=0, atol=5e-5)
    ours = our_int8(case.golden.bundle, True)
    np.testing.assert_allclose(found[case, "int8", "logits"][rows], ours[rows], rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", PAIRS, ids=lambda case: case.name)
def test_sentence_transformers_applies_the_activation_of_the_bundle(case: Case, read: Read) -> None:
    found, rows = read("sentence-transformers"), case.rows
    np.testing.assert_allclose(found[case, "fp32", "scores"][rows], case.golden.scores[rows], rtol=0, atol=5e-5)
    ours = our_int8(case.golden.bundle, False)
    np.testing.assert_allclose(found[case, "int8", "scores"][rows], ours[rows], rtol=0, atol=1e-5)


def test_transformers_js_reads_an_empty_second_text_as_none(read: Read) -> None:
    case = Case(RERANKER.name, tuple)
    (row,) = set(case.rows) - set(rows_compared("transformers.js", case))
    with CrossEncoder.load(case.golden.bundle) as model:
        alone = model.predict(case.golden.pairs[row][0], raw_scores=True)
    found = read("transformers.js")[case, "fp32", "logits"]
    np.testing.assert_allclose(found[row], alone, rtol=0, atol=5e-5)


def test_transformers_js_splits_words_at_letters_beyond_ascii_where_the_others_do_not(read: Read) -> None:
    case = Case(SPLIT_AT_WORDS, tuple)
    rows = [row for row in case.rows if "café" in "".join(case.golden.pairs[row])]
    found = read("transformers.js")[case, "fp32", "logits"]
    assert rows
    assert np.abs(found - case.golden.logits)[rows].min() > 1e-3


@pytest.mark.parametrize("name", RERANKERS)
def test_optimum_cuts_the_longer_text_of_a_pair_as_the_original_does(name: str, tmp_path: Path) -> None:
    golden = read_pair_golden(name)
    with np.load(golden.path / "golden.npz") as arrays:
        length, expected = int(arrays["truncated_length"]), arrays["truncated_logits"]
        pairs = [golden.pairs[index] for index in arrays["truncated_index"]]
    (tmp_path / "bundle").symlink_to(golden.bundle)
    code = with_pairs(SNIPPETS["optimum"], pairs).replace("truncation=True", f"truncation=True, max_length={length}")
    job = Job(code, tmp_path, tmp_path / "logits.npy", "logits")
    run("optimum", [job])
    np.testing.assert_allclose(np.load(job.output), expected.reshape(len(pairs), -1), rtol=0, atol=5e-5)
