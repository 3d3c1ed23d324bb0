"""Bundles for other programs to read, one of them with weights beside the graph, and texts for them.

Those of build/bundles are exported beforehand (`make test-readers` does it).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from jinabert_onnx_export import export
from jinabert_onnx_export.encoder import trace
from support.paths import BUNDLES as EXPORTED
from support.paths import CHECKPOINT, GOLDENS
from support.references import NAMES

TRAINED = "tiny-de-en"
OUTSIDE = "weights-outside"
BUNDLES = (TRAINED, *NAMES, OUTSIDE)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each bundle's directory by name."""
    outside = tmp_path_factory.mktemp("exported") / OUTSIDE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "INLINE_LIMIT", 0)
        export(GOLDENS / "plain-4h", outside, ("fp32", "int8"))
    assert (outside / "onnx" / "model.onnx_data").is_file()
    return {name: outside if name == OUTSIDE else EXPORTED / name for name in BUNDLES}


@pytest.fixture(scope="session")
def texts() -> dict[str, list[str]]:
    """For each bundle one batch of ragged texts, mostly padding, with one of more than 512 tokens.

    Only the trained model knows German and English; the vocabulary of the others is t5, t6, and so on.
    """
    content = json.loads((CHECKPOINT / "heldout.json").read_text("utf-8"))
    pairs = [text for pair in content["pairs"][:6] for text in (pair["en"], pair["de"])]
    words = np.random.default_rng(0).integers(5, 300, size=600)
    made = [" ".join(f"t{word}" for word in words[:length]) for length in (1, 2, 600, 7, 31, 130)]
    trained = [
        "a",
        *pairs,
        "",
        min(content["long"], key=len),
        "Die Straßenbahn fährt über die Brücke, obwohl es schneit.",
        'ÄÖÜ ß é — “quotes” and "others" 列车 100 %',
    ]
    return {name: trained if name == TRAINED else [*made, *pairs[:2]] for name in BUNDLES}
