"""What docs/guides/migration.md says of white space: no program here takes it off a text.

Most tokenizers hide it. The one here takes a text for a single word, so that " t7 " is none that it knows.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx import Embedder
from snippets import Job, run_python, sections, with_texts, with_width
from support.bundles import update_json

PAGE = sections("guides/other-runtimes.md")
TEXTS = ["t7", " t7 ", "t7\n"]


@pytest.fixture
def sensitive(tmp_path: Path, bundles: dict[str, Path]) -> Path:
    bundle = Path(shutil.copytree(bundles["plain-4h"], tmp_path / "bundle"))
    update_json(bundle / "tokenizer.json", pre_tokenizer=None)
    return bundle


@pytest.mark.parametrize(
    ("reader", "environment"),
    [("sentence-transformers", ".venv-peers-transformers"), ("fastembed", ".venv-peers-fastembed")],
)
def test_white_space_stays(reader: str, environment: str, sensitive: Path, tmp_path: Path) -> None:
    (code,) = PAGE[reader]
    job = Job(with_width(with_texts(code, TEXTS), 64), tmp_path, tmp_path / "vectors.npy")
    run_python(environment, [job])
    found = np.load(job.output)
    with Embedder.load(sensitive, integrity="off", self_test=False) as model:
        expected = model.encode(TEXTS)
    assert np.abs(expected[0] - expected[1:]).max(axis=1).min() > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
