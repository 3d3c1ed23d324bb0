"""The export, step by step: checkpoint -> torch -> ONNX graphs -> bundle -> verified against torch.

The one place that knows all the others. Nothing appears at the output unless every step has passed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnxscript
import torch
from jinabert_onnx import __version__
from jinabert_onnx.bundle.manifest import CARD, PRECISIONS, DenseRecord, Manifest, ModelRecord, PoolingRecord
from jinabert_onnx.bundle.probes import Probes, SelfTest
from jinabert_onnx.engine.providers import import_onnxruntime
from jinabert_onnx.errors import InputError
from jinabert_onnx.text.inputs import require_unicode_name

from . import package
from .card.model_card import write_card
from .checkpoint.front_matter import read_front_matter
from .checkpoint.read import Checkpoint, open_checkpoint
from .encoder import trace
from .encoder.model import JinaBertEncoder
from .int8.activations import record_activations
from .int8.calibration import read_calibration_texts
from .passes.optimize import optimize
from .step_log import Log, StepLog
from .verify.reference import Case, make_cases
from .verify.task import Place, Task
from .verify.vector_space import weights_sha256
from .verify.verify import task_of, verify_precision

_ONNX_NAMES = {"fp32": "model.onnx", "fp16": "model_fp16.onnx", "int8": "model_int8.onnx"}
_TOOLS = (torch, onnx, onnxscript, import_onnxruntime())


def export(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    precisions: Sequence[str] = ("fp32",),
    *,
    revision: str | None = None,
    force: bool = False,
    thorough: bool = False,
    calibration: str | os.PathLike[str] | None = None,
    say: Log = lambda line: None,
) -> Manifest:
    """Export a JinaBERT checkpoint to a bundle, and prove it against torch before it appears.

    Args:
        source: directory of the checkpoint, or its hub id (owner/name).
        output: directory to create.
        precisions: any of "fp32", "fp16" and "int8".
        revision: branch, tag or commit, for a hub id only.
        force: replace a bundle that exists at `output`.
        thorough: also verify up to 8192 tokens; slower, and needs more memory.
        calibration: text file, one text per line (of a cross-encoder: two, with a tab between them), that int8 is
            fitted to; default: the exporter's own texts.
        say: called with each line of progress.

    Returns:
        The bundle's manifest, with what verification measured.

    Raises:
        JinaBertError: see `errors` here and in jinabert_onnx; nothing is left at `output`.
    """
    precisions = _ordered((precisions,) if isinstance(precisions, str) else tuple(precisions))
    if calibration is not None and "int8" not in precisions:
        raise InputError("calibration is for int8; ask for that precision too, or leave the file out")
    calibration_path = None if calibration is None else Path(calibration)
    read_calibration_texts(calibration_path)  # what is wrong with it is said at once
    require_unicode_name(Path(output), "onnx")
    step = StepLog(say)
    with package.staged_directory(Path(output), force, say) as directory:
        with step("reading the checkpoint"):
            checkpoint = open_checkpoint(source, revision)
            encoder = checkpoint.load_encoder()
        with step("running torch for reference") as log:
            task = task_of(checkpoint)
            published = task.check_known(encoder)
            probes = Probes(task.probe_inputs, task.compute(encoder, task.probe_inputs))
            cases = make_cases(checkpoint, encoder, thorough, log)
            weights = weights_sha256(encoder, checkpoint.dense)
            limits = task.vector_limits(encoder)
        files = _write_graphs(task, encoder, precisions, calibration_path, directory / "onnx", step)
        del encoder
        with step("writing the bundle"):
            package.write_metadata(checkpoint, directory)
            package.write_probes(probes, directory)
            manifest = replace(
                _manifest(checkpoint, files, directory, weights, limits),
                verification={"published_checkpoint": published},
            )
            package.write_manifest(manifest, directory)
        verified = _verify(manifest, directory, cases, probes, task, step)
        with step("writing the model card") as log:
            _write_card(checkpoint, verified, directory, log)
        return verified


def _ordered(precisions: Sequence[str]) -> tuple[str, ...]:
    """Return the precisions in the order fp32, fp16, int8, each once."""
    unknown = [name for name in precisions if name not in PRECISIONS]
    if unknown or not precisions:
        raise InputError(f"precision {', '.join(unknown) or 'none'} is unknown; use any of {', '.join(PRECISIONS)}")
    return tuple(name for name in PRECISIONS if name in precisions)


def _write_graphs(
    task: Task[Any],
    encoder: JinaBertEncoder,
    precisions: Sequence[str],
    calibration: Path | None,
    directory: Path,
    step: StepLog,
) -> dict[str, list[Path]]:
    """Write each precision's ONNX file and weights to `directory`; the encoder is spent afterwards."""
    directory.mkdir()
    files = {}
    if {"fp32", "int8"} & set(precisions):
        with step("tracing fp32"):
            traced = trace.trace(encoder)
        if "fp32" in precisions:
            with step("writing fp32"):
                files["fp32"] = trace.save(optimize(traced), directory / _ONNX_NAMES["fp32"])
        if "int8" in precisions:
            with step("quantising to int8"):
                layers = record_activations(encoder, *task.calibration(calibration))
                files["int8"] = trace.save(optimize(traced, layers), directory / _ONNX_NAMES["int8"])
        del traced
    if "fp16" in precisions:
        with step("tracing fp16"):
            files["fp16"] = trace.save(trace.trace(trace.halve(encoder)), directory / _ONNX_NAMES["fp16"])
    with step("checking the graphs"):
        for paths in files.values():
            onnx.checker.check_model(paths[0])
    return {name: files[name] for name in precisions}


