"""The essence of measured quality in a bundle's manifest, where `jinabert-onnx info` shows it.

The manifest lists the hashes of all other files and none of its own, so it may be written again. Knows nothing of how
quality was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from jinabert_onnx.bundle.manifest import MANIFEST, Bundle
from jinabert_onnx.errors import InputError

from jinabert_onnx_eval.texts.read import EvalTexts

from .options import require_writable, write_whole


def require_recordable(bundle: Bundle) -> None:
    """Return if the manifest may be written.

    Raises:
        InputError: it is a link, as in the hub's cache, whose files are not to be changed, or cannot be written.
    """
    if (bundle.path / MANIFEST).is_symlink():
        raise InputError(
            f"{bundle.path / MANIFEST}: a link, as in the hub's cache, which is not to be changed; "
            "copy the bundle to a directory of its own and record there"
        )
    require_writable(bundle.path / MANIFEST)


def write_quality(bundle: Bundle, texts: EvalTexts, precisions: Mapping[str, Mapping[str, float]]) -> None:
    """Put figures, by precision, into the manifest with the texts and the machine; earlier ones are replaced.

    Raises:
        OSError: it cannot be written; it stands as before.
    """
    from jinabert_onnx.bench.machine import describe, versions

    quality = {
        "texts": texts.describe(),
        "machine": {"features": describe().features, "onnxruntime": versions().get("onnxruntime", "unknown")},
        "precisions": {name: dict(figures) for name, figures in precisions.items()},
    }
    write_whole(bundle.path / MANIFEST, replace(bundle.manifest, quality=quality).to_json())
