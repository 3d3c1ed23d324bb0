"""`README.md` of a bundle: its model card, with metadata that the Hugging Face hub reads.

Made of the manifest, and of what the checkpoint's own card says of licence, languages and base model. It has no record
in the manifest, so that it may be edited. Knows nothing of torch.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import ModelCardData
from jinabert_onnx.bundle.hub import is_hub_id
from jinabert_onnx.bundle.manifest import CARD, TOKENIZER, Manifest

from jinabert_onnx_export.checkpoint.front_matter import FrontMatter
from jinabert_onnx_export.errors import name_some

from . import snippets

_HUB = "https://huggingface.co"
_NOTES = {
    "fp32": "fp32 is the function that PyTorch computes in float32.",
    "fp16": "fp16 is for GPUs.",
    "int8": "int8 is for CPUs: smaller and faster, and close to fp32, not equal.",
}
_NO_MIXING = "Do not mix int8 and other vectors in one index without measuring what that costs."
_NO_LICENCE = (
    "The licence of the checkpoint is not known here. Before you publish this bundle, add `license: ` and its name to "
    "the block at the top of this file, and replace this paragraph."
)
_NO_TEXT = (
    "What the model was trained on and for, and what its limits are, is not known here: add what its users should know."
)


@dataclass(frozen=True)
class _Origin:
    """The checkpoint's name, its id if it is on the hub, and what its own card names as its base model."""

    name: str
    hub_id: str | None
    stated: tuple[str, ...]


def write_card(manifest: Manifest, front: FrontMatter, directory: Path) -> None:
    """Write the card of the bundle in `directory`, whose tokenizer must stand there."""
    origin = _origin(manifest, front)
    sections = (
        f"---\n{_metadata(manifest, front, origin).to_yaml(line_break=chr(10))}\n---",
        f"# {origin.name}, in ONNX",
        _introduction(manifest, origin),
        f"## Precisions\n\n{_precisions(manifest)}",
        f"## Use\n\n{_use(manifest, directory)}",
        f"## Licence and origin\n\n{_licence(front, origin)}",
    )
    (directory / CARD).write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _origin(manifest: Manifest, front: FrontMatter) -> _Origin:
    source = manifest.source or "checkpoint"
    published = manifest.verification.get("published_checkpoint")
    hub_id = source if is_hub_id(source) else published
    return _Origin(_plain(source.rpartition("/")[2]), hub_id, front.base_model)


def _metadata(manifest: Manifest, front: FrontMatter, origin: _Origin) -> ModelCardData:
    """Return the hub's metadata, without what is not known.

    Its library is transformers.js, which looks for graphs where they lie and for no weights of PyTorch.
    """
    labels = 0 if manifest.classifier is None else manifest.dimensions
    task = {0: "feature-extraction", 1: "text-ranking"}.get(labels, "text-classification")
    kind = {0: ["sentence-similarity"], 1: ["reranker", "cross-encoder"]}.get(labels, ["cross-encoder"])
    quantized = origin.hub_id is not None and "int8" in manifest.precisions
    return ModelCardData(
        license=front.license,
        license_name=front.license_name,
        license_link=_licence_link(front, origin),
        language=list(front.language) or None,
        library_name="transformers.js",
        pipeline_tag=task,
        tags=[*kind, "sentence-transformers", "onnx", "jinabert-onnx"],
        base_model=origin.hub_id or list(origin.stated) or None,
        base_model_relation="quantized" if quantized else None,
    )


def _licence_link(front: FrontMatter, origin: _Origin) -> str | None:
    """Return the address of the licence; a file beside the checkpoint is not in the bundle."""
    link = front.license_link
    if link is None or link.startswith(("https://", "http://")):
        return link
    return None if origin.hub_id is None else f"{_HUB}/{origin.hub_id}/blob/main/{link}"


def _introduction(manifest: Manifest, origin: _Origin) -> str:
    version = manifest.created_with["jinabert-onnx"]
    return (
        f"{_purpose(manifest)} It is {_checkpoint(origin)} as ONNX graphs, which run without PyTorch.\n\n"
        f"Exported by jinabert-onnx {version}, which compared every graph with PyTorch before it wrote this. No code "
        "comes with it: `trust_remote_code` is not needed."
    )


def _purpose(manifest: Manifest) -> str:
    limit = f"up to {manifest.default_max_length} tokens"
    if manifest.classifier is None:
        length = "of length 1" if manifest.pooling.normalize else "not of length 1, so compare them by cosine"
        return f"An embedding model: texts of {limit} become vectors of {manifest.dimensions} numbers ({length})."
    labels = manifest.classifier.labels
    if len(labels) == 1:
        return f"A reranker: a query and a document of together {limit} become one score, higher for a better match."
    names = name_some([f"`{_plain(label)}`" for label in labels], 20)
    return (
        f"A classifier: a text, or a pair of texts, of {limit} gets a score for each of {len(labels)} labels ({names})."
    )


