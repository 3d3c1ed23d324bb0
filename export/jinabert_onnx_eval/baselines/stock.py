"""Stock int8 as an encoder of texts: the baseline that a bundle's int8 is compared with.

Texts run alone, which is the best that can be had of it: it has one scale for all tokens of a batch, and a text's
vector depends on its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinabert_onnx.bundle.manifest import TOKENIZER, Bundle
from jinabert_onnx.encoding import pooling
from jinabert_onnx.engine.providers import import_onnxruntime
from jinabert_onnx.engine.threads import count_threads
from jinabert_onnx.text.inputs import choose_prompt
from jinabert_onnx.text.tokenizer import Tokenizer
from jinabert_onnx_export.verify.origin import open_origin

from jinabert_onnx_eval.metrics.precisions import Encode
from jinabert_onnx_eval.scores import Vectors

from .plain import write_plain
from .stock_forms import write_stock_int8, write_stock_without_saturation

STOCK = "stock int8"
SATURATED = "stock int8, here"
_PROBE = "Products of two bytes are added in pairs; where 16 bits must hold the sum, large ones are cut."


def load_stock(checkpoint: str, bundle: Bundle, threads: int | str, directory: Path) -> dict[str, Encode]:
    """Return functions from texts to vectors (texts, hidden), with the bundle's tokenizer, prompt, length and pooling.

    `STOCK` computes what a processor does whose products do not saturate; where this one's do, `SATURATED` is there
    as well. Files are written to `directory`.

    Raises:
        VerificationError: the bundle was not made from `checkpoint`.
    """
    opened, encoder = open_origin(bundle, checkpoint)
    plain, exact, as_it_comes = (directory / f"{name}.onnx" for name in ("plain", "exact", "as_it_comes"))
    write_plain(encoder, opened.config.num_attention_heads, plain)
    del encoder  # the weights need not lie in memory twice
    write_stock_without_saturation(plain, exact)
    write_stock_int8(plain, as_it_comes)
    stock, saturated = _encoder(exact, bundle, threads), _encoder(as_it_comes, bundle, threads)
    if np.array_equal(stock([_PROBE]), saturated([_PROBE])):
        return {STOCK: stock}
    return {STOCK: stock, SATURATED: saturated}


def _encoder(path: Path, bundle: Bundle, threads: int | str) -> Encode:
    """The file at `path` in onnxruntime as it comes: every option at its default but the threads."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count_threads(threads)[0]
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    tokenizer, manifest = Tokenizer(bundle.path / TOKENIZER), bundle.manifest
    prompt = choose_prompt(manifest.prompts, manifest.default_prompt, None, None)

    def encode(texts: Sequence[str]) -> Vectors:
        rows = []
        for ids in tokenizer([prompt + text for text in texts], manifest.default_max_length).input_ids:
            mask = np.ones_like(ids)[None]
            (output,) = session.run(None, {"input_ids": ids[None], "attention_mask": mask})
            rows.append(pooling.pool(output, mask, manifest.pooling.mode))
        vectors = np.concatenate(rows)
        return pooling.normalize(vectors) if manifest.pooling.normalize else vectors

    return encode
