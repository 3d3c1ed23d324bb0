"""A bundle on an NVIDIA GPU: correctness against torch on the CPU, times beside torch SDPA, nodes left on the CPU.

    python benchmarks/on_cuda.py BUNDLE CHECKPOINT [--lengths 16 128 512 2048 8192] [--batches 1 32]
    python benchmarks/on_cuda.py BUNDLE CHECKPOINT --rehearse --lengths 16 40       (on the CPU, to try the script)

Needs a CUDA GPU, onnxruntime-gpu and a torch with CUDA, both in one environment; has not been run on a GPU yet.
Times are of a batch with results left on the device; `fp16, to numpy` is the runtime's own session, which brings
every token's embedding to the host. What the device has no memory for is a dash.
Exit code 1 if a precision is not torch's: fp32 to 1e-4, fp16 to a cosine of 0.9995.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_nodes import nodes_by_provider
from jinabert_onnx.bundle.manifest import Bundle, open_bundle
from jinabert_onnx.encoding.pooling import pool
from jinabert_onnx.engine.batching import pad
from jinabert_onnx.engine.session import Session, open_session
from jinabert_onnx.errors import RunError
from numpy.typing import NDArray
from peers.plain_model import SdpaEncoder, open_encoder
from timing import finish, interleaved

PRECISIONS = ("fp32", "fp16")
CHECKED = ((16,), (128,), (1, 7, 130, 600), (2048,))  # lengths of one batch each
BOUNDS = {"fp32": 1e-4, "fp16": 0.9995}  # largest difference of a token; smallest cosine of a text

Run = Callable[[], object]
Ids = NDArray[np.int64]


def require_gpu() -> None:
    """End with one line where there is no GPU, or one of the two libraries cannot use it."""
    import onnxruntime

    if not torch.cuda.is_available():
        raise SystemExit("on_cuda.py needs a CUDA GPU, and torch sees none (--rehearse tries the script on the CPU)")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise SystemExit("on_cuda.py needs onnxruntime-gpu: pip uninstall onnxruntime && pip install '.[gpu]'")


def tokens_of(lengths: tuple[int, ...], vocabulary: int) -> tuple[Ids, Ids]:
    """Seeded random ids of these lengths, padded, and their mask."""
    generator = np.random.default_rng(lengths)
    return pad([generator.integers(vocabulary, size=length) for length in lengths])


def difference(found: Any, expected: Any, mask: Ids) -> dict[str, float]:
    """Largest difference of a token, and smallest cosine of a text's mean; padding is not looked at."""
    visible = mask == 1
    first, second = pool(found, mask, "mean"), pool(expected, mask, "mean")
    cosines = (first * second).sum(1) / (np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1))
    return {
        "difference": float(np.abs(found[visible] - expected[visible]).max()),
        "cosine": float(cosines.min()),
    }


def check(sessions: dict[str, Session], checkpoint: str, vocabulary: int, cases: Any) -> dict[str, dict[str, Any]]:
    """Every precision against the project's own encoder in float32 on the CPU, the worst of all cases."""
    encoder, _ = open_encoder(checkpoint)
    rows: dict[str, list[dict[str, float]]] = {precision: [] for precision in sessions}
    for lengths in cases:
        ids, mask = tokens_of(lengths, vocabulary)
        with torch.inference_mode():
            expected = encoder(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        for precision, session in sessions.items():
            rows[precision].append(difference(session.run(ids, mask), expected, mask))
    return {precision: _verdict(precision, found) for precision, found in rows.items()}


def runs_of(sessions: dict[str, Session], peer: SdpaEncoder, ids: Ids, device: str) -> dict[str, Run]:
    """One batch through every session and through torch, each waiting for its end."""
    mask = np.ones_like(ids)
    inputs = torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)

    def sdpa() -> None:
        with torch.inference_mode():
            peer(*inputs)
        if device == "cuda":
            torch.cuda.synchronize()

    bound = {precision: _bound(session, ids, mask, device) for precision, session in sessions.items()}
    return bound | {"fp16, to numpy": lambda: sessions["fp16"].run(ids, mask), "torch SDPA": sdpa}


