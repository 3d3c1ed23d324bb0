"""What marks a checkpoint's vectors: the hash of its weights, and the range of values of its vectors.

Knows nothing of texts, of precisions, or of how the runtime rounds.
"""

from __future__ import annotations

import hashlib

import numpy as np
from jinabert_onnx import pooling
from numpy.typing import NDArray

from .model import JinaBertEncoder

# A few channels of a trained model stand far out; leaving out the largest values keeps them from coarsening the rest.
_SHARE = 0.9999


def weights_sha256(encoder: JinaBertEncoder) -> str:
    """SHA-256 (hex) of every weight in float32, with its name and shape, in the order of the names.

    The type and the files in which a checkpoint stores the weights do not change it.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {list(tensor.shape)}\n".encode())
        digest.update(tensor.float().contiguous().numpy().astype("<f4", copy=False).data)
    return digest.hexdigest()


def vector_limits(vectors: NDArray[np.float32]) -> dict[str, float]:
    """The largest values that int8 and uint8 tell apart, of "raw" and "normalized" float32 (texts, hidden)."""
    return {
        "raw": float(np.quantile(np.abs(vectors), _SHARE)),
        "normalized": float(np.quantile(np.abs(pooling.normalize(vectors)), _SHARE)),
    }
