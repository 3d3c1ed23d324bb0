"""Code of the model card: a few lines each for this runtime, sentence-transformers and transformers.js.

`OWNER/NAME` stands for the bundle. Knows nothing of the rest of the card.
"""

from __future__ import annotations

from jinabert_onnx.bundle.manifest import Manifest

_PREFERRED = ("int8", "fp32", "fp16")  # what runs best where most people try a model, on a CPU

_EMBEDDER = """\
from jinabert_onnx import Embedder

texts = ["How is the weather today?", "Wie ist das Wetter heute?"]
model = Embedder.load("OWNER/NAME", precision="{precision}")
vectors = model.encode(texts)  # (2, {dimensions}) float32
print(model.similarity(vectors[:1], vectors[1:]))
"""
_SENTENCE_TRANSFORMER = """\
from sentence_transformers import SentenceTransformer

texts = ["How is the weather today?", "Wie ist das Wetter heute?"]
options = {{"file_name": "{file}"}}
model = SentenceTransformer("OWNER/NAME", backend="onnx", device="{device}", model_kwargs=options)
vectors = model.encode(texts)
"""
_FEATURE_EXTRACTION = """\
import {{ pipeline }} from '@huggingface/transformers';

const texts = ['How is the weather today?', 'Wie ist das Wetter heute?'];
const extract = await pipeline('feature-extraction', 'OWNER/NAME', {{ dtype: '{precision}' }});
const output = await extract(texts, {{ pooling: '{pooling}', normalize: {normalize} }});
const vectors = output.tolist();
"""
_PAIRS = (
    'pairs = [("How is the weather today?", "The sun is shining."), ("How is the weather today?", "Apples and pears")]'
)
_CROSS_ENCODER = (
    """\
from jinabert_onnx import CrossEncoder

"""
    + _PAIRS
    + """
model = CrossEncoder.load("OWNER/NAME", precision="{precision}")
scores = model.predict(pairs)  # {shape} float32
"""
)
_RANK = 'print(model.rank("How is the weather today?", ["Apples and pears", "The sun is shining."]))\n'
_LABELS = "print(model.labels, scores)\n"
_SENTENCE_CROSS_ENCODER = (
    """\
from sentence_transformers import CrossEncoder

"""
    + _PAIRS
    + """
options = {{"file_name": "{file}"}}
model = CrossEncoder("OWNER/NAME", backend="onnx", device="{device}", model_kwargs=options)
scores = model.predict(pairs)
"""
)
_SEQUENCE_CLASSIFICATION = """\
import {{ AutoModelForSequenceClassification, AutoTokenizer }} from '@huggingface/transformers';

const pairs = [['How is the weather today?', 'The sun is shining.'], ['How is the weather today?', 'Apples and pears']];
const tokenizer = await AutoTokenizer.from_pretrained('OWNER/NAME');
const model = await AutoModelForSequenceClassification.from_pretrained('OWNER/NAME', {{ dtype: '{precision}' }});
const [queries, documents] = [0, 1].map((column) => pairs.map((pair) => pair[column]));
const tokens = tokenizer(queries, {{ text_pair: documents, padding: true, truncation: true }});
const logits = (await model(tokens)).logits.tolist();
"""


def precision_of_code(manifest: Manifest) -> str:
    """Return the precision that the code asks for."""
    return next(precision for precision in _PREFERRED if precision in manifest.precisions)


def code_for_runtime(manifest: Manifest) -> str:
    """Return Python for this runtime."""
    precision, labels = precision_of_code(manifest), manifest.dimensions
    if manifest.classifier is None:
        return _EMBEDDER.format(precision=precision, dimensions=labels)
    shape = "(2,)" if labels == 1 else f"(2, {labels})"
    return _CROSS_ENCODER.format(precision=precision, shape=shape) + (_RANK if labels == 1 else _LABELS)


def code_for_sentence_transformers(manifest: Manifest) -> str:
    """Return Python for sentence-transformers."""
    precision = precision_of_code(manifest)
    template = _SENTENCE_TRANSFORMER if manifest.classifier is None else _SENTENCE_CROSS_ENCODER
    device = "cuda" if precision == "fp16" else "cpu"
    return template.format(file=manifest.precisions[precision][0], device=device)


def code_for_transformers_js(manifest: Manifest) -> str | None:
    """Return JavaScript for transformers.js; None if it cannot compute these vectors."""
    precision = precision_of_code(manifest)
    if manifest.classifier is not None:
        return _SEQUENCE_CLASSIFICATION.format(precision=precision)
    if manifest.dense or manifest.pooling.mode == "max":
        return None
    normalize = str(manifest.pooling.normalize).lower()
    return _FEATURE_EXTRACTION.format(precision=precision, pooling=manifest.pooling.mode, normalize=normalize)
