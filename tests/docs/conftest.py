"""Where the pages are, and the workplace that their examples run in.

The workplace has what the pages call `bundle` (the trained one), `reranker`, `checkpoint`, and `texts.json` with few
texts.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.paths import CHECKPOINT, ROOT, TRAINED, TRAINED_RERANKER
from support.references import write_few_texts

DOCS = ROOT / "docs"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that examples run in."""
    (tmp_path / "bundle").symlink_to(TRAINED)
    (tmp_path / "reranker").symlink_to(TRAINED_RERANKER)
    (tmp_path / "checkpoint").symlink_to(CHECKPOINT)
    write_few_texts(tmp_path / "texts.json")
    monkeypatch.chdir(tmp_path)
    return tmp_path
