"""Where the goldens lie, how the exporter's tests read and alter them, and how they run its commands."""

from __future__ import annotations

import logging
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from jinabert_onnx.cli import main
from jinabert_onnx_export.checkpoint.read import open_checkpoint
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.encoder.trace import OPSET, trace
from jinabert_onnx_export.operators.domain import DOMAIN, DOMAIN_VERSION
from numpy.typing import NDArray
from onnx import helper
from support.paths import GOLDENS
from support.python import Ended
from support.references import NAMES, Golden, read_golden

Run = Callable[..., Ended]


@cache
def trace_golden(name: str) -> tuple[JinaBertEncoder, onnx.ModelProto]:
    """The encoder of a golden and its trace, made once for all tests, which leave both as they are."""
    encoder = open_checkpoint(GOLDENS / name).load_encoder()
    return encoder, trace(encoder)


def ragged(lengths: Sequence[int], vocabulary: int = 400) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Random token ids and the mask of a batch of texts of these lengths, padded at their ends."""
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    return np.random.default_rng(mask.shape).integers(vocabulary, size=mask.shape), mask


def stock_session(model: onnx.ModelProto | Path, options: object = None) -> onnxruntime.InferenceSession:
    """A session on the CPU without any of the runtime's options."""
    source = model if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def operator_session(
    nodes: Sequence[onnx.NodeProto],
    values: Sequence[Sequence[onnx.ValueInfoProto]],
    functions: Sequence[onnx.FunctionProto] = (),
    stored: Sequence[onnx.TensorProto] = (),
    library: Path | None = None,
) -> onnxruntime.InferenceSession:
    """A session of a graph of these nodes alone; `values` are its inputs and outputs, `library` has native kernels."""
    opsets = {"": OPSET, DOMAIN: DOMAIN_VERSION, "com.microsoft": 1}
    model = helper.make_model(
        helper.make_graph(nodes, "operators", *values, stored),
        functions=functions,
        opset_imports=[helper.make_opsetid(*entry) for entry in opsets.items()],
        ir_version=10,
    )
    options = onnxruntime.SessionOptions()
    if library is not None:
        options.register_custom_ops_library(str(library))
    return stock_session(model, options)


def error_of(ended: Ended) -> str:
    """The one error line, the last one, after lines of progress, of a command that ended with exit code 1."""
    *progress, error = ended.stderr.splitlines()
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    assert error.startswith("jinabert-onnx: error: ")
    assert not any("error" in line.lower() or "Traceback" in line for line in progress), ended.stderr
    return error


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """`jinabert-onnx` in this process, where torch is loaded; what the command line does to a process is undone."""
    monkeypatch.setattr(logging.getLogger("jinabert_onnx"), "handlers", [])
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Ended(arguments, code, *capsys.readouterr())

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(params=NAMES)
def golden(request: pytest.FixtureRequest) -> Golden:
    """Every golden in turn."""
    return read_golden(request.param)


@pytest.fixture(scope="session")
def copy_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Copies the checkpoint of a golden, without its expected outputs, to a directory that a test may alter.

    The directory's name says nothing of the test, so that no word expected of a message can come from it.
    """

    def copy(name: str) -> Path:
        directory = tmp_path_factory.mktemp("copy") / "checkpoint"
        return shutil.copytree(GOLDENS / name, directory, ignore=shutil.ignore_patterns("golden*"))

    return copy
