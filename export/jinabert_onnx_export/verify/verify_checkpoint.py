"""Run `verify --against`: compare a bundle with torch, which runs the checkpoint that the bundle was made from.

Knows nothing of how the bundle was made.
"""

from __future__ import annotations

import argparse

from jinabert_onnx.bundle.hub import resolve
from jinabert_onnx.bundle.integrity import check_files
from jinabert_onnx.bundle.manifest import ALL_FILES, open_bundle
from jinabert_onnx.bundle.probes import Probes
from jinabert_onnx.cli.verify import precisions_to_verify

from jinabert_onnx_export.step_log import Log, StepLog
from jinabert_onnx_export.verify.origin import open_origin

from .float64 import in_words
from .probe_texts import PROBE_TEXTS
from .reference import embed, make_cases
from .verify import verify_precision


def verify_against(arguments: argparse.Namespace, log: Log) -> int:
    """Verify the bundle `arguments.model` against the checkpoint `arguments.against`; print what was measured.

    Raises:
        VerificationError: the checkpoint's weights are not those of the bundle, or the vectors differ.
    """
    bundle = open_bundle(resolve(arguments.model, arguments.revision, ALL_FILES))
    check_files(bundle, bundle.manifest.files, "full")
    step = StepLog(log)
    with step("running torch for reference") as log_progress:
        checkpoint, encoder = open_origin(bundle, arguments.against)
        expected = Probes(PROBE_TEXTS, embed(checkpoint, encoder, PROBE_TEXTS))
        cases = make_cases(checkpoint, encoder, arguments.thorough, log_progress)
        del encoder
    for precision in precisions_to_verify(bundle, arguments.precision, arguments.provider):
        with step(f"verifying {precision}"):
            agreement = verify_precision(
                bundle.path, precision, cases, expected, checkpoint, arguments.provider, arguments.threads
            )
        print(
            f"{precision:<12} agrees with torch: largest difference {agreement.tokens.max_difference:.1e}, "
            f"smallest cosine {agreement.vectors.min_cosine:.6f}{in_words(agreement.exactness)}"
        )
    return 0
