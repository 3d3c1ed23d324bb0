"""`jinabert-onnx info`: what a bundle holds, what was measured when it was made, and what it really runs on here."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from jinabert_onnx.bundle import Bundle
from jinabert_onnx.embedder import Embedder
from jinabert_onnx.errors import printable
from jinabert_onnx.fingerprint import fingerprint_of
from jinabert_onnx.opening import open_source

from .command import Command, add_model_argument, add_runtime_options, load_embedder


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the manifest as it is")
    parser.add_argument("--run", action="store_true", help="load the model too, and tell what really runs here")
    add_runtime_options(parser)


def _run(arguments: argparse.Namespace) -> int:
    bundle = open_source(arguments.model, arguments.revision, arguments.local_files_only)
    if arguments.json:
        print(bundle.manifest.to_json())
    else:  # what a manifest says may be made to command a terminal
        print("\n".join(printable(line) for line in _lines(bundle)))
    if arguments.run:
        with load_embedder(arguments) as model:
            print("\n".join(_running(model)))
    return 0


def _lines(bundle: Bundle) -> Iterator[str]:
    manifest, model = bundle.manifest, bundle.manifest.model
    yield f"bundle       {bundle.path}"
    yield f"source       {manifest.source or 'unknown'}"
    yield (
        f"model        {model.variant} JinaBERT, {model.num_hidden_layers} layers, {model.num_attention_heads} heads, "
        f"{model.vocab_size} tokens in the vocabulary"
    )
    yield f"vectors      {model.hidden_size} channels, {_pooling(bundle)}"
    yield f"text         up to {model.max_tokens} tokens, cut to {manifest.default_max_length} by default"
    yield f"prompts      {', '.join(manifest.prompts) or 'none'}"
    yield f"made with    {', '.join(f'{name} {version}' for name, version in manifest.created_with.items())}"
    yield f"opset        {manifest.opset}"
    yield f"space        {fingerprint_of(manifest, 'fp32', manifest.default_max_length).space}"
    yield ""
    yield f"{'precision':<10} {'size':>10}  {'against torch: largest difference':<34} smallest cosine"
    for precision in manifest.precisions:
        yield _precision_row(bundle, precision)


def _running(model: Embedder) -> Iterator[str]:
    yield ""
    yield "here"
    yield f"precision    {model.precision} ({model.precision_reason})"
    yield f"provider     {model.provider} ({model.provider_reason}){_nodes(model)}"
    yield f"threads      {model.threads} ({model.threads_reason})"
    yield f"fingerprint  {model.fingerprint}"


def _nodes(model: Embedder) -> str:
    """Where the nodes of the graph are, in words."""
    if model.nodes is None:
        return ", of how many nodes this onnxruntime does not tell"
    return ", nodes of the graph: " + ", ".join(f"{count} on {name}" for name, count in model.nodes.items())


def _pooling(bundle: Bundle) -> str:
    pooling = bundle.manifest.pooling
    return f"{pooling.mode} pooling, {'of length 1' if pooling.normalize else 'not normalised'}"


def _precision_row(bundle: Bundle, precision: str) -> str:
    manifest = bundle.manifest
    size = sum(manifest.files[name].bytes for name in manifest.precisions[precision])
    difference, cosine = (
        _measured(manifest.verification.get(precision), name)
        for name in ("max_difference_tokens", "min_cosine_vectors")
    )
    return (
        f"{precision:<10} {size / 1e6:>7.1f} MB  {'' if difference is None else f'{difference:.1e}':<34} "
        f"{'' if cosine is None else f'{cosine:.6f}'}"
    )


def _measured(found: object, name: str) -> float | None:
    """A figure of the verification, which the manifest may hold or not."""
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, float) else None


COMMAND = Command("show what a bundle holds", _add_arguments, _run)
