"""Every program of docs/guides/other-runtimes.md reads every bundle as exported, by the page's own snippet."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import BUNDLES
from jinabert_onnx import Embedder
from snippets import ROOT, Job, Vectors, run_node, run_python, sections, with_precision, with_texts, with_width
from support.references import cosines

PAGE = sections("guides/other-runtimes.md")
TRANSFORMERS, FASTEMBED = ".venv-peers-transformers", ".venv-peers-fastembed"
READERS = {
    "sentence-transformers": TRANSFORMERS,
    "optimum": TRANSFORMERS,
    "fastembed": FASTEMBED,
    "onnxruntime alone, in Python": FASTEMBED,
    "transformers.js on Node": "node",
    "onnxruntime on Node": "node",
}
PRECISIONS = ("fp32", "int8")
# Where each version that the page names is locked.
LOCKS = {
    ("sentence-transformers", "sentence-transformers"): "requirements/peers-transformers.txt",
    ("sentence-transformers", "optimum-onnx"): "requirements/peers-transformers.txt",
    ("optimum", "optimum"): "requirements/peers-transformers.txt",
    ("optimum", "optimum-onnx"): "requirements/peers-transformers.txt",
    ("fastembed", "fastembed"): "requirements/peers-fastembed.txt",
    ("onnxruntime and tokenizers", "onnxruntime"): "requirements/peers-fastembed.txt",
    ("onnxruntime and tokenizers", "tokenizers"): "requirements/peers-fastembed.txt",
    ("transformers.js", "@huggingface/transformers"): "benchmarks/peers/node/package-lock.json",
    ("onnxruntime on Node", "onnxruntime-node"): "benchmarks/peers/node/package-lock.json",
}

Read = Callable[[str], dict[tuple[str, str], Vectors]]


@pytest.fixture(scope="session")
def read(bundles: dict[str, Path], texts: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> Read:
    """What a program gives for the texts, by bundle and precision; it runs when first asked for."""

    @functools.cache
    def vectors_of(reader: str) -> dict[tuple[str, str], Vectors]:
        (code,) = PAGE[reader]
        jobs = {}
        for name, bundle in bundles.items():
            for precision in PRECISIONS:
                directory = tmp_path_factory.mktemp(f"{name}-{precision}")
                (directory / "bundle").symlink_to(bundle)
                width = json.loads((bundle / "config.json").read_text("utf-8"))["hidden_size"]
                changed = with_width(with_texts(with_precision(code, precision), texts[name]), width)
                jobs[name, precision] = Job(changed, directory, directory / "vectors.npy")
        _run(reader, list(jobs.values()))
        return {key: np.load(job.output) for key, job in jobs.items()}

    return vectors_of


def _run(reader: str, jobs: list[Job]) -> None:
    environment = READERS[reader]
    if environment == "node":
        for job in jobs:
            run_node(job)
    elif reader == "fastembed":  # knows a custom model's name for as long as the process lives
        for job in jobs:
            run_python(environment, [job])
    else:
        run_python(environment, jobs)


@functools.cache
def ours(bundle: Path, precision: str, texts: tuple[str, ...]) -> Vectors:
    with Embedder.load(bundle, precision=precision) as model:
        return model.encode(list(texts))


def test_every_snippet_of_the_page_is_run() -> None:
    """Those of cross-encoders are run by test_cross_encoders.py."""
    assert {name for name, snippets in PAGE.items() if snippets} == {*READERS, "Rerankers and classifiers"}


@pytest.mark.parametrize(("row", "package"), LOCKS)
def test_versions_of_the_page_are_the_locked_ones(row: str, package: str) -> None:
    text = (ROOT / LOCKS[row, package]).read_text("utf-8")
    if LOCKS[row, package].endswith(".json"):
        version = json.loads(text)["packages"][f"node_modules/{package}"]["version"]
    else:
        (version,) = re.findall(rf"^{package}==(.*)$", text, re.MULTILINE)
    page = (ROOT / "docs" / "guides" / "other-runtimes.md").read_text("utf-8")
    (line,) = re.findall(rf"^\| {re.escape(row)}.*$", page, re.MULTILINE)
    assert version in line


def test_texts_are_ragged_and_one_is_long(bundles: dict[str, Path], texts: dict[str, list[str]]) -> None:
    for name, bundle in bundles.items():
        with Embedder.load(bundle) as model:
            counts = model.count_tokens(texts[name])
        assert len(set(counts)) > 6
        assert 512 < max(counts) < 8192


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("bundle", BUNDLES)
@pytest.mark.parametrize("reader", READERS)
def test_vectors_are_ours(
    reader: str, bundle: str, precision: str, read: Read, bundles: dict[str, Path], texts: dict[str, list[str]]
) -> None:
    found = read(reader)[bundle, precision]
    expected = ours(bundles[bundle], precision, tuple(texts[bundle]))
    assert found.shape == expected.shape
    if precision == "fp32":
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert cosines(found, expected).min() >= 0.9999
