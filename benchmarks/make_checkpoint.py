"""Write a JinaBERT checkpoint with seeded random weights, for measuring where published ones are not available.

    python benchmarks/make_checkpoint.py build/base-de --size base --vocabulary 61056
    python benchmarks/make_checkpoint.py build/turbo --size turbo --labels 1

Weights are normal with standard deviation 0.02; query and key weights are scaled by 1.8, which spreads the
attention scores about as far as in trained models (unscaled random weights flatter windowed attention).
The tokenizer is the real one of jina-embeddings-v2-base-en. The vectors mean nothing. With `--labels` it is a
cross-encoder, whose head is drawn so that its logits are spread as those of trained ones.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from jinabert_onnx_export.encoder.config import JinaBertConfig, read_config
from jinabert_onnx_export.encoder.model import JinaBertEncoder, Variant
from safetensors.torch import save_file

REFERENCE = Path(__file__).resolve().parent.parent / "tests" / "data" / "reference" / "base-en"
SIZES = {  # hidden, layers, heads, intermediate
    "small": (512, 4, 8, 2048),
    "base": (768, 12, 12, 3072),
    "turbo": (384, 6, 12, 1536),  # jina-reranker-v1-turbo-en
}
QUERY_KEY_SCALE = 1.8


def random_weights(config: JinaBertConfig, variant: Variant, seed: int) -> dict[str, torch.Tensor]:
    """Float16 tensors under a checkpoint's names: layer norms at 1 and 0, biases at 0, the rest normal."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in JinaBertEncoder(config, variant).state_dict().items()}
    weights = {}
    for name, shape in shapes.items():
        if name.endswith(".bias"):
            value = torch.zeros(shape)
        elif "norm" in name.lower():
            value = torch.ones(shape)
        else:
            value = torch.randn(shape, generator=generator) * 0.02
        if name.endswith((".query.weight", ".key.weight")):
            value = value * QUERY_KEY_SCALE
        weights[name] = value.half()
    return weights


def random_head(hidden: int, labels: int, seed: int) -> dict[str, torch.Tensor]:
    """Float16 tensors of a cross-encoder's pooler and classifier."""
    generator = torch.Generator().manual_seed(seed + 1)
    return {
        "pooler.dense.weight": (torch.randn((hidden, hidden), generator=generator) * 2 / hidden**0.5).half(),
        "pooler.dense.bias": torch.zeros(hidden).half(),
        "classifier.weight": (torch.randn((labels, hidden), generator=generator) * 4 / hidden**0.5).half(),
        "classifier.bias": torch.zeros(labels).half(),
    }


def write_checkpoint(output: Path, size: str, vocabulary: int, variant: Variant, seed: int, labels: int = 0) -> None:
    """Write config, tokenizer and weights to the directory `output`; of a cross-encoder where it has labels."""
    hidden, layers, heads, intermediate = SIZES[size]
    output.mkdir(parents=True, exist_ok=True)
    content = json.loads((REFERENCE / "config.json").read_text())
    content |= {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": intermediate,
        "torch_dtype": "float16",
    }
    (output / "config.json").write_text(json.dumps(content, indent=2))
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(REFERENCE / name, output / name)
    weights = random_weights(read_config(output / "config.json"), variant, seed)
    if labels:
        weights |= random_head(hidden, labels, seed)
        # As the tokenizer class of the published rerankers: no token types.
        settings = json.loads((output / "tokenizer_config.json").read_text())
        settings["model_input_names"] = ["input_ids", "attention_mask"]
        (output / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    save_file(weights, output / "model.safetensors", metadata={"format": "pt"})


def main() -> None:
    """Read the arguments and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="directory to write")
    parser.add_argument("--size", choices=SIZES, default="base", help="architecture (default: %(default)s)")
    parser.add_argument("--vocabulary", type=int, default=61056, help="tokens, at least 30528 (default: %(default)s)")
    parser.add_argument("--variant", choices=("plain", "qk-post-norm"), default="plain", help="default: %(default)s")
    parser.add_argument("--labels", type=int, default=0, help="labels of a cross-encoder (default: an embedding model)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    arguments = parser.parse_args()
    write_checkpoint(
        arguments.output, arguments.size, arguments.vocabulary, arguments.variant, arguments.seed, arguments.labels
    )


if __name__ == "__main__":
    main()
