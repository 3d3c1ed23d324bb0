"""The README.md of a bundle: the hub reads its metadata, its figures are measured, its code runs, it may be edited."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import Run
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.utils import validate_repo_id
from jinabert_onnx import Embedder
from jinabert_onnx.bundle.manifest import ClassifierRecord, DenseRecord, Manifest, PoolingRecord, open_bundle
from jinabert_onnx_export import export
from jinabert_onnx_export.card.model_card import write_card
from jinabert_onnx_export.checkpoint.front_matter import FrontMatter, read_front_matter
from support.paths import CROSS_ENCODERS
from support.references import cosines

SMALLEST = "plain-12h-bert-prefix"  # one layer
README = """\
---
license: mit
language:
- de
- "no"
tags: [mteb]
model-index: [{name: other, results: []}]
---
# A model of ours
"""
# What the hub's documentation lists for model cards, of which a bundle's uses some.
KNOWN = {
    "base_model", "base_model_relation", "language", "library_name", "license", "license_link", "license_name",
    "pipeline_tag", "tags",
}  # fmt: skip


@pytest.fixture(scope="module")
def exported(
    copy_checkpoint: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """A bundle of a checkpoint with a card of its own, not to be altered, and what the export said."""
    checkpoint, said = copy_checkpoint(SMALLEST), []
    (checkpoint / "README.md").write_text(README)
    bundle = tmp_path_factory.mktemp("exported") / "bundle"
    export(checkpoint, bundle, ("fp32", "int8"), say=said.append)
    return bundle, said


@pytest.fixture
def bundle(exported: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """A copy of it that a test may alter."""
    return Path(shutil.copytree(exported[0], tmp_path / "bundle"))


@pytest.fixture
def manifest(bundle: Path) -> Manifest:
    return open_bundle(bundle).manifest


@pytest.fixture
def write(bundle: Path) -> Callable[..., ModelCard]:
    """Write the card of another manifest, and read it as the hub's library does."""

    def write(manifest: Manifest, **front: object) -> ModelCard:
        write_card(manifest, FrontMatter(**front), bundle)
        return ModelCard.load(bundle / "README.md")

    return write


def code_of(card: ModelCard) -> list[str]:
    return re.findall(r"^```(?:python|js)\n(.*?)^```", card.text, re.M | re.S)


def classified(manifest: Manifest, labels: tuple[str, ...]) -> Manifest:
    """The manifest as that of a cross-encoder."""
    measured = {"max_difference_logits": 1e-6, "max_difference_scores": 1e-7, "rank_correlation": 1.0, "lengths": [[2]]}
    verification = dict.fromkeys(manifest.precisions, measured) | {"published_checkpoint": None}
    return replace(manifest, classifier=ClassifierRecord(labels, "sigmoid", False), verification=verification)


def test_the_metadata_is_what_the_hub_reads(bundle: Path) -> None:
    card = ModelCard.load(bundle / "README.md")
    assert card.data.to_dict() == {
        "language": ["de", "no"],
        "library_name": "transformers.js",
        "license": "mit",
        "pipeline_tag": "feature-extraction",
        "tags": ["sentence-similarity", "sentence-transformers", "onnx", "jinabert-onnx"],
    }
    assert ModelCardData(**card.data.to_dict()).to_dict() == card.data.to_dict()


def test_nothing_is_claimed_that_was_measured_of_the_checkpoint_alone(bundle: Path) -> None:
    text = (bundle / "README.md").read_text("utf-8")
    assert "model-index" not in text
    assert "mteb" not in text


def test_the_export_says_what_became_of_the_checkpoints_own_card(exported: tuple[Path, list[str]]) -> None:
    assert "  README.md is a new one; the text of the checkpoint's own is not in it" in exported[1]
    assert not [line for line in exported[1] if "licence is not known" in line]


def test_the_table_has_what_was_measured(bundle: Path, manifest: Manifest) -> None:
    rows = re.findall(r"^\| (fp32|int8) \| `(.*?)` \| (.*?) MB \| (.*?) \| (.*?) \|$", read_text(bundle), re.M)
    assert [row[0] for row in rows] == ["fp32", "int8"]
    for precision, file, size, difference, cosine in rows:
        assert (bundle / file).stat().st_size / 1e6 == pytest.approx(float(size), abs=0.05)
        measured = manifest.verification[precision]
        assert float(difference) == pytest.approx(measured["max_difference_tokens"], rel=0.06)
        assert float(cosine) == pytest.approx(measured["min_cosine_vectors"], abs=1e-6)


