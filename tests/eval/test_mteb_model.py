"""A bundle as a model of mteb: its encoder protocol, and tasks of each type."""

from __future__ import annotations

import re

import mteb
import numpy as np
import pytest
from datasets import Dataset
from jinabert_onnx import Embedder
from jinabert_onnx.errors import InputError
from jinabert_onnx_eval.mteb.model import BundleEncoder
from mteb.abstasks import AbsTask
from mteb.models import EncoderProtocol
from mteb.types import PromptType
from own_tasks import TEXT_TYPES, english, german, metadata, own_task
from scipy.stats import spearmanr
from support.paths import ROOT, TRAINED
from torch.utils.data import DataLoader


@pytest.fixture
def encoder(model: Embedder) -> BundleEncoder:
    return BundleEncoder(model)


def batches(texts: list[str], size: int = 4) -> DataLoader:
    return DataLoader(Dataset.from_dict({"text": texts}), batch_size=size)


def encode(encoder: BundleEncoder, inputs: object, task_type: str = "STS", **more: object) -> np.ndarray:
    return encoder.encode(inputs, task_metadata=metadata(task_type), hf_split="test", hf_subset="default", **more)


def test_a_bundle_is_an_encoder_to_mteb(encoder):
    assert isinstance(encoder, EncoderProtocol)
    assert isinstance(encoder.mteb_model_meta, mteb.models.ModelMeta)


def test_vectors_of_all_batches_come_in_order(encoder, model):
    texts = english(11)
    vectors = encode(encoder, batches(texts), batch_size=3)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, model.encode(texts), atol=1e-5)
    assert (encoder.read, encoder.cut) == (11, 0)


def test_an_empty_text_has_a_vector_and_no_text_has_none(encoder):
    vectors = encode(encoder, batches(["", "a", ""]))
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)
    assert encode(encoder, []).shape == (0, vectors.shape[1])


def test_texts_beyond_the_limit_are_cut_and_counted(model):
    long = " ".join(english(30))
    with Embedder.load(TRAINED) as short:
        short.max_seq_length = 16
        encoder = BundleEncoder(short)
        vectors = encode(encoder, batches([long, "short"]))
        assert encoder.mteb_model_meta.max_tokens == 16
    assert (encoder.read, encoder.cut) == (2, 1)
    np.testing.assert_allclose(vectors[0], model.encode(long, max_length=16, truncation="head"), atol=1e-5)


def test_what_is_not_text_is_refused_by_name(encoder):
    with pytest.raises(InputError, match="OwnSTS gives image; this model reads text only"):
        encode(encoder, [{"image": [object()]}])


def test_an_argument_without_meaning_is_refused(encoder):
    with pytest.raises(InputError, match="precision"):
        encode(encoder, batches(["a"]), precision="binary")


def test_similarities_are_cosines(encoder, model):
    first, second = model.encode(english(3)), model.encode(english(5)[2:])
    cosines = encoder.similarity(first, second).numpy()
    np.testing.assert_allclose(cosines, model.similarity(first, second), atol=1e-5)
    np.testing.assert_allclose(encoder.similarity_pairwise(first, second).numpy(), np.diag(cosines), atol=1e-5)


def test_results_are_kept_by_weights_length_and_precision(model):
    with Embedder.load(TRAINED, precision="int8") as int8:
        revisions = {BundleEncoder(model).mteb_model_meta.revision, BundleEncoder(int8).mteb_model_meta.revision}
        int8.max_seq_length = 512
        revisions.add(BundleEncoder(int8).mteb_model_meta.revision)
    assert len(revisions) == 3
    assert {revision.rpartition("-")[2] for revision in revisions} == {"fp32", "int8"}


def test_a_bundles_prompts_stand_before_queries_and_documents(model, trained_copy):
    manifest = trained_copy / "manifest.json"
    text = manifest.read_text("utf-8")
    assert '"prompts": {}' in text
    manifest.write_text(
        text.replace('"prompts": {}', '"prompts": {"query": "Q: ", "passage": "P: ", "STS": "S: "}'), "utf-8"
    )
    with Embedder.load(trained_copy) as prompted:
        encoder = BundleEncoder(prompted)
        chosen = (
            ("Retrieval", PromptType.query, "Q: "),
            ("Retrieval", PromptType.document, "P: "),
            ("STS", None, "S: "),
        )
        for task_type, kind, prefix in (*chosen, ("Retrieval", None, "")):
            found = encode(encoder, batches(["a text"]), task_type, prompt_type=kind)
            np.testing.assert_allclose(found[0], model.encode(f"{prefix}a text"), atol=1e-5)
        assert encoder.mteb_model_meta.use_instructions
        assert encoder.mteb_model_meta.revision != BundleEncoder(model).mteb_model_meta.revision


def scores_of(encoder: BundleEncoder, task: AbsTask) -> list[dict[str, float]]:
    """The scores of each subset."""
    (result,) = mteb.evaluate(encoder, task, cache=None, co2_tracker=False, show_progress_bar=False).task_results
    return result.scores["test"]


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor")  # mteb's, of what its own cosine gave it
@pytest.mark.parametrize("task_type", TEXT_TYPES)
def test_every_type_of_task_is_run_and_found_good(encoder, task_type):
    least = {"Classification": 0.7, "Clustering": 0.8, "STS": 0.8, "Summarization": 0.8}.get(task_type, 0.95)
    for scores in scores_of(encoder, own_task(task_type)):
        assert scores["main_score"] >= least


def test_scores_are_those_of_the_vectors_that_encode_gives(encoder, model):
    first, second = model.encode(english(24)), model.encode(german(24))
    cosines = np.diag(model.similarity(np.vstack([first, first]), np.vstack([second, np.roll(second, -1, axis=0)])))
    expected = spearmanr([5.0] * 24 + [0.0] * 24, cosines).statistic
    (scores,) = scores_of(encoder, own_task("STS"))
    assert scores["cosine_spearman"] == pytest.approx(expected, abs=1e-5)


def test_the_task_in_the_guide_runs(encoder):
    guide = (ROOT / "docs" / "guides" / "mteb.md").read_text("utf-8")
    (block,) = re.findall(r"^```python\n((?:(?!^```).)*class Support.*?)^```", guide, re.M | re.S)
    names: dict[str, type[AbsTask]] = {}
    exec(block, names)
    (scores,) = scores_of(encoder, names["Support"]())
    assert np.isfinite(scores["main_score"])
