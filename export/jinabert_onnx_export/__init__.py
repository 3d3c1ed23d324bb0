"""Export JinaBERT checkpoints to bundles that jinabert_onnx runs. Needs the extra `export`."""

from .errors import CheckpointError, ExportError, OutputError, UnsupportedCheckpointError, VerificationError
from .pipeline import export

__all__ = [
    "CheckpointError",
    "ExportError",
    "OutputError",
    "UnsupportedCheckpointError",
    "VerificationError",
    "export",
]