def read_text(bundle: Path) -> str:
    return (bundle / "README.md").read_text("utf-8")


def test_every_file_of_a_precision_is_in_the_table(manifest: Manifest, write: Callable[..., ModelCard]) -> None:
    """Of models over 64 MiB the weights lie beside the graph."""
    files = {**manifest.files, "onnx/model.onnx_data": replace(manifest.files["onnx/model.onnx"], bytes=10**9)}
    names = {**manifest.precisions, "fp32": ("onnx/model.onnx", "onnx/model.onnx_data")}
    card = write(replace(manifest, files=files, precisions=names))
    assert "| fp32 | `onnx/model.onnx`, `onnx/model.onnx_data` | 1000." in card.text


def test_the_code_for_this_runtime_runs(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    exec(code_of(ModelCard.load(bundle / "README.md"))[0].replace("OWNER/NAME", str(bundle)), names)
    expected = Embedder.load(bundle, precision="int8").encode(names["texts"])
    np.testing.assert_array_equal(names["vectors"], expected)
    assert float(capsys.readouterr().out.strip("[]\n")) == pytest.approx(
        cosines(expected[:1], expected[1:])[0], abs=1e-5
    )


@pytest.mark.parametrize("change", [lambda path: path.write_text("---\nlicense: mit\n---\nMine\n"), Path.unlink])
def test_a_bundle_whose_card_was_edited_is_whole(bundle: Path, change: Callable[[Path], object], run: Run) -> None:
    change(bundle / "README.md")
    assert run("verify", bundle).returncode == 0
    assert Embedder.load(bundle, integrity="full").encode("t7").shape == (48,)


def test_force_replaces_the_card_with_the_rest(bundle: Path) -> None:
    before = read_text(bundle)
    (bundle / "README.md").write_text("mine")
    export(Path(CROSS_ENCODERS[-1]), bundle, force=True)
    assert "A reranker" in read_text(bundle) != before


def test_without_a_licence_there_is_none_and_the_text_says_so(
    manifest: Manifest, write: Callable[..., ModelCard]
) -> None:
    card = write(manifest)
    assert card.data.license is None
    assert "Before you publish this bundle, add `license: `" in card.text


def test_the_base_model_is_the_repository_of_the_checkpoint(
    manifest: Manifest, write: Callable[..., ModelCard]
) -> None:
    """Or what the export found the weights to be, before anything that its card says."""
    data = write(replace(manifest, source="owner/model"), base_model=("other/one",)).data
    assert (data.base_model, data.base_model_relation) == ("owner/model", "quantized")
    validate_repo_id(data.base_model)
    known = {**manifest.verification, "published_checkpoint": "jinaai/known"}
    assert write(replace(manifest, verification=known), base_model=("other/one",)).data.base_model == "jinaai/known"


def test_a_bundle_without_int8_is_not_called_quantized(manifest: Manifest, write: Callable[..., ModelCard]) -> None:
    only = {"fp32": manifest.precisions["fp32"]}
    data = write(replace(manifest, source="owner/model", precisions=only)).data.to_dict()
    assert data["base_model"] == "owner/model"
    assert "base_model_relation" not in data


def test_what_a_local_checkpoint_states_as_its_base_is_one_step_further_off(
    manifest: Manifest, write: Callable[..., ModelCard]
) -> None:
    card = write(manifest, base_model=("owner/ancestor",))
    assert card.data.base_model == ["owner/ancestor"]
    assert "base_model_relation" not in card.data.to_dict()
    assert "whose own card names [owner/ancestor](https://huggingface.co/owner/ancestor) as its base model" in card.text


@pytest.mark.parametrize(
    ("labels", "task", "words"),
    [(("LABEL_0",), "text-ranking", "model.rank("), (("no", "maybe", "y|es"), "text-classification", "model.labels")],
)
def test_cross_encoders_have_their_own_task_and_code(
    labels: tuple[str, ...], task: str, words: str, manifest: Manifest, write: Callable[..., ModelCard]
) -> None:
    card = write(classified(manifest, labels))
    assert card.data.pipeline_tag == task
    assert "cross-encoder" in card.data.tags
    ours, theirs, script = code_of(card)
    assert words in ours
    assert "CrossEncoder(" in theirs
    assert "AutoModelForSequenceClassification" in script
    assert "y|es" not in card.text


@pytest.mark.parametrize("name", [path.name for path in CROSS_ENCODERS])
def test_the_code_for_rerankers_and_classifiers_runs(name: str, tmp_path: Path) -> None:
    (checkpoint,) = [path for path in CROSS_ENCODERS if path.name == name]
    export(checkpoint, tmp_path / "out")
    code = code_of(ModelCard.load(tmp_path / "out" / "README.md"))[0]
    names: dict[str, object] = {}
    exec(code.replace("OWNER/NAME", str(tmp_path / "out")), names)
    (shape,) = re.findall(r"# (\(.*\)) float32", code)
    assert str(names["scores"].shape) == shape


@pytest.mark.parametrize("other", ["dense", "max"])
def test_no_code_gives_other_vectors(other: str, manifest: Manifest, write: Callable[..., ModelCard]) -> None:
    dense = (DenseRecord("2_Dense/model.safetensors", 48, 40, "Tanh"),)
    changed = {"dense": replace(manifest, dense=dense), "max": replace(manifest, pooling=PoolingRecord("max", False))}
    card = write(changed[other])
    assert "it would give other vectors" in card.text
    assert len(code_of(card)) == 2


def test_the_code_computes_pooling_and_unit_length_as_the_model_does(
    manifest: Manifest, write: Callable[..., ModelCard]
) -> None:
    card = write(replace(manifest, pooling=PoolingRecord("cls", True), prompts={"query": "t9 "}))
    assert "pooling: 'cls', normalize: true" in code_of(card)[2]
    assert "put them before the texts yourself" in card.text


def test_words_that_transformers_js_splits_otherwise_are_told(
    bundle: Path, manifest: Manifest, write: Callable[..., ModelCard]
) -> None:
    assert "café" not in write(manifest).text
    tokenizer = bundle / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text("utf-8").replace('"WhitespaceSplit"', '"Whitespace"'), "utf-8")
    assert "café" in write(manifest).text


