"""OpenVINO with the plain export, or with NNCF's static int8 of it. An environment of its own.

    PYTHONPATH=benchmarks .venv-peers-openvino/bin/python -m peers.openvino_peer make PLAIN.onnx OUTPUT.xml VOCABULARY
    PYTHONPATH=benchmarks .venv-peers-openvino/bin/python -m peers.openvino_peer serve MODEL THREADS [f32]

Calibrated with seeded random tokens of many lengths; shapes stay dynamic. What is not int8, attention above all,
runs in the type that OpenVINO chooses, bfloat16 where the processor has it, or in float32 if asked.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .worker import About, Ids, Run, Vectors, serve

CALIBRATION_BATCHES = 32
CALIBRATION_LENGTHS = (8, 256)  # shortest and longest
_INPUTS = ("input_ids", "attention_mask")


def calibration(vocabulary: int) -> list[dict[str, Ids]]:
    """Return one text a batch, lengths spread evenly over their logarithm."""
    generator = np.random.default_rng(0)
    lengths = np.geomspace(*CALIBRATION_LENGTHS, CALIBRATION_BATCHES).astype(int)
    rows = [generator.integers(vocabulary, size=(1, length)) for length in lengths]
    return [{"input_ids": ids, "attention_mask": np.ones_like(ids)} for ids in rows]


def make(plain: Path, output: Path, vocabulary: int) -> None:
    """Quantise the plain export and write OpenVINO's two files; weights stay int8."""
    openvino: Any = import_module("openvino")
    nncf: Any = import_module("nncf")
    model = nncf.quantize(
        openvino.convert_model(plain),
        nncf.Dataset(calibration(vocabulary)),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=CALIBRATION_BATCHES,
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, output, compress_to_fp16=False)


def load(path: Path, threads: int, precision: str | None = None) -> tuple[Run, About]:
    """Compile the model for latency on `threads` threads; without `precision` all else is at its default."""
    openvino: Any = import_module("openvino")
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    if precision is not None:
        settings["INFERENCE_PRECISION_HINT"] = precision
    compiled = openvino.Core().compile_model(path, "CPU", settings)

    def run(input_ids: Ids, attention_mask: Ids) -> Vectors:
        feeds = dict(zip(_INPUTS, (input_ids, attention_mask), strict=True))
        return compiled(feeds)[0]  # type: ignore[no-any-return]

    about = {name: version(name) for name in ("openvino", "nncf")}
    return run, about | {"float precision": compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()}


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    else:
        serve(lambda: load(Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]))
