"""The code of a bundle's model card gives this runtime's vectors and scores in the programs that it is for."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx import CrossEncoder, Embedder
from snippets import Job, Vectors, run_node, run_python
from support.paths import BUNDLES, RERANKER, ROOT

TRANSFORMERS = ".venv-peers-transformers"
ALONE = "import { env } from '@huggingface/transformers';\nenv.allowRemoteModels = false;\nenv.localModelPath = '.';\n"
EMBEDDING = ("tiny-de-en", "plain-4h")
SCORING = (RERANKER.name, "classifier-3-4h")


def run_code(bundle: Path, directory: Path, program: str, result: str) -> Vectors:
    """What the card's code computes with the path of the bundle in place of its id on the hub."""
    (directory / "bundle").symlink_to(bundle)
    card = (bundle / "README.md").read_text("utf-8").replace("OWNER/NAME", "bundle")
    (code,) = re.findall(rf"^### {re.escape(program)}\n.*?^```(?:python|js)\n(.*?)^```", card, re.M | re.S)
    job = Job(code, directory, directory / "result.npy", result)
    if program == "transformers.js":
        run_node(Job(ALONE + code, directory, job.output, result))
    else:
        run_python(TRANSFORMERS, [job])
    return np.load(job.output)


@pytest.mark.parametrize("program", ["sentence-transformers", "transformers.js"])
@pytest.mark.parametrize("name", EMBEDDING)
def test_vectors_are_ours(name: str, program: str, tmp_path: Path) -> None:
    found = run_code(BUNDLES / name, tmp_path, program, "vectors")
    with Embedder.load(BUNDLES / name, precision="int8", kernels="off") as model:
        expected = model.encode(["How is the weather today?", "Wie ist das Wetter heute?"])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert found.shape == expected.shape


@pytest.mark.parametrize(("program", "result"), [("sentence-transformers", "scores"), ("transformers.js", "logits")])
@pytest.mark.parametrize("name", SCORING)
def test_scores_and_logits_are_ours(name: str, program: str, result: str, tmp_path: Path) -> None:
    found = run_code(BUNDLES / name, tmp_path, program, result)
    query = "How is the weather today?"
    with CrossEncoder.load(BUNDLES / name, precision="int8", kernels="off") as model:
        expected = model.predict(
            [(query, "The sun is shining."), (query, "Apples and pears")], raw_scores=result == "logits"
        )
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("package", ["'sentence-transformers[onnx]==", "@huggingface/transformers@"])
def test_the_card_names_the_tested_versions(package: str) -> None:
    pattern = re.escape(package) + r"[\d.]+\d"
    page = (ROOT / "docs/guides/other-runtimes.md").read_text("utf-8")
    card = (BUNDLES / EMBEDDING[0] / "README.md").read_text("utf-8")
    assert set(re.findall(pattern, card)) == set(re.findall(pattern, page))