@pytest.mark.parametrize("name", ["a|b`c*d", "<script>", "[x](y)"])
def test_the_name_of_a_checkpoint_is_no_markup(name: str, manifest: Manifest, write: Callable[..., ModelCard]) -> None:
    text = write(replace(manifest, source=name)).text
    assert name not in text
    assert re.search(r"^# [\w.+ -]+, in ONNX$", text, re.M)


def front_matter_of(directory: Path, block: str, text: str = "") -> tuple[FrontMatter, list[str]]:
    said: list[str] = []
    (directory / "README.md").write_bytes(f"---\n{block}\n---\n{text}".encode("utf-8", "surrogateescape"))
    return read_front_matter(directory, said.append), said


def test_a_checkpoints_metadata_may_hold_one_or_several_values(tmp_path: Path) -> None:
    block = "license: cc-by-4.0\nlanguage: de\nbase_model: [owner/one, bert-base-uncased]"
    front, said = front_matter_of(tmp_path, block)
    assert front == FrontMatter("cc-by-4.0", language=("de",), base_model=("owner/one", "bert-base-uncased"))
    assert said == []


@pytest.mark.parametrize(
    "block",
    [
        "license: 3\nlanguage: [no, {de: en}, null]\nbase_model: {a: b}",
        'license: "mit\\n# Title"\nlanguage: ["d e"]\nbase_model: [a/b/c, ../x]\nlicense_link: "javascript:x"',
        "license: [mit, apache-2.0]",
        "",
    ],
)
def test_values_of_another_form_are_left_out(block: str, tmp_path: Path) -> None:
    assert front_matter_of(tmp_path, block) == (FrontMatter(), [])


@pytest.mark.parametrize("block", ["license: [", "- license", "a: " + "[" * 5000, "license: \udcff"])
def test_metadata_that_cannot_be_read_does_not_end_the_export(block: str, tmp_path: Path) -> None:
    front, (line,) = front_matter_of(tmp_path, block)
    assert front == FrontMatter()
    assert "its metadata cannot be read and is left out" in line


def test_all_fields_are_of_the_hubs_list(manifest: Manifest, write: Callable[..., ModelCard]) -> None:
    data = write(
        replace(manifest, source="owner/model"),
        license="other",
        license_name="ours",
        license_link="https://example.org/licence",
        language=("de",),
    ).data.to_dict()
    assert set(data) == KNOWN
    assert data["license_link"] == "https://example.org/licence"
