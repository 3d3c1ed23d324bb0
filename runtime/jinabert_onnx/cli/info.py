"""`jinabert-onnx info`: what a bundle holds, what was measured when it was made, and what it actually runs on here."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from jinabert_onnx.bundle.domain_version import read_domain_version
from jinabert_onnx.bundle.fingerprint import fingerprint_of
from jinabert_onnx.bundle.locate import open_source
from jinabert_onnx.bundle.manifest import Bundle, Manifest
from jinabert_onnx.engine.kernels import LAYERS_VERSION
from jinabert_onnx.errors import printable
from jinabert_onnx.model import Model
from jinabert_onnx.model_class import class_of

from .command import Command, add_model_argument, add_runtime_options, load_options

_Column = tuple[str, str, str]  # title, name of the figure in the manifest, and how it is written
_OF_VECTORS: tuple[_Column, ...] = (
    ("against torch: largest difference", "max_difference_tokens", ".1e"),
    ("smallest cosine", "min_cosine_vectors", ".6f"),
)
_OF_SCORES: tuple[_Column, ...] = (
    ("against torch: largest difference of a logit", "max_difference_logits", ".1e"),
    ("of a score", "max_difference_scores", ".1e"),
    ("rank correlation", "rank_correlation", ".6f"),
)
_QUALITY = {  # title of a column: its name in the manifest, and how it is written
    "mean cosine": ("mean_cosine", ".6f"),
    "smallest": ("min_cosine", ".6f"),
    "rank correlation": ("rank_correlation", ".6f"),
    "top-10 overlap": ("top_10_overlap", ".4f"),
    "German finds English": ("german_finds_english", ".1%"),
    "English finds German": ("english_finds_german", ".1%"),
}


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the manifest as it is")
    parser.add_argument("--run", action="store_true", help="also load the model, and show what actually runs here")
    add_runtime_options(parser)


def _run(arguments: argparse.Namespace) -> int:
    bundle = open_source(arguments.model, arguments.revision, arguments.local_files_only)
    if arguments.json:
        print(bundle.manifest.to_json())
    else:  # what a manifest says may be made to command a terminal
        print("\n".join(printable(line) for line in _lines(bundle)))
    if arguments.run:
        with class_of(bundle).load(arguments.model, **vars(load_options(arguments))) as model:
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
    yield _what_it_gives(manifest)
    yield f"text         up to {model.max_tokens} tokens, cut to {manifest.default_max_length} by default"
    if manifest.classifier is None:
        yield f"prompts      {', '.join(manifest.prompts) or 'none'}"
    yield f"made with    {', '.join(f'{name} {version}' for name, version in manifest.created_with.items())}"
    yield f"opset        {manifest.opset}"
    yield f"space        {fingerprint_of(manifest, 'fp32', manifest.default_max_length).space}"
    yield ""
    yield from _precisions(manifest)
    yield from _without_layers(bundle)
    yield from _errors(manifest)
    yield from _quality(manifest)


def _without_layers(bundle: Bundle) -> Iterator[str]:
    """Advise to export an int8 graph again that has no layers for native kernels; one that is not here is not read."""
    names = bundle.manifest.precisions.get("int8")
    version = read_domain_version(bundle.path / names[0]) if names else None
    if version is not None and version < LAYERS_VERSION:
        yield (
            f"int8 has version {version} of the operators, with attention alone for native kernels; export the bundle "
            "again to have its layers computed by them too"
        )


def _errors(manifest: Manifest) -> Iterator[str]:
    """How far fp32 and torch's float32 are off from float64, where the exporter needed to know."""
    ours, torchs = (_measured(manifest.verification.get("fp32"), name) for name in ("max_error", "max_error_torch"))
    if ours is not None and torchs is not None:
        yield f"fp32 against float64: largest error {ours:.1e}, of torch's own float32 {torchs:.1e}"


def _quality(manifest: Manifest) -> Iterator[str]:
    """Show what `jinabert-onnx eval precisions --record` wrote into the manifest, if anything."""
    texts, found = (manifest.quality.get(name) for name in ("texts", "precisions"))
    if not isinstance(texts, dict) or not isinstance(found, dict):
        return
    yield ""
    yield f"quality beside fp32, on {texts.get('file')} (sha256 {str(texts.get('sha256'))[:12]})"
    yield f"{'precision':<10}" + "".join(f"  {title:>{len(title)}}" for title in _QUALITY)
    for precision, figures in found.items():
        cells = (_cell(_measured(figures, name), form) for name, form in _QUALITY.values())
        yield f"{precision:<10}" + "".join(
            f"  {cell:>{len(title)}}" for title, cell in zip(_QUALITY, cells, strict=True)
        )


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _running(model: Model) -> Iterator[str]:
    yield ""
    yield "here"
    yield f"precision    {model.precision} ({model.precision_reason})"
    yield f"provider     {model.provider} ({model.provider_reason}){_nodes(model)}"
    yield f"threads      {model.threads} ({model.threads_reason})"
    yield f"attention    {model.kernels.attention} ({model.kernels.reason})"
    yield f"layers       {model.kernels.layers} ({model.kernels.layers_reason})"
    yield f"fingerprint  {model.fingerprint}"


def _nodes(model: Model) -> str:
    """Say where the nodes of the graph are, in words."""
    if model.nodes is None:
        return ", nodes of the graph: unknown to this onnxruntime"
    return ", nodes of the graph: " + ", ".join(f"{count} on {name}" for name, count in model.nodes.items())


def _what_it_gives(manifest: Manifest) -> str:
    if manifest.classifier is not None:
        labels = manifest.classifier.labels
        names = f"{len(labels)} labels ({', '.join(labels)})" if len(labels) > 1 else "one score"
        return f"scores       {names} of a pair of texts, {manifest.classifier.activation} of logits"
    pooling = manifest.pooling
    dense = "".join(f", Dense to {record.out_features} channels ({record.activation})" for record in manifest.dense)
    length = "of length 1" if pooling.normalize else "not normalised"
    return f"vectors      {manifest.dimensions} channels, {pooling.mode} pooling{dense}, {length}"


def _precisions(manifest: Manifest) -> Iterator[str]:
    columns = _OF_VECTORS if manifest.classifier is None else _OF_SCORES
    yield f"{'precision':<10} {'size':>10}  {'  '.join(title for title, _, _ in columns)}"
    for precision, names in manifest.precisions.items():
        size = sum(manifest.files[name].bytes for name in names)
        measured = manifest.verification.get(precision)
        cells = (f"{_cell(_measured(measured, name), form):<{len(title)}}" for title, name, form in columns)
        yield f"{precision:<10} {size / 1e6:>7.1f} MB  {'  '.join(cells)}".rstrip()


def _measured(found: object, name: str) -> float | None:
    """A figure of the verification, which the manifest may hold or not."""
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, float) else None


COMMAND = Command("show what a bundle holds", _add_arguments, _run)
