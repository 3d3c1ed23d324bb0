"""Export the forms, and compute some batches in float64, for tests/emulated, which runs without torch.

python tests/kernels/make_references.py OUTPUT

OUTPUT/FORM/bundle is a bundle; OUTPUT/FORM/NAME.npz is a batch of tokens, what they embed to, and torch's own error.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from forms import FORMS, make_form, reference
from numpy.typing import NDArray
from support.native import error

# Block edges are at multiples of 64 keys and 96 queries; the paths change at 192 and 256 tokens.
BATCHES = {
    "short": (1, 2, 5, 6, 16, 63, 64, 65),
    "edges": (95, 97, 128, 191, 193),
    "long": (255, 257, 513),
    "ragged": (1, 7, 130, 700, 64),
    "holes": (400, 300, 5),
}


def leave_holes(mask: NDArray[np.int64]) -> None:
    """Take tokens out of the middle of the first text, and away from the beginning of the second."""
    mask[0, 100:350:3] = 0
    mask[1, :250] = 0


def main(output: Path) -> None:
    """Write all forms below `output`."""
    for name in FORMS:
        form = make_form(name, output / name)
        for batch, lengths in BATCHES.items():
            input_ids, mask = form.batch(lengths)
            if batch == "holes":
                leave_holes(mask)
            right = reference(form.float64, input_ids, mask)
            by_torch = error(reference(form.float32, input_ids, mask), right, mask)
            np.savez(output / name / batch, input_ids=input_ids, mask=mask, right=right, by_torch=by_torch)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
