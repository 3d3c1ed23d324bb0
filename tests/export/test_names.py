"""Directories whose names are not UTF-8 are refused by name, before any work: nothing can open what is there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import Run, error_of
from support.paths import GOLDENS

CHECKPOINT = GOLDENS / "plain-4h"


@pytest.mark.parametrize("which", ["source", "output"])
def test_a_directory_whose_name_is_not_utf8_is_refused_by_name(run: Run, which: str, tmp_path: Path) -> None:
    source, output = CHECKPOINT, tmp_path / "out"
    if which == "source":
        source = Path(shutil.copytree(CHECKPOINT, tmp_path / "b\udcfc"))
    else:
        output = tmp_path / "b\udcfc"
    before = list(tmp_path.iterdir())
    told = error_of(run("export", source, output))
    assert told.startswith(rf"jinabert-onnx: error: {tmp_path}/b\udcfc: its name is not UTF-8, and ")
    assert told.endswith(" opens no such files; rename it")
    assert list(tmp_path.iterdir()) == before
