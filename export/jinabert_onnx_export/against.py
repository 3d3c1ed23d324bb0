"""`verify --against`: an existing bundle against torch, running the checkpoint it was made from."""

from __future__ import annotations

import argparse

from jinabert_onnx.bundle import ALL_FILES, check_files, open_bundle
from jinabert_onnx.hub import resolve
from jinabert_onnx.probes import Probes

from .checkpoint import open_checkpoint
from .probe_texts import PROBE_TEXTS
from .reference import embed, make_cases
from .steps import Say, Steps
from .verify import verify_precision


def verify_against(arguments: argparse.Namespace, say: Say) -> int:
    """Verify the bundle `arguments.model` against the checkpoint `arguments.against`; print what was measured.

    Raises:
        VerificationError: they differ.
    """
    bundle = open_bundle(resolve(arguments.model, arguments.revision, ALL_FILES))
    check_files(bundle, bundle.manifest.files)
    steps = Steps(say)
    with steps("running torch for reference") as tell:
        checkpoint = open_checkpoint(arguments.against)
        encoder = checkpoint.load_encoder()
        expected = Probes(PROBE_TEXTS, embed(checkpoint, encoder, PROBE_TEXTS))
        cases = make_cases(checkpoint, encoder, arguments.thorough, tell)
        del encoder
    held = bundle.manifest.precisions
    for precision in held if arguments.precision == "all" else (arguments.precision,):
        with steps(f"verifying {precision}"):
            found = verify_precision(bundle.path, precision, cases, expected, arguments.provider)
        print(
            f"{precision:<12} agrees with torch: largest difference {found.tokens.max_difference:.1e}, "
            f"smallest cosine {found.vectors.min_cosine:.6f}"
        )
    return 0
