"""docs/guides/migration.md: before and after give the same vectors or scores, and an old index is searched after."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import TRAINED
from jinabert_onnx import Embedder
from snippets import ROOT, Job, Vectors, run_python, sections, with_pairs, with_texts
from support.pair_goldens import read_pair_golden
from support.paths import RERANKER, TRAINED_RERANKER
from support.references import cosines

PAGE = sections("guides/migration.md")
PUBLISHED = '"jinaai/jina-embeddings-v2-base-de"'
# Where each runs before, and what puts the bundle in the place of the published model.
BEFORE = {
    "sentence-transformers": (
        ".venv-peers-transformers",
        f"{PUBLISHED}, trust_remote_code=True",
        '"bundle", backend="onnx", model_kwargs={"file_name": "onnx/model.onnx"}',
    ),
    "fastembed": (".venv-peers-fastembed", PUBLISHED, f'{PUBLISHED}, specific_model_path="bundle"'),
    "optimum": (".venv-peers-transformers", PUBLISHED, '"bundle"'),
}
CROSS_ENCODER, PUBLISHED_RERANKER = "CrossEncoder of sentence-transformers", '"jinaai/jina-reranker-v1-turbo-en"'
NOT_RUN_BEFORE = {"transformers"}  # needs the code that comes with the published model
QUERIES = 300
# Of the page's table: precision, cosine, share of the same first hit, mean overlap of the first ten.
BOUNDS = re.findall(
    r"made by sentence-transformers \| (\w+) here \| ([\d.]+) or more \| ([\d.]+) or more \| ([\d.]+) or more \|",
    (ROOT / "docs" / "guides" / "migration.md").read_text("utf-8"),
)


@dataclass(frozen=True)
class Workplace:
    """Where snippets run: a directory with `bundle`, and the texts of the page's own place."""

    directory: Path
    texts: list[str]

    def run(self, environment: str, code: str) -> Vectors:
        """The snippet's vectors."""
        output = self.directory / "vectors.npy"
        run_python(environment, [Job(with_texts(code, self.texts), self.directory, output)])
        return np.load(output)


@pytest.fixture
def workplace(tmp_path: Path, bundles: dict[str, Path], texts: dict[str, list[str]]) -> Workplace:
    (tmp_path / "bundle").symlink_to(bundles[TRAINED])
    return Workplace(tmp_path, texts[TRAINED])


def before(name: str) -> tuple[str, str]:
    """An environment, and what runs there in place of the page's snippet."""
    environment, published, local = BEFORE[name]
    return environment, replaced_once(PAGE[name][0], published, local)


def replaced_once(code: str, old: str, new: str) -> str:
    assert code.count(old) == 1
    return code.replace(old, new)


def test_every_section_has_before_and_after() -> None:
    named = {name: len(snippets) for name, snippets in PAGE.items() if snippets}
    assert named == dict.fromkeys([*BEFORE, CROSS_ENCODER, *NOT_RUN_BEFORE], 2)


@pytest.mark.parametrize("name", BEFORE)
def test_after_gives_the_vectors_of_before(name: str, workplace: Workplace) -> None:
    environment, code = before(name)
    old = workplace.run(environment, code)
    new = workplace.run(".venv", PAGE[name][1])
    np.testing.assert_allclose(new, old, rtol=0, atol=1e-4)


def test_a_cross_encoder_gives_the_scores_of_before(tmp_path: Path) -> None:
    (tmp_path / "bundle").symlink_to(TRAINED_RERANKER)
    environment, published, local = BEFORE["sentence-transformers"]
    old = replaced_once(PAGE[CROSS_ENCODER][0], published.replace(PUBLISHED, PUBLISHED_RERANKER), local)
    pairs = read_pair_golden(RERANKER.name).pairs
    scores = []
    for place, code in ((environment, old), (".venv", PAGE[CROSS_ENCODER][1])):
        job = Job(with_pairs(code, pairs), tmp_path, tmp_path / "scores.npy", "scores")
        run_python(place, [job])
        scores.append(np.load(job.output))
    np.testing.assert_allclose(scores[1], scores[0], rtol=0, atol=5e-5)


@pytest.mark.parametrize("name", NOT_RUN_BEFORE)
def test_after_runs_where_before_cannot(name: str, workplace: Workplace, bundles: dict[str, Path]) -> None:
    with Embedder.load(bundles[TRAINED]) as model:
        np.testing.assert_array_equal(workplace.run(".venv", PAGE[name][1]), model.encode(workplace.texts))


@pytest.fixture(scope="module")
def index(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Vectors, Vectors]:
    """German queries, their own vectors and those of the English texts, as sentence-transformers made them before."""
    content = json.loads((ROOT / "tests/data/tiny-de-en/heldout.json").read_text("utf-8"))
    german, english = (list(dict.fromkeys(pair[name] for pair in content["pairs"]))[:QUERIES] for name in ("de", "en"))
    directory = tmp_path_factory.mktemp("index")
    (directory / "bundle").symlink_to(bundles[TRAINED])
    vectors = Workplace(directory, [*german, *english]).run(*before("sentence-transformers"))
    return german, vectors[:QUERIES], vectors[QUERIES:]


def hits(queries: Vectors, index: Vectors) -> Vectors:
    """The ten nearest by cosine of each query, nearest first."""
    queries, index = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, index))
    return np.argsort(-queries @ index.T, axis=1, kind="stable")[:, :10]


def test_the_page_has_bounds_for_both_precisions() -> None:
    assert [precision for precision, *_ in BOUNDS] == ["fp32", "int8"]


@pytest.mark.parametrize(("precision", "cosine", "first", "ten"), BOUNDS)
def test_an_index_made_before_is_searched_after(
    precision: str,
    cosine: str,
    first: str,
    ten: str,
    index: tuple[list[str], Vectors, Vectors],
    bundles: dict[str, Path],
) -> None:
    german, queries, texts = index
    with Embedder.load(bundles[TRAINED], precision=precision) as model:
        found = model.encode(german)
    old, new = hits(queries, texts), hits(found, texts)
    overlaps = [len(set(a) & set(b)) / 10 for a, b in zip(old, new, strict=True)]
    assert cosines(found, queries).min() >= float(cosine)
    assert np.mean(old[:, 0] == new[:, 0]) >= float(first)
    assert np.mean(overlaps) >= float(ten)
