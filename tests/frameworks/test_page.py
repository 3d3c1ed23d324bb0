"""The examples of docs/guides/frameworks.md run as they stand, and print what their comments say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT, TRAINED

PAGE = (ROOT / "docs" / "guides" / "frameworks.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: re.search(r"integrations\.(\w+)", example)[1])
def test_an_example_prints_what_it_says(example: str, tmp_path: Path):
    (tmp_path / "bundle").symlink_to(TRAINED)
    expected = re.findall(r"^(?:print\(.*\)  )?# (.*)$", example, re.MULTILINE)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", example], capture_output=True, text=True, cwd=tmp_path, timeout=100
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == expected
    assert len(expected) >= example.count("print(") > 0


def test_every_class_has_an_example():
    assert len(EXAMPLES) == PAGE.count("```python")
    named = set(re.findall(r"JinaBert\w+|LateChunking\w+", PAGE))
    assert named == {name for example in EXAMPLES for name in re.findall(r"JinaBert\w+|LateChunking\w+", example)}
