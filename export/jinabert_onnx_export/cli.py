"""The exporter's part of the command line: `export`, `demo`, and `verify --against`.

Importing this module loads no torch, so that help is quick and can name what to install.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from types import ModuleType

from jinabert_onnx import Embedder
from jinabert_onnx.bundle.manifest import PRECISIONS, Manifest
from jinabert_onnx.cli.command import Command
from jinabert_onnx.errors import needed

from . import demo

PUBLISHED = "jinaai/jina-embeddings-v2-base-de"


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def import_needing_torch(module: str) -> ModuleType:
    """Import a module that needs torch or onnx, only when it runs.

    Raises:
        MissingDependencyError: they are not installed.
    """
    from importlib import import_module

    with needed("exporting needs more packages", "cpu,export", "install them"):
        return import_module(module)


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="SOURCE", help=f"directory of a checkpoint, or its hub id such as {PUBLISHED}"
    )
    parser.add_argument("output", metavar="OUTPUT", help="directory to create")
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=PRECISIONS,
        default=["fp32"],
        help="precisions to export: fp32 (exact), int8 (smaller and faster, CPUs only), fp16 (GPUs) (default: fp32)",
    )
    parser.add_argument("--revision", help="branch, tag or commit, for a hub id")
    parser.add_argument("--force", action="store_true", help="replace an existing bundle at OUTPUT, with its README.md")
    parser.add_argument("--thorough", action="store_true", help="also verify up to 8192 tokens (slower)")
    parser.add_argument(
        "--calibration",
        metavar="FILE",
        help="texts like yours, one per line (of a reranker: query and document with a tab between them), to calibrate "
        "int8 on (default: built-in texts)",
    )
    parser.epilog = (
        "The bundle's README.md is a model card for the Hugging Face hub, and may be edited. Read it, above all its "
        "licence, then upload the bundle as it stands: hf upload OWNER/NAME OUTPUT --private"
    )


def _run_export(arguments: argparse.Namespace) -> int:
    manifest = import_needing_torch("jinabert_onnx_export.pipeline").export(
        arguments.source,
        arguments.output,
        arguments.precision,
        revision=arguments.revision,
        force=arguments.force,
        thorough=arguments.thorough,
        calibration=arguments.calibration,
        say=_log,
    )
    print(_summary(manifest, arguments.output))
    return 0


def _summary(manifest: Manifest, output: str) -> str:
    published = manifest.verification["published_checkpoint"]
    lines = [f"{output}: exported {manifest.source} and verified it against torch"]
    if published:
        lines.append(f"its {'vectors' if manifest.classifier is None else 'scores'} are those known of {published}")
    for precision in manifest.precisions:
        size = sum(manifest.files[name].bytes for name in manifest.precisions[precision])
        lines.append(f"  {precision:<5} {size / 1e6:8.1f} MB   {_in_words(manifest, precision)}")
    return "\n".join(lines)


def _in_words(manifest: Manifest, precision: str) -> str:
    measured = manifest.verification[precision]
    if manifest.classifier is None:
        return (
            f"largest difference of a token {measured['max_difference_tokens']:.1e}   smallest cosine of a text "
            f"{measured['min_cosine_vectors']:.6f}"
        )
    return (
        f"largest difference of a logit {measured['max_difference_logits']:.1e}, of a score "
        f"{measured['max_difference_scores']:.1e}   rank correlation {measured['rank_correlation']:.6f}"
    )


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="SOURCE", nargs="?", default=PUBLISHED, help="checkpoint or hub id (default: %(default)s)"
    )
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        nargs="?",
        default="demo-bundle",
        help="directory to create; a bundle that is there is replaced (default: %(default)s)",
    )


def _run_demo(arguments: argparse.Namespace) -> int:
    bundle = Path(arguments.output)
    manifest = import_needing_torch("jinabert_onnx_export.pipeline").export(
        arguments.source, bundle, ("fp32", "int8"), force=True, say=_log
    )
    print(f"\n{_summary(manifest, arguments.output)}\n\n{demo.german_texts()}")
    for precision in manifest.precisions:
        print(f"\n{precision}: cosine of each English text (row) with each German text (column)")
        print(demo.similarities(Embedder.load(bundle, precision=precision)))
    print(f"\n{demo.next_steps(bundle)}")
    return 0


def verify_against(arguments: argparse.Namespace) -> int:
    """Run `jinabert-onnx verify BUNDLE --against CHECKPOINT`; return the exit code."""
    return int(import_needing_torch("jinabert_onnx_export.verify.verify_checkpoint").verify_against(arguments, _log))


EXPORT = Command("export a JinaBERT checkpoint to a bundle, verified against PyTorch", _add_export, _run_export)
DEMO = Command(
    "export a checkpoint, embed German and English texts with it, and print commands to try next", _add_demo, _run_demo
)