def _checkpoint(origin: _Origin) -> str:
    if origin.hub_id is not None:
        return f"the checkpoint {_link(origin.hub_id)}"
    made_from = f", whose own card names {name_some([_link(name) for name in origin.stated])} as its base model,"
    return f"the checkpoint `{origin.name}`{made_from if origin.stated else ''}"


def _precisions(manifest: Manifest) -> str:
    columns = _columns(manifest)
    lines = [f"| precision | files | size | {' | '.join(columns)} |", "|---" * (3 + len(columns)) + "|"]
    for precision, files in manifest.precisions.items():
        size = sum(manifest.files[name].bytes for name in files) / 1e6
        measured = manifest.verification[precision]
        cells = (f"{measured[field]:{form}}" for field, form in columns.values())
        names = ", ".join(f"`{name}`" for name in files)
        lines.append(f"| {precision} | {names} | {size:.1f} MB | {' | '.join(cells)} |")
    return "\n".join(lines) + f"\n\n{_notes(manifest)}"


def _notes(manifest: Manifest) -> str:
    notes = [_NOTES[precision] for precision in manifest.precisions]
    if manifest.classifier is None and "int8" in manifest.precisions and len(notes) > 1:
        notes.append(_NO_MIXING)
    batches = (batch for precision in manifest.precisions for batch in manifest.verification[precision]["lengths"])
    return (
        f"{' '.join(notes)}\n\nThe figures compare with PyTorch's float32, at export, on texts and random tokens of up "
        f"to {max(map(max, batches))} tokens, alone and in batches. They say how exact the arithmetic is, and nothing "
        "of the model's quality."
    )


def _columns(manifest: Manifest) -> dict[str, tuple[str, str]]:
    """Return the headings of what was measured, each with its field in the manifest and the form of its numbers."""
    if manifest.classifier is None:
        return {
            "largest difference of a token embedding": ("max_difference_tokens", ".1e"),
            "smallest cosine of a text's vector": ("min_cosine_vectors", ".6f"),
        }
    return {
        "largest difference of a logit": ("max_difference_logits", ".1e"),
        "of a score": ("max_difference_scores", ".1e"),
        "rank correlation": ("rank_correlation", ".6f"),
    }


def _use(manifest: Manifest, directory: Path) -> str:
    parts = (
        "`OWNER/NAME` stands for the id of this repository on the hub. In Python it may be the path of a copy.",
        "### jinabert-onnx",
        "    pip install 'jinabert-onnx[cpu]'",
        f"```python\n{snippets.code_for_runtime(manifest)}```",
        "### sentence-transformers",
        "    pip install 'sentence-transformers[onnx]==5.7.0'",
        f"```python\n{snippets.code_for_sentence_transformers(manifest)}```",
        'There are no weights for PyTorch here, so `backend="onnx"` is needed.',
        "### transformers.js",
        *_use_of_javascript(manifest, directory),
    )
    return "\n\n".join(parts)


def _use_of_javascript(manifest: Manifest, directory: Path) -> list[str]:
    code = snippets.code_for_transformers_js(manifest)
    if code is None:
        reason = "layers after pooling" if manifest.dense else "way of pooling (max)"
        return [f"transformers.js does not have this model's {reason}, so it would give other vectors."]
    notes = ["Always give `dtype`: the default in a browser is a file that is not here."]
    if manifest.classifier is not None and manifest.classifier.activation != "identity":
        notes.append(f"Scores are the {manifest.classifier.activation} of these logits.")
    if manifest.prompts:
        notes.append("Prompts (`prompts` in `manifest.json`) are not applied: put them before the texts yourself.")
    if _splits_words_otherwise(directory):
        notes.append(
            "Words with letters beyond ASCII, such as “café”, are split otherwise than this model's tokenizer does it, "
            "so texts with such words come out differently."
        )
    return ["    npm install @huggingface/transformers@4.3.1", f"```js\n{code}```", " ".join(notes)]


def _splits_words_otherwise(directory: Path) -> bool:
    """Return whether transformers.js reads this tokenizer differently (`tests/readers/test_cross_encoders.py`)."""
    return '"type": "Whitespace"' in json.dumps(json.loads((directory / TOKENIZER).read_bytes()).get("pre_tokenizer"))


def _licence(front: FrontMatter, origin: _Origin) -> str:
    licence = _NO_LICENCE
    if front.license is not None:
        name = front.license_name or front.license
        licence = f"The weights are the checkpoint's, whose own card states the licence `{name}`."
    if origin.hub_id is None:
        return f"{licence}\n\n{_NO_TEXT}"
    return (
        f"{licence}\n\nWhat the model was trained on and for, and its limits: see the card of {_link(origin.hub_id)}."
    )


def _link(name: str) -> str:
    return f"[{name}]({_HUB}/{name})"


def _plain(text: str) -> str:
    """Return a name of the checkpoint without what Markdown would take for marks."""
    return re.sub(r"[^\w.+ -]", "_", text)
