"""The examples of docs/guides/frameworks.md run as they stand, and print what their comments say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.paths import ROOT, TRAINED, TRAINED_RERANKER
from support.python import run_python

PAGE = (ROOT / "docs" / "guides" / "frameworks.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: re.search(r"integrations\.(\w+)", example)[1])
def test_an_example_prints_what_it_says(example: str, tmp_path: Path):
    (tmp_path / "bundle").symlink_to(TRAINED)
    (tmp_path / "reranker").symlink_to(TRAINED_RERANKER)
    expected = re.findall(r"^(?:print\(.*\)  )?# (.*)$", example, re.MULTILINE)
    run = run_python("-W", "error", "-c", example, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == expected
    assert len(expected) >= example.count("print(") > 0


def test_every_class_has_an_example():
    assert len(EXAMPLES) == PAGE.count("```python")
    named = set(re.findall(r"JinaBert\w+|LateChunking\w+", PAGE))
    assert named == {name for example in EXAMPLES for name in re.findall(r"JinaBert\w+|LateChunking\w+", example)}
