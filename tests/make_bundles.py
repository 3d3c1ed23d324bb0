"""Export every checkpoint of the tests in all precisions, for the runtime's tests, which run without torch.

python tests/make_bundles.py build/bundles
"""

from __future__ import annotations

import sys
from pathlib import Path

from jinabert_onnx.bundle.manifest import PRECISIONS
from jinabert_onnx_export import export
from support.paths import CHECKPOINT, CROSS_ENCODERS, GOLDENS, RERANKER


def main(output: Path) -> None:
    """Write one bundle a checkpoint below `output`."""
    for checkpoint in (*sorted(GOLDENS.iterdir()), CHECKPOINT, *CROSS_ENCODERS, RERANKER):
        export(checkpoint, output / checkpoint.name, PRECISIONS)
        sys.stderr.write(f"exported {checkpoint.name}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
