"""Export JinaBERT checkpoints to bundles that jinabert_onnx runs. Needs the extra `export`.

from jinabert_onnx_export import export
from jinabert_onnx.errors import needed

export("jinaai/jina-embeddings-v2-base-de", "bundle", ("fp32", "int8"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinabert_onnx.errors import needed

from .errors import CheckpointError, ExportError, OutputError, UnsupportedCheckpointError, VerificationError

if TYPE_CHECKING:
    from .pipeline import export

__all__ = [
    "CheckpointError",
    "ExportError",
    "OutputError",
    "UnsupportedCheckpointError",
    "VerificationError",
    "export",
]


def __getattr__(name: str) -> object:
    """Import `export`, and with it torch, only when it is asked for: the command line's help needs neither."""
    if name != "export":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with needed("exporting needs more packages", "cpu,export", "install them"):
        from .pipeline import export
    return export
