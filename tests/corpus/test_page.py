"""What docs/guides/corpora.md shows runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import TEXTS, embed, write
from jinabert_onnx import Embedder
from support.paths import ROOT


def test_the_output_is_read_as_the_page_shows(model: Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / "guides" / "corpora.md").read_text("utf-8"), re.M | re.S
    )
    source = write(tmp_path / "articles.parquet", TEXTS)
    assert embed(source, tmp_path / "vectors.parquet").returncode == 0
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    np.testing.assert_allclose(np.asarray(names["vectors"]), model.encode(TEXTS), atol=1e-5)
    assert names["fingerprint"] == str(model.fingerprint)
