"""The peers: what each is called, which environment runs it, what it is given, and how it is set.

A new peer is a module that serves `peers.worker`, and an entry here; what needs making is in `preparing`.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from .workload import Takes

BENCHMARKS = Path(__file__).resolve().parent.parent
ROOT = BENCHMARKS.parent
OWN = "own"  # this process's environment; the others are made by `make .venv-peers-NAME/ready`
NODE = "node"


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
        exact: its vectors must be torch's; others are judged by cosine.
        int8: its linear layers run in int8, which sets the ceiling that its times are held against.
        arguments: of its worker, to serve.
        setting: what it is and how it is set, for readers.
        environment: the part of `.venv-peers-NAME` that runs it.
        whole: it is given all texts in one call, others get mixed ones in batches of like length.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    exact: bool
    int8: bool
    setting: str
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
        return [str(python_of(self.environment)), "-m", self.module, *self.arguments]


def python_of(name: str) -> Path:
    """Return the interpreter of an environment."""
    return Path(sys.executable) if name == OWN else ROOT / f".venv-peers-{name}" / "bin" / "python"


def environment() -> dict[str, str]:
    """Return the environment in which `python -m peers...` is found, and nothing is fetched."""
    return os.environ | {"PYTHONPATH": str(BENCHMARKS), "HF_HUB_OFFLINE": "1"}


def peers(files: Files, threads: int, hidden: int = 768) -> dict[str, Peer]:
    """Return every peer by name, in the order of the tables."""
    found = (*_runtimes(files, str(threads)), *_libraries(files, str(threads), str(hidden)))
    return {peer.name: peer for peer in found}


def _runtimes(files: Files, threads: str) -> tuple[Peer, ...]:
    """Those that take token ids."""
    plain, static, bundle = str(files.plain), str(files.static), str(files.bundle)

    def torch(name: str, dtype: str, setting: str) -> Peer:
        arguments = (str(files.checkpoint), threads, dtype)
        return Peer(name, "peers.torch_peer", arguments, dtype == "float32", False, setting)

    def openvino(name: str, model: str, hint: tuple[str, ...], setting: str) -> Peer:
        int8, arguments = model == static, ("serve", model, threads, *hint)
        return Peer(name, "peers.openvino_peer", arguments, not int8, int8, setting, "openvino")

    def ours(name: str, precision: str) -> Peer:
        arguments, int8 = (bundle, precision, threads, "ids"), precision == "int8"
        return Peer(name, "peers.ours", arguments, not int8, int8, f"ours, {precision}")

    return (
        torch("torch", "float32", "torch eager, float32"),
        torch("torch-bf16", "bfloat16", "torch eager, bfloat16, as the model card loads it"),
        Peer("plain", "peers.plain", ("serve", plain, threads), True, False, "plain export in stock onnxruntime"),
        openvino("openvino-fp32", plain, ("f32",), "OpenVINO, plain export, float32"),
        openvino("openvino-int8", static, (), "OpenVINO, NNCF static int8; other operators in the type it chooses"),
        ours("ours-fp32", "fp32"),
        ours("ours-int8", "int8"),
    )


def _libraries(files: Files, threads: str, hidden: str) -> tuple[Peer, ...]:
    """Those that take texts."""
    folder, bundle = str(files.folder), str(files.bundle)

    def library(name: str, module: str, arguments: tuple[str, ...], int8: bool, setting: str, home: str) -> Peer:
        return Peer(name, module, (*arguments, threads), not int8, int8, setting, home, "texts")

    def sentence_transformers(name: str, arguments: tuple[str, ...], int8: bool, setting: str) -> Peer:
        module, told = "peers.sentence_transformers_peer", f"sentence-transformers, {setting}"
        return library(name, module, arguments, int8, told, "transformers")

    def javascript(name: str, model: str, dtype: str, setting: str) -> Peer:
        told = f"transformers.js on Node, {setting}"
        return library(name, "worker", (model, dtype), dtype != "fp32", told, NODE)

    def ours(name: str, precision: str) -> Peer:
        arguments, int8 = (bundle, precision, threads, "texts"), precision == "int8"
        told = f"ours, Embedder.encode, {precision}"
        return Peer(name, "peers.ours", arguments, not int8, int8, told, takes="texts", whole=True)

    form = f"its own dynamic int8 export, for {processor_form()}"
    return (
        sentence_transformers("st-torch", ("torch", str(files.checkpoint)), False, "torch backend, float32"),
        sentence_transformers("st-onnx", ("onnx", folder, "model.onnx"), False, "onnx backend, plain export"),
        sentence_transformers("st-qint8", ("onnx", folder, files.qint8.name), True, form),
        library("fastembed", "peers.fastembed_peer", (folder, hidden), False, "fastembed, custom model", "fastembed"),
        javascript("transformersjs-fp32", folder, "fp32", "plain export, fp32"),
        javascript(
            "transformersjs-q8", folder, "q8", "plain export, q8: stock dynamic int8, 7-bit weights per channel"
        ),
        javascript("transformersjs-ours-fp32", bundle, "fp32", "our bundle, fp32"),
        javascript("transformersjs-ours-int8", bundle, "int8", "our bundle, int8"),
        ours("ours-fp32-texts", "fp32"),
        ours("ours-int8-texts", "int8"),
    )


def processor_form() -> str:
    """Return what sentence-transformers calls this processor when it quantises."""
    flags = Path("/proc/cpuinfo").read_text()
    if "avx512_vnni" in flags:
        return "avx512_vnni"
    return "avx2" if "avx2" in flags else "arm64"
