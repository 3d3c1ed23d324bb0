"""Compute the hash of a checkpoint's weights and the range of its vectors' values, which identify its vector space.

Knows nothing of texts, of precisions, or of how the runtime rounds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from jinabert_onnx.encoding import pooling
from numpy.typing import NDArray

from jinabert_onnx_export.checkpoint.dense import DenseModule
from jinabert_onnx_export.encoder.model import JinaBertEncoder

# Unseen texts go a little further, and a value cut costs its vector more than coarser steps do; but raw vectors differ
# in length, and wide steps leave too few for the short ones (`benchmarks/README.md`).
_HEADROOM = 1.1


def weights_sha256(encoder: JinaBertEncoder, dense: Sequence[DenseModule] = ()) -> str:
    """Return the SHA-256 (hex) of every weight in float32, with its name and shape, in the order of the names.

    Those of Dense modules come after the encoder's.

    The type and the files in which a checkpoint stores the weights do not change it.
    """
    digest = hashlib.sha256()
    after = [
        (f"dense.{index}.{name}", value) for index, each in enumerate(dense) for name, value in each.tensors.items()
    ]
    for name, tensor in (*sorted(encoder.state_dict().items()), *sorted(after)):
        digest.update(f"{name} {list(tensor.shape)}\n".encode())
        digest.update(tensor.float().contiguous().numpy().astype("<f4", copy=False).data)
    return digest.hexdigest()


def vector_limits(vectors: NDArray[np.float32]) -> dict[str, float]:
    """Return the largest values that int8 and uint8 can represent, of "raw" and "normalized" float32 (texts, hidden).

    A little more than the largest value of all; of normalised vectors at most 1, which no value exceeds.
    """
    raw, normalized = (_HEADROOM * float(np.abs(values).max()) for values in (vectors, pooling.normalize(vectors)))
    return {"raw": raw, "normalized": min(1.0, normalized)}
