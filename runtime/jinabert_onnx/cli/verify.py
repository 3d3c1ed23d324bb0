"""`jinabert-onnx verify`: is the bundle whole, and does it compute here what torch computed at export?"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from jinabert_onnx.bundle import probes, score_agreement
from jinabert_onnx.bundle.hub import resolve
from jinabert_onnx.bundle.integrity import check_files
from jinabert_onnx.bundle.manifest import ALL_FILES, PRECISIONS, Bundle, open_bundle
from jinabert_onnx.cross_encoder import CrossEncoder
from jinabert_onnx.embedder import Embedder
from jinabert_onnx.encoding.load_options import LoadOptions
from jinabert_onnx.errors import BundleError, InputError
from jinabert_onnx.model import Model

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
    verify = _verify_vectors if bundle.manifest.classifier is None else _verify_scores
    for precision in precisions_to_verify(bundle, arguments.precision, arguments.provider):
        options = LoadOptions(
            precision=precision,
            provider=arguments.provider,
            threads=arguments.threads,
            integrity="fast",  # every file was just hashed; what the ONNX file claims of its weights was not read
            self_test=False,  # what follows is more
            revision=arguments.revision,
            local_files_only=arguments.local_files_only,
        )
        verify(bundle, arguments.model, options)
    return 0


def precisions_to_verify(bundle: Bundle, asked: str, provider: str) -> list[str]:
    """The precision asked for, or all that the bundle holds and `provider` can run."""
    if asked != "all":
        return [asked]
    return [name for name in bundle.manifest.precisions if not (name == "int8" and provider == "cuda")]


def _verify_vectors(bundle: Bundle, source: str, options: LoadOptions) -> None:
    expected = probes.read_probes(bundle)
    fp32_difference = probes.allowed_difference(bundle.manifest.verification.get("fp32"))
    with Embedder.load(source, **vars(options)) as model:
        found = probes.probe(model.encode, expected.texts, expected.vectors)
        measured = f"largest difference {found.max_difference:.1e}, smallest cosine {found.min_cosine:.6f}"
        required = probes.required(model.precision, fp32_difference)
        _tell(model, source, measured, None if found.within(model.precision, fp32_difference) else required)


def _verify_scores(bundle: Bundle, source: str, options: LoadOptions) -> None:
    expected = probes.read_pair_probes(bundle)
    fp32_difference = probes.allowed_difference(bundle.manifest.verification.get("fp32"))
    with CrossEncoder.load(source, **vars(options)) as model:
        found = score_agreement.probe_scores(model.logits, expected.texts, expected.vectors, model.activation)
        required = score_agreement.required_scores(model.precision, fp32_difference)
        _tell(model, source, str(found), None if found.within(model.precision, fp32_difference) else required)


def _tell(model: Model, source: str, measured: str, missed: str | None) -> None:
    """Print what was measured; `missed` is what was required and not met, in words."""
    if missed is not None:
        what = "vectors" if model.bundle.manifest.classifier is None else "scores"
        raise BundleError(
            f"{source}: {model.precision} on {model.provider} gives other {what} than torch gave at export "
            f"({measured}; required is {missed}); try another onnxruntime release"
        )
    print(f"{model.precision:<12} agrees with torch on {model.provider}: {measured}")


COMMAND = Command("check the files of a bundle, and what it computes on this machine", _add_arguments, _run)
