"""Directories whose names are not UTF-8 are refused by name, before any work: nothing can open what is there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import GOLDENS

CHECKPOINT = GOLDENS / "plain-4h"


@pytest.mark.parametrize("which", ["source", "output"])
def test_a_directory_whose_name_is_not_utf8_is_refused_by_name(which: str, tmp_path: Path) -> None:
    source, output = CHECKPOINT, tmp_path / "out"
    if which == "source":
        source = Path(shutil.copytree(CHECKPOINT, tmp_path / "b\udcfc"))
    else:
        output = tmp_path / "b\udcfc"
    before = list(tmp_path.iterdir())
    command = [sys.executable, "-m", "jinabert_onnx", "export", str(source), str(output)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    told = result.stderr.splitlines()[-1]
    assert told.startswith(rf"jinabert-onnx: error: {tmp_path}/b\udcfc: its name is not UTF-8, and ")
    assert told.endswith(" opens no such files; rename it")
    assert list(tmp_path.iterdir()) == before
