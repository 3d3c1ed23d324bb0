"""`jinabert-onnx verify`: is the bundle whole, and does it compute here what torch computed at export?"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from jinabert_onnx.bundle import probes
from jinabert_onnx.bundle.hub import resolve
from jinabert_onnx.bundle.integrity import check_files
from jinabert_onnx.bundle.manifest import ALL_FILES, PRECISIONS, Bundle, open_bundle
from jinabert_onnx.embedder import Embedder
from jinabert_onnx.errors import BundleError, InputError

from .command import Command, add_model_argument, add_provider_options, load_exporter

Against = Callable[[argparse.Namespace], int]


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument(
        "--precision", choices=("all", *PRECISIONS), default="all", help="precision to verify (default: all)"
    )
    add_provider_options(parser)
    parser.add_argument(
        "--against",
        metavar="CHECKPOINT",
        help="run this checkpoint (directory or hub id) in PyTorch and compare; needs the exporter",
    )
    parser.add_argument("--thorough", action="store_true", help="with --against: also compare up to 8192 tokens")


def _run(arguments: argparse.Namespace) -> int:
    if arguments.against is not None:
        against = load_exporter("verify-against")
        assert callable(against)
        return int(against(arguments))
    if arguments.thorough:
        raise InputError("--thorough is for a comparison with torch; give --against CHECKPOINT too")
    bundle = open_bundle(
        resolve(arguments.model, arguments.revision, ALL_FILES, local_files_only=arguments.local_files_only)
    )
    check_files(bundle, bundle.manifest.files, "full")
    print(f"files        {len(bundle.manifest.files)} whole")
    expected = probes.read_probes(bundle)
    fp32_difference = probes.allowed_difference(bundle.manifest.verification.get("fp32"))
    for precision in precisions_to_verify(bundle, arguments.precision, arguments.provider):
        _verify_precision(arguments, precision, expected, fp32_difference)
    return 0


def precisions_to_verify(bundle: Bundle, asked: str, provider: str) -> list[str]:
    """The precision asked for, or all that the bundle holds and `provider` can run."""
    if asked != "all":
        return [asked]
    return [name for name in bundle.manifest.precisions if not (name == "int8" and provider == "cuda")]


def _verify_precision(
    arguments: argparse.Namespace, precision: str, expected: probes.Probes, fp32_difference: float
) -> None:
    loaded = Embedder.load(
        arguments.model,
        precision=precision,
        provider=arguments.provider,
        threads=arguments.threads,
        integrity="fast",  # every file has just been hashed; what the ONNX file claims of its weights has not been read
        self_test=False,  # what follows is more
        revision=arguments.revision,
        local_files_only=arguments.local_files_only,
    )
    with loaded as model:
        found = probes.probe(model.encode, expected.texts, expected.vectors)
    measured = f"largest difference {found.max_difference:.1e}, smallest cosine {found.min_cosine:.6f}"
    if not found.within(precision, fp32_difference):
        raise BundleError(
            f"{arguments.model}: {precision} on {model.provider} gives other vectors than torch gave at export "
            f"({measured}; required is {probes.required(precision, fp32_difference)}); try another onnxruntime release"
        )
    print(f"{precision:<12} agrees with torch on {model.provider}: {measured}")


COMMAND = Command("check the files of a bundle, and the vectors that it computes on this machine", _add_arguments, _run)
