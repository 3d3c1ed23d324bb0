"""The peers: what each is called, which environment runs it, what it is given, and how it is set.

A new peer is a module with `load`, which `peers.worker` serves with the peer's arguments and the number of threads, and
an entry here; what needs making is a module's `make`, and in `preparing`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from .workload import Takes

BENCHMARKS = Path(__file__).resolve().parent.parent
ROOT = BENCHMARKS.parent
OWN = "own"  # this process's environment; the others are made by `make .venv-peers-NAME/ready`
NODE = "node"
_INT8: dict[str, Any] = {"exact": False, "int8": True}


@dataclass(frozen=True)
class Files:
    """What peers are made of: two that the user gives, and the rest in the work directory."""

    checkpoint: Path
    bundle: Path
    work: Path

    @property
    def plain(self) -> Path:
        """Return the plain export, weights beside it."""
        return self.work / "plain.onnx"

    @property
    def static(self) -> Path:
        """OpenVINO's int8 of it."""
        return self.work / "openvino-int8.xml"

    @property
    def folder(self) -> Path:
        """Return the plain export as libraries expect it from the hub."""
        return self.work / "plain-folder"

    @property
    def qint8(self) -> Path:
        """sentence-transformers' own int8 of it."""
        return self.folder / "onnx" / "model_sentence_transformers_int8.onnx"


@dataclass(frozen=True)
class Peer:
    """One runtime or library with one model.

    Attributes:
        arguments: of its module's `load`.
        setting: what it is and how it is set, for readers.
        exact: its vectors must be torch's; others are judged by cosine.
        int8: its linear layers run in int8, which sets the ceiling that its times are held against.
        environment: the part of `.venv-peers-NAME` that runs it.
        whole: it is given all texts in one call, others get mixed ones in batches of like length.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    setting: str
    exact: bool = True
    int8: bool = False
    environment: str = OWN
    takes: Takes = "ids"
    whole: bool = False

    def describe(self) -> dict[str, object]:
        """Return what is known of it without asking it."""
        return {"setting": self.setting, "takes": self.takes, "int8": self.int8}

    @property
    def home(self) -> Path:
        """Return the directory of its environment."""
        return ROOT / f".venv-peers-{self.environment}"

    @property
    def command(self) -> list[str]:
        """Return the command line of its worker."""
        if self.environment == NODE:
            return ["node", str(BENCHMARKS / "peers" / "node" / f"{self.module}.mjs"), str(self.home), *self.arguments]
        return work_of(self.environment, self.takes, self.module, *self.arguments)


def python_of(name: str) -> Path:
    """Return the interpreter of an environment."""
    return Path(sys.executable) if name == OWN else ROOT / f".venv-peers-{name}" / "bin" / "python"


def work_of(environment: str, *arguments: str) -> list[str]:
    """Return the command line of `peers.worker` in an environment."""
    return [str(python_of(environment)), "-m", "peers.worker", *arguments]


def environment() -> dict[str, str]:
    """Return the environment in which `python -m peers...` is found, and nothing is fetched."""
    return os.environ | {"PYTHONPATH": str(BENCHMARKS), "HF_HUB_OFFLINE": "1"}


def peers(files: Files, threads: int) -> dict[str, Peer]:
    """Return every peer by name, in the order of the tables."""
    found = (*_runtimes(files), *_libraries(files))
    return {peer.name: replace(peer, arguments=(*peer.arguments, str(threads))) for peer in found}


def _runtimes(files: Files) -> tuple[Peer, ...]:
    """Those that take token ids."""
    checkpoint, bundle, plain = str(files.checkpoint), str(files.bundle), str(files.plain)
    openvino = partial(Peer, module="openvino_peer", environment="openvino")
    static = "OpenVINO, NNCF static int8; other operators in the type it chooses"
    bfloat16 = "torch eager, bfloat16, as the model card loads it"
    return (
        Peer("torch", "torch_peer", (checkpoint, "float32"), "torch eager, float32"),
        Peer("torch-bf16", "torch_peer", (checkpoint, "bfloat16"), bfloat16, exact=False),
        Peer("plain", "plain", (plain,), "plain export in stock onnxruntime"),
        openvino("openvino-fp32", arguments=(plain, "f32"), setting="OpenVINO, plain export, float32"),
        openvino("openvino-int8", arguments=(str(files.static), ""), setting=static, **_INT8),
        openvino(
            "openvino-int8-float32",
            arguments=(str(files.static), "f32"),
            setting="OpenVINO, NNCF static int8; other operators in float32",
            **_INT8,
        ),
        Peer("ours-fp32", "ours", ("ids", bundle, "fp32", "off"), "ours, fp32, onnxruntime's operators alone"),
        Peer("ours-int8", "ours", ("ids", bundle, "int8", "off"), "ours, int8, onnxruntime's operators alone", **_INT8),
        Peer("ours-fp32-native", "ours", ("ids", bundle, "fp32", "require"), "ours, fp32, native kernels"),
        Peer("ours-int8-native", "ours", ("ids", bundle, "int8", "require"), "ours, int8, native kernels", **_INT8),
    )


def _libraries(files: Files) -> tuple[Peer, ...]:
    """Those that take texts."""
    checkpoint, bundle, folder = str(files.checkpoint), str(files.bundle), str(files.folder)
    library = partial(Peer, takes="texts")
    transformers = partial(library, module="sentence_transformers_peer", environment="transformers")
    node, ours = partial(library, module="worker", environment=NODE), partial(library, module="ours", whole=True)
    st, js, form = "sentence-transformers", "transformers.js on Node", f"for {processor_form()}"
    q8 = "plain export, q8: stock dynamic int8, 7-bit weights per channel"
    encode = "ours, Embedder.encode"
    return (
        transformers("st-torch", arguments=("torch", checkpoint, ""), setting=f"{st}, torch backend, float32"),
        transformers("st-onnx", arguments=("onnx", folder, "model.onnx"), setting=f"{st}, onnx backend, plain export"),
        transformers(
            "st-qint8",
            arguments=("onnx", folder, files.qint8.name),
            setting=f"{st}, its own dynamic int8 export, {form}",
            **_INT8,
        ),
        library("fastembed", "fastembed_peer", (folder,), "fastembed, custom model", environment="fastembed"),
        node("transformersjs-fp32", arguments=(folder, "fp32"), setting=f"{js}, plain export, fp32"),
        node("transformersjs-q8", arguments=(folder, "q8"), setting=f"{js}, {q8}", **_INT8),
        node("transformersjs-ours-fp32", arguments=(bundle, "fp32"), setting=f"{js}, our bundle, fp32"),
        node("transformersjs-ours-int8", arguments=(bundle, "int8"), setting=f"{js}, our bundle, int8", **_INT8),
        ours("ours-fp32-texts", arguments=("texts", bundle, "fp32", "auto"), setting=f"{encode}, fp32"),
        ours("ours-int8-texts", arguments=("texts", bundle, "int8", "auto"), setting=f"{encode}, int8", **_INT8),
    )


def processor_form() -> str:
    """Return what sentence-transformers calls this processor when it quantises."""
    flags = Path("/proc/cpuinfo").read_text()
    if "avx512_vnni" in flags:
        return "avx512_vnni"
    return "avx2" if "avx2" in flags else "arm64"
