"""The peers: what each is called, which Python runs it, and what it needs made beforehand.

A new peer is a module that serves `peers.worker`, and an entry here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinabert_onnx.bundle import record_file

from .workload import EMBEDDER, PADDED, SORTED

BENCHMARKS = Path(__file__).resolve().parent.parent
OPENVINO_PYTHON = BENCHMARKS.parent / ".venv-openvino" / "bin" / "python"
OPENVINO_INSTALL = (
    "python3 -m venv .venv-openvino && "
    ".venv-openvino/bin/pip install -c benchmarks/peers/constraints-openvino.txt openvino nncf"
)


@dataclass(frozen=True)
class Peer:
    """One runtime with one model.

    Attributes:
        exact: its vectors must be torch's; others are judged by cosine and only reported.
        int8: its linear layers run in int8, which sets the ceiling that its times are held against.
        arguments: of `python -m module`, to serve.
        forms: the ways of batching mixed texts that it may choose from.
        longest: the longest text that it is asked for.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    exact: bool
    int8: bool
    python: Path = Path(sys.executable)
    forms: tuple[str, ...] = (SORTED, PADDED)
    longest: int = 8192

    @property
    def command(self) -> list[str]:
        """The command line of its worker."""
        return [str(self.python), "-m", self.module, *self.arguments]


def peers(checkpoint: Path, bundle: Path, work: Path, threads: int) -> dict[str, Peer]:
    """Every peer by name, in the order of the tables."""
    count, plain, static = str(threads), str(_plain_file(work)), str(_static_file(work))
    # Eager torch keeps several scores of 3.2 GB alive at 8192 tokens; it is no rival there.
    found = (
        Peer("torch", "peers.torch_eager", (str(checkpoint), count), exact=True, int8=False, longest=4096),
        Peer("plain", "peers.plain", ("serve", plain, count), exact=True, int8=False),
        Peer("openvino-int8", "peers.openvino_int8", ("serve", static, count), False, True, OPENVINO_PYTHON),
        Peer(
            "openvino-int8-float32",
            "peers.openvino_int8",
            ("serve", static, count, "f32"),
            False,
            True,
            OPENVINO_PYTHON,
        ),
        Peer("ours-fp32", "peers.ours", (str(bundle), "fp32", count), exact=True, int8=False, forms=(EMBEDDER,)),
        Peer("ours-int8", "peers.ours", (str(bundle), "int8", count), exact=False, int8=True, forms=(EMBEDDER,)),
    )
    return {peer.name: peer for peer in found}


def prepare(chosen: Mapping[str, Peer], checkpoint: Path, work: Path, vocabulary: int) -> None:
    """Make the plain export and its int8 form if a chosen peer lacks them; they stay in `work`."""
    plain, static = _plain_file(work), _static_file(work)
    _require_same_checkpoint(work, checkpoint)
    openvino = any(peer.python == OPENVINO_PYTHON for peer in chosen.values())
    if openvino and not OPENVINO_PYTHON.exists():
        raise SystemExit(f"OpenVINO needs an environment of its own: {OPENVINO_INSTALL}")
    if (openvino or "plain" in chosen) and not plain.exists():
        _make(plain, [sys.executable, "-m", "peers.plain", "make", str(checkpoint), str(plain)])
    if openvino and not static.exists():
        command = [str(OPENVINO_PYTHON), "-m", "peers.openvino_int8", "make", str(plain), str(static), str(vocabulary)]
        _make(static, command)


def environment() -> dict[str, str]:
    """The environment in which `python -m peers...` is found."""
    return os.environ | {"PYTHONPATH": str(BENCHMARKS)}


def _require_same_checkpoint(work: Path, checkpoint: Path) -> None:
    """Refuse what was made of another checkpoint, by the hashes of its files."""
    files = sorted([*checkpoint.glob("*.safetensors"), *checkpoint.glob("*.bin"), checkpoint / "config.json"])
    found = "".join(f"{record_file(path).sha256}  {path.name}\n" for path in files)
    note = work / "checkpoint.sha256"
    if _plain_file(work).exists() and (not note.exists() or note.read_text() != found):
        raise SystemExit(f"{work} was made of another checkpoint than {checkpoint}; delete it")
    note.write_text(found)


def _plain_file(work: Path) -> Path:
    return work / "plain.onnx"


def _static_file(work: Path) -> Path:
    return work / "openvino-int8.xml"


def _make(output: Path, command: list[str]) -> None:
    print(f"making {output}", file=sys.stderr)
    subprocess.run(command, check=True, env=environment(), stdout=sys.stderr)
