"""A bundle answers mteb's encoder protocol: batches, prompts, texts that are empty or too long, other input."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import mteb
import numpy as np
import pytest
from datasets import Dataset
from jinabert_onnx import Embedder
from jinabert_onnx.errors import InputError
from jinabert_onnx_eval.mteb.model import BundleEncoder, prompt_name
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import EncoderProtocol
from mteb.types import PromptType
from own_tasks import OwnRetrieval, OwnSTS, english
from torch.utils.data import DataLoader

BUNDLE = Path(__file__).resolve().parents[2] / "build" / "bundles" / "tiny-de-en"


@pytest.fixture(scope="module")
def embedder() -> Iterator[Embedder]:
    with Embedder.load(BUNDLE) as model:
        yield model


@pytest.fixture
def encoder(embedder: Embedder) -> BundleEncoder:
    return BundleEncoder(embedder)


def batches(texts: list[str], size: int = 4) -> DataLoader:
    return DataLoader(Dataset.from_dict({"text": texts}), batch_size=size)


def encode(encoder: BundleEncoder, inputs: object, task: TaskMetadata = OwnSTS.metadata, **more: object) -> np.ndarray:
    return encoder.encode(inputs, task_metadata=task, hf_split="test", hf_subset="default", **more)


def test_a_bundle_is_an_encoder_to_mteb(encoder):
    assert isinstance(encoder, EncoderProtocol)
    assert isinstance(encoder.mteb_model_meta, mteb.models.ModelMeta)


def test_vectors_of_all_batches_come_in_order(encoder, embedder):
    texts = english(11)
    vectors = encode(encoder, batches(texts), batch_size=3)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, embedder.encode(texts), atol=1e-5)
    assert (encoder.read, encoder.cut) == (11, 0)


def test_an_empty_text_has_a_vector_and_no_text_has_none(encoder):
    vectors = encode(encoder, batches(["", "a", ""]))
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)
    assert encode(encoder, []).shape == (0, vectors.shape[1])


def test_texts_beyond_the_limit_are_cut_and_counted(embedder):
    long = " ".join(english(30))
    with Embedder.load(BUNDLE) as model:
        model.max_seq_length = 16
        encoder = BundleEncoder(model)
        vectors = encode(encoder, batches([long, "short"]))
        assert encoder.mteb_model_meta.max_tokens == 16
    assert (encoder.read, encoder.cut) == (2, 1)
    np.testing.assert_allclose(vectors[0], embedder.encode(long, max_length=16, truncation="head"), atol=1e-5)


def test_what_is_not_text_is_refused_by_name(encoder):
    with pytest.raises(InputError, match="OwnSTS gives image; this model reads text only"):
        encode(encoder, [{"image": [object()]}])


def test_an_argument_without_meaning_is_refused(encoder):
    with pytest.raises(InputError, match="precision"):
        encode(encoder, batches(["a"]), precision="binary")


def test_similarities_are_cosines(encoder, embedder):
    first, second = embedder.encode(english(3)), embedder.encode(english(5)[2:])
    cosines = encoder.similarity(first, second).numpy()
    np.testing.assert_allclose(cosines, embedder.similarity(first, second), atol=1e-5)
    np.testing.assert_allclose(encoder.similarity_pairwise(first, second).numpy(), np.diag(cosines), atol=1e-5)


def test_results_are_kept_by_weights_length_and_precision(embedder):
    with Embedder.load(BUNDLE, precision="int8") as model:
        revisions = {BundleEncoder(embedder).mteb_model_meta.revision, BundleEncoder(model).mteb_model_meta.revision}
        model.max_seq_length = 512
        revisions.add(BundleEncoder(model).mteb_model_meta.revision)
    assert len(revisions) == 3
    assert {revision.rpartition("-")[2] for revision in revisions} == {"fp32", "int8"}


def test_prompts_are_chosen_in_mtebs_order():
    prompts = ["T-query", "T", "Retrieval-query", "Retrieval", "query"]
    for first in range(len(prompts)):
        held = dict.fromkeys(reversed(prompts[first:]), "")
        assert prompt_name(held, "T", "Retrieval", "query") == prompts[first]
    assert prompt_name({"query": ""}, "T", "Retrieval", "document") is None
    assert prompt_name({"passage": ""}, "T", "Retrieval", "document") == "passage"
    assert prompt_name({"query": ""}, "T", "STS", None) is None


def test_a_bundles_prompts_stand_before_queries_and_documents(embedder, tmp_path):
    bundle = shutil.copytree(BUNDLE, tmp_path / "bundle")
    manifest = bundle / "manifest.json"
    text = manifest.read_text("utf-8")
    assert '"prompts": {}' in text
    manifest.write_text(text.replace('"prompts": {}', '"prompts": {"query": "Q: ", "passage": "P: "}'), "utf-8")
    with Embedder.load(bundle) as model:
        encoder = BundleEncoder(model)
        for kind, prefix in ((PromptType.query, "Q: "), (PromptType.document, "P: "), (None, "")):
            found = encode(encoder, batches(["a text"]), OwnRetrieval.metadata, prompt_type=kind)
            np.testing.assert_allclose(found[0], embedder.encode(f"{prefix}a text"), atol=1e-5)
        assert encoder.mteb_model_meta.use_instructions
        assert encoder.mteb_model_meta.revision != BundleEncoder(embedder).mteb_model_meta.revision
