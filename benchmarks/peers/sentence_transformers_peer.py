"""sentence-transformers: its torch backend, its onnx backend, and its own int8 export. An environment of its own.

    PYTHONPATH=benchmarks .venv-peers-transformers/bin/python -m peers.sentence_transformers_peer WHAT
    WHAT: make FOLDER OUTPUT FORM | torch CHECKPOINT THREADS | onnx FOLDER FILE THREADS

The published code of JinaBERT is not used: in torch the plain encoder stands for it, in onnx the plain export.
FORM is what `export_dynamic_quantized_onnx_model` calls a processor: avx2, avx512_vnni, arm64.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .worker import About, Encode, Vectors, serve_texts

_MODULES = "sentence_transformers.sentence_transformer.modules"


def make(folder: str, output: Path, form: str) -> None:
    """Write the library's own dynamic int8 of the folder's `onnx/model.onnx` to `output`."""
    library: Any = import_module("sentence_transformers")
    model = _open_onnx(folder, "model.onnx", 1)
    with tempfile.TemporaryDirectory(dir=output.parent) as temporary:  # it writes a config.json without a model type
        library.export_dynamic_quantized_onnx_model(model, form, temporary)
        (written,) = Path(temporary).rglob("*.onnx")
        written.rename(output)


def load_onnx(folder: str, file: str, threads: int) -> tuple[Encode, About]:
    """Return a file of `onnx/` through the onnx backend."""
    return _encoder(_open_onnx(folder, file, threads)), _versions("optimum-onnx", "onnxruntime")


def load_torch(checkpoint: str, threads: int) -> tuple[Encode, About]:
    """Return the plain encoder as the first module, then the library's mean pooling."""
    from jinabert_onnx_eval.baselines.plain_model import PlainEncoder, open_encoder

    library: Any = import_module("sentence_transformers")
    modules: Any = import_module(_MODULES)
    transformers: Any = import_module("transformers")
    torch.set_num_threads(threads)

    class Encoder(modules.InputModule):  # type: ignore[misc]
        """Texts to `token_embeddings`, as the library's `Transformer` gives them."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = PlainEncoder(*open_encoder(checkpoint)).eval()
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)

        def preprocess(self, inputs: list[str], prompt: str | None = None, **settings: object) -> dict[str, Any]:
            """Padded ids and their mask."""
            texts = [(prompt or "") + text for text in inputs]
            encoded = self.tokenizer(texts, padding=True, return_tensors="pt")
            return {name: encoded[name] for name in ("input_ids", "attention_mask")}

        def forward(self, features: dict[str, Any], **settings: object) -> dict[str, Any]:
            """Adds `token_embeddings`, (batch, sequence, hidden)."""
            tokens = self.encoder(features["input_ids"], features["attention_mask"])
            return features | {"token_embeddings": tokens}

        def save(self, output_path: str, *arguments: object, **settings: object) -> None:
            """Nothing of it is ever saved."""
            raise NotImplementedError

    encoder = Encoder()
    hidden = encoder.encoder.weights.embeddings.word_embeddings.embedding_dim
    model = library.SentenceTransformer(modules=[encoder, modules.Pooling(hidden)], device="cpu")
    return _encoder(model), _versions()


def _open_onnx(folder: str, file: str, threads: int) -> Any:
    library: Any = import_module("sentence_transformers")
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    settings = {"file_name": f"onnx/{file}", "provider": "CPUExecutionProvider", "session_options": options}
    return library.SentenceTransformer(folder, backend="onnx", device="cpu", model_kwargs=settings)


def _encoder(model: Any) -> Encode:
    def encode(texts: list[str]) -> Vectors:
        return model.encode(texts, show_progress_bar=False)  # type: ignore[no-any-return]

    return encode


def _versions(*more: str) -> About:
    return {name: version(name) for name in ("sentence-transformers", "transformers", "torch", *more)}


if __name__ == "__main__":
    command, first, *rest = sys.argv[1:]
    if command == "make":
        make(first, Path(rest[0]), rest[1])
    elif command == "torch":
        serve_texts(lambda: load_torch(first, int(rest[0])))
    else:
        serve_texts(lambda: load_onnx(first, rest[0], int(rest[1])))
