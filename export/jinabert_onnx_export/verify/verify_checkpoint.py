"""Run `verify --against`: compare a bundle with torch, which runs the checkpoint that the bundle was made from.

That it is that checkpoint is proved by its weights. Knows nothing of how the bundle was made.
"""

from __future__ import annotations

import argparse

from jinabert_onnx.bundle.hub import resolve
from jinabert_onnx.bundle.integrity import check_files
from jinabert_onnx.bundle.manifest import ALL_FILES, Bundle, ModelRecord, open_bundle
from jinabert_onnx.bundle.probes import Probes
from jinabert_onnx.cli.verify import precisions_to_verify

from jinabert_onnx_export.checkpoint.read import Checkpoint, open_checkpoint
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.errors import VerificationError
from jinabert_onnx_export.step_log import Log, StepLog

from .reference import make_cases
from .task import Place
from .vector_space import weights_sha256
from .verify import task_of, verify_precision

_SIZES = ("hidden_size", "vocab_size", "num_hidden_layers", "num_attention_heads")
_SHOWN = 12  # digits of a hash, for a message


def verify_against(arguments: argparse.Namespace, log: Log) -> int:
    """Verify the bundle `arguments.model` against the checkpoint `arguments.against`; print what was measured.

    Raises:
        VerificationError: the checkpoint's weights are not those of the bundle, or the results differ.
    """
    bundle = open_bundle(resolve(arguments.model, arguments.revision, ALL_FILES))
    check_files(bundle, bundle.manifest.files, "full")
    step = StepLog(log)
    with step("running torch for reference") as log_progress:
        checkpoint, encoder = _open_origin(bundle, arguments.against)
        task = task_of(checkpoint)
        expected = Probes(task.probe_inputs, task.compute(encoder, task.probe_inputs))
        cases = make_cases(checkpoint, encoder, arguments.thorough, log_progress)
        del encoder
    for precision in precisions_to_verify(bundle, arguments.precision, arguments.provider):
        with step(f"verifying {precision}"):
            place = Place(bundle.path, precision, arguments.provider, arguments.threads)
            agreement = verify_precision(task, place, cases, expected)
        print(f"{precision:<12} agrees with torch: {agreement}")
    return 0


def _open_origin(bundle: Bundle, source: str) -> tuple[Checkpoint, JinaBertEncoder]:
    """Open the checkpoint at `source` (directory or hub id); return it and its encoder, float32.

    Raises:
        VerificationError: its sizes or its weights are not those of the bundle.
        CheckpointError: it cannot be read.
    """
    checkpoint = open_checkpoint(source)
    _require_same_sizes(bundle.manifest.model, checkpoint)
    encoder = checkpoint.load_encoder()
    ours, theirs = bundle.manifest.weights_sha256, weights_sha256(encoder, checkpoint.dense)
    if ours != theirs:
        raise VerificationError(
            f"{source}: its weights (SHA-256 {theirs[:_SHOWN]}…) are not those that {bundle.path} was made from "
            f"({ours[:_SHOWN]}…); give the checkpoint of {bundle.manifest.source or 'the bundle'}"
        )
    return checkpoint, encoder


def _require_same_sizes(model: ModelRecord, checkpoint: Checkpoint) -> None:
    for name in _SIZES:
        ours, theirs = getattr(model, name), getattr(checkpoint.config, name)
        if ours != theirs:
            raise VerificationError(
                f"the bundle has {name} {ours}, {checkpoint.source} has {theirs}: it was made from another checkpoint"
            )
