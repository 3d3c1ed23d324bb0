"""Other programs score pairs with the bundles of cross-encoders as exported, and give the original's scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from snippets import Job, run_python
from support.pair_goldens import NAMES, read_pair_golden

ENVIRONMENT = ".venv-peers-transformers"
LONGEST = 300  # tokens of a pair

SENTENCE_TRANSFORMERS = """
from sentence_transformers import CrossEncoder

model = CrossEncoder("bundle", backend="onnx", model_kwargs={"file_name": "onnx/model.onnx"}, device="cpu")
vectors = model.predict(pairs)
"""
OPTIMUM = """
import torch
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoTokenizer

model = ORTModelForSequenceClassification.from_pretrained("bundle", subfolder="onnx", file_name="model.onnx")
tokenizer = AutoTokenizer.from_pretrained("bundle")
logits = model(**tokenizer(pairs, padding=True, return_tensors="pt")).logits
vectors = torch.sigmoid(logits) if model.config.num_labels == 1 else torch.softmax(logits, dim=-1)
"""
ONNXRUNTIME = """
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

session = onnxruntime.InferenceSession("bundle/onnx/model.onnx", providers=["CPUExecutionProvider"])
wanted = {value.name for value in session.get_inputs()}
tokenizer = Tokenizer.from_file("bundle/tokenizer.json")
vectors = []
for encoding in tokenizer.encode_batch(pairs):
    given = {"input_ids": encoding.ids, "attention_mask": encoding.attention_mask, "token_type_ids": encoding.type_ids}
    (logits,), = session.run(["logits"], {name: np.array([given[name]]) for name in wanted})
    scores = 1 / (1 + np.exp(-logits)) if len(logits) == 1 else np.exp(logits) / np.exp(logits).sum()
    vectors.append(scores)
"""
READERS = {"sentence-transformers": SENTENCE_TRANSFORMERS, "optimum": OPTIMUM, "onnxruntime": ONNXRUNTIME}


@pytest.fixture(scope="module", params=READERS)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What one program gives for the pairs of each golden."""
    jobs = {}
    for name in NAMES:
        golden = read_pair_golden(name)
        pairs = [list(golden.pairs[index]) for index in chosen(name)]
        directory = tmp_path_factory.mktemp(name)
        (directory / "bundle").symlink_to(golden.bundle)
        given = f"import json\npairs = [tuple(pair) for pair in json.loads({json.dumps(pairs)!r})]\n"
        jobs[name] = Job(given + READERS[request.param], directory, Path(directory) / "scores.npy")
    run_python(ENVIRONMENT, list(jobs.values()))
    return {name: np.load(job.output) for name, job in jobs.items()}


def chosen(name: str) -> list[int]:
    """The pairs that are short; none of them has an empty text, which some tokenizers take for none."""
    golden = read_pair_golden(name)
    return [
        index
        for index, (pair, length) in enumerate(zip(golden.pairs, golden.lengths, strict=True))
        if isinstance(pair, tuple) and all(pair) and length <= LONGEST
    ]


@pytest.mark.parametrize("name", NAMES)
def test_other_programs_give_the_originals_scores(found: dict[str, np.ndarray], name: str) -> None:
    expected = read_pair_golden(name).scores[chosen(name)]
    assert len(expected) > 8
    np.testing.assert_allclose(found[name].reshape(expected.shape), expected, rtol=0, atol=2e-5)
