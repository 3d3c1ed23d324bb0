"""OpenVINO with the plain export, or with NNCF's static int8 of it. An environment of its own.

Calibrated with seeded random tokens of many lengths; shapes stay dynamic. What is not int8, attention above all,
runs in the type that OpenVINO chooses, bfloat16 where the processor has it, or in float32 if asked.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

from .worker import About, Ids, Run, Vectors

CALIBRATION_BATCHES = 32
CALIBRATION_LENGTHS = (8, 256)  # shortest and longest
_INPUTS = ("input_ids", "attention_mask")


def calibration(vocabulary: int) -> list[dict[str, Ids]]:
    """Return one text a batch, lengths spread evenly over their logarithm."""
    generator = np.random.default_rng(0)
    lengths = np.geomspace(*CALIBRATION_LENGTHS, CALIBRATION_BATCHES).astype(int)
    rows = [generator.integers(vocabulary, size=(1, length)) for length in lengths]
    return [{"input_ids": ids, "attention_mask": np.ones_like(ids)} for ids in rows]


def make(plain: str, output: str, vocabulary: str) -> None:
    """Quantise the plain export and write OpenVINO's two files; weights stay int8."""
    openvino: Any = import_module("openvino")
    nncf: Any = import_module("nncf")
    model = nncf.quantize(
        openvino.convert_model(plain),
        nncf.Dataset(calibration(int(vocabulary))),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=CALIBRATION_BATCHES,
    )
    openvino.save_model(model, output, compress_to_fp16=False)


def load(path: str, precision: str, threads: str) -> tuple[Run, About]:
    """Compile the model for latency on `threads` threads; where `precision` is "" all else is at its default."""
    openvino: Any = import_module("openvino")
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": int(threads)}
    if precision:
        settings["INFERENCE_PRECISION_HINT"] = precision
    compiled = openvino.Core().compile_model(path, "CPU", settings)

    def run(input_ids: Ids, attention_mask: Ids) -> Vectors:
        feeds = dict(zip(_INPUTS, (input_ids, attention_mask), strict=True))
        return compiled(feeds)[0]  # type: ignore[no-any-return]

    about = {name: version(name) for name in ("openvino", "nncf")}
    return run, about | {"float precision": compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()}
