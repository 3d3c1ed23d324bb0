"""Export JinaBERT checkpoints to bundles that jinabert_onnx runs. Needs the extra `export`.

from jinabert_onnx_export import export

export("jinaai/jina-embeddings-v2-base-de", "bundle", ("fp32", "int8"))
"""

from typing import TYPE_CHECKING

from jinabert_onnx.errors import MissingDependencyError

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
    try:
        from .pipeline import export
    except ImportError as error:
        raise MissingDependencyError(
            f"exporting needs more packages ({error}); install them: pip install 'jinabert-onnx[cpu,export]'"
        ) from error
    return export
