"""Where the pages are, and the workplace that their examples run in.

The workplace has what the pages call `bundle` (the trained one), `checkpoint`, and `texts.json` with few texts.
"""

import json
from pathlib import Path

import pytest
from support.paths import CHECKPOINT, ROOT, TRAINED

DOCS = ROOT / "docs"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that examples run in."""
    (tmp_path / "bundle").symlink_to(TRAINED)
    (tmp_path / "checkpoint").symlink_to(CHECKPOINT)
    content = json.loads((CHECKPOINT / "heldout.json").read_text("utf-8"))
    few = {"pairs": content["pairs"][:30], "long": sorted(content["long"], key=len)[:3]}
    (tmp_path / "texts.json").write_text(json.dumps(few), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path
