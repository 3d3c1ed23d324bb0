"""The exporter's branches of the error tree of `jinabert_onnx.errors`.

JinaBertError
├── CheckpointError (ValueError)            a checkpoint that cannot be read or is not complete
│   └── UnsupportedCheckpointError (NotImplementedError)   readable, and not a JinaBERT embedder we serve
├── ExportError (RuntimeError)              a step of the export failed; names the step
├── OutputError (OSError)                   the bundle cannot be written there
└── VerificationError (ArithmeticError)     the result is not what torch computes
"""

from __future__ import annotations

from collections.abc import Sequence

from jinabert_onnx.errors import JinaBertError


class CheckpointError(JinaBertError, ValueError):
    """The checkpoint is damaged, incomplete, or holds what it should not."""


class UnsupportedCheckpointError(CheckpointError, NotImplementedError):
    """Another architecture, or a part that would change the vectors and is not carried over."""


class ExportError(JinaBertError, RuntimeError):
    """A step failed in a way that none of the other errors names."""


class OutputError(JinaBertError, OSError):
    """The output path is taken or cannot be written."""


class VerificationError(JinaBertError, ArithmeticError):
    """What the runtime computes from the exported graph differs from torch, or is not finite."""


def name_some(names: Sequence[str], limit: int = 5) -> str:
    """Return the first `limit` names and how many more there are, for an error message."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