def _manifest(
    checkpoint: Checkpoint,
    files: dict[str, list[Path]],
    directory: Path,
    weights: str,
    limits: dict[str, float],
) -> Manifest:
    config, settings = checkpoint.config, checkpoint.settings
    return Manifest(
        model=ModelRecord(
            variant=checkpoint.variant,
            hidden_size=config.hidden_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            vocab_size=config.vocab_size,
            max_tokens=config.max_position_embeddings,
        ),
        pooling=PoolingRecord(settings.pooling, settings.normalize),
        opset=trace.OPSET,
        default_max_length=checkpoint.max_length,
        precisions={
            name: tuple(path.relative_to(directory).as_posix() for path in paths) for name, paths in files.items()
        },
        files=package.record_files(directory),
        weights_sha256=weights,
        vector_limits=limits,
        prompts=settings.prompts or {},
        default_prompt=settings.default_prompt,
        source=checkpoint.source,
        dense=tuple(
            DenseRecord(package.dense_file(index), module.weight.shape[1], module.weight.shape[0], module.activation)
            for index, module in enumerate(checkpoint.dense)
        ),
        classifier=checkpoint.classifier,
        created_with={"jinabert-onnx": __version__} | {tool.__name__: str(tool.__version__) for tool in _TOOLS},
    )


def _write_card(checkpoint: Checkpoint, manifest: Manifest, directory: Path, log: Log) -> None:
    front = read_front_matter(checkpoint.path, log)
    write_card(manifest, front, directory)
    if front.license is None:
        log(f"the checkpoint's licence is not known: add it to {CARD} before you publish the bundle")
    if (checkpoint.path / CARD).is_file():
        log(f"{CARD} is a new one; the text of the checkpoint's own is not in it")


def _verify(
    manifest: Manifest, directory: Path, cases: Sequence[Case], probes: Probes[Any], task: Task[Any], step: StepLog
) -> Manifest:
    """Verify every precision; record in the bundle what was measured, and what the self-test at load compares with."""
    measured, self_test = {}, {}
    for precision in manifest.precisions:
        with step(f"verifying {precision}") as log:
            agreement = verify_precision(task, Place(directory, precision, "cpu", "auto"), cases, probes)
            log(str(agreement))
            measured[precision] = agreement.to_dict()
            self_test[precision] = agreement.self_test
    package.write_probes(replace(probes, self_test=SelfTest(task.self_test_inputs, self_test)), directory)
    verified = replace(
        manifest,
        files=package.record_files(directory),
        verification={**manifest.verification, **measured},
    )
    package.write_manifest(verified, directory)
    return verified