def time_shape(runs: dict[str, Run], tokens: int) -> dict[str, float | None]:
    """Median milliseconds of each; None for those that the device has no memory for."""
    able = {name: run for name, run in runs.items() if _has_room(run)}
    repeats = 20 if tokens <= 4096 else 5
    return dict.fromkeys(runs) | interleaved(able, repeats)


def _bound(session: Session, ids: Ids, mask: Ids, device: str) -> Run:
    """A run whose inputs lie on the device and whose output stays there."""
    import onnxruntime

    inner = session._session
    binding = inner.io_binding()
    for name, values in (("input_ids", ids), ("attention_mask", mask)):
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(values, device, 0))

    def run() -> None:
        binding.bind_output("last_hidden_state", device)  # anew, so that the former output can be freed
        inner.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return run


def _has_room(run: Run) -> bool:
    try:
        run()
    except (torch.OutOfMemoryError, RunError):
        return False
    except Exception as error:  # onnxruntime's exceptions share no public base
        if "memory" not in str(error).lower() and "allocate" not in str(error).lower():
            raise
        return False
    return True


def _verdict(precision: str, found: list[dict[str, float]]) -> dict[str, Any]:
    worst = {
        "difference": max(row["difference"] for row in found),
        "cosine": min(row["cosine"] for row in found),
    }
    exact = precision == "fp32"
    agrees = worst["difference"] <= BOUNDS["fp32"] if exact else worst["cosine"] >= BOUNDS["fp16"]
    return worst | {"agrees": agrees}


def open_sessions(bundle: Bundle, device: str) -> dict[str, Session]:
    """A session a precision, on the device and nowhere else."""
    return {
        precision: open_session(bundle.path / bundle.files_of(precision)[0], precision, device)
        for precision in PRECISIONS
    }


def measure(arguments: argparse.Namespace, sessions: dict[str, Session], vocabulary: int, device: str) -> Any:
    """Print and return one row of times a shape."""
    half = device == "cuda"
    peer = SdpaEncoder(*open_encoder(str(arguments.checkpoint))).eval().to(device)
    peer = peer.half() if half else peer
    table = {}
    for batch in arguments.batches:
        for length in arguments.lengths:
            ids, _ = tokens_of((length,) * batch, vocabulary)
            row = time_shape(runs_of(sessions, peer, ids, device), batch * length)
            table[f"{batch}x{length}"] = row
            cells = (f"{name} {'-' if value is None else format(value, '.2f')}" for name, value in row.items())
            print(f"{batch}x{length:<8}" + "   ".join(cells))
    return table


def main() -> int:
    """Check, time, count nodes; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="with fp32 and fp16")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--lengths", nargs="+", type=int, default=[16, 128, 512, 2048, 8192])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    parser.add_argument("--rehearse", action="store_true", help="run it all on the CPU, with torch in float32")
    arguments = parser.parse_args()
    if not arguments.rehearse:
        require_gpu()
    device = "cpu" if arguments.rehearse else "cuda"
    bundle = open_bundle(arguments.bundle)
    vocabulary = bundle.manifest.model.vocab_size
    sessions = open_sessions(bundle, device)
    longest = max(arguments.lengths)
    cases = [lengths for lengths in CHECKED if max(lengths) <= longest] + [(longest,)]
    verdicts = check(sessions, str(arguments.checkpoint), vocabulary, cases)
    for precision, verdict in verdicts.items():
        print(f"{precision} against torch: {verdict}")
    nodes = {name: nodes_by_provider(bundle.path / bundle.files_of(name)[0], device) for name in PRECISIONS}
    for precision, counts in nodes.items():
        print(f"{precision} nodes: {counts}")
    times = measure(arguments, sessions, vocabulary, device)
    about = {"device": _device_name(device), "torch": torch.__version__}
    finish("on_cuda", about | {"correctness": verdicts, "nodes": nodes, "milliseconds": times})
    return 0 if all(verdict["agrees"] for verdict in verdicts.values()) else 1


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "cpu, a rehearsal"


if __name__ == "__main__":
    sys.exit(main())
