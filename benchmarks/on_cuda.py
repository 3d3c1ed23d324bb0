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
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinabert_onnx.bench.machine import result_line
from jinabert_onnx.bundle.manifest import Bundle, open_bundle
from jinabert_onnx.encoding.pooling import pool
from jinabert_onnx.engine.batching import pad
from jinabert_onnx.engine.providers import provider_arguments
from jinabert_onnx.engine.session import Session, open_session
from jinabert_onnx.errors import RunError
from jinabert_onnx_eval.baselines.plain_model import PlainEncoder, open_encoder
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

PRECISIONS = ("fp32", "fp16")
CHECKED = ((16,), (128,), (1, 7, 130, 600), (2048,))  # lengths of one batch each
BOUNDS = {"fp32": 1e-4, "fp16": 0.9995}  # largest difference of a token; smallest cosine of a text

Run = Callable[[], object]
Ids = NDArray[np.int64]

_ROWS, _TOKENS = 2, 300  # of the profiled batch: more than one block of queries


class SdpaEncoder(PlainEncoder):
    """The same through `F.scaled_dot_product_attention`, with biases kept from call to call of one length.

    For batches without padding only, so that the kernel gets one bias for the whole batch.
    """

    def __init__(self, encoder: JinaBertEncoder, heads: int) -> None:
        super().__init__(encoder, heads)
        self._kept: tuple[Tensor, Tensor] | None = None

    def biases(self, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """As above, made when the length has changed."""
        if self._kept is None or self._kept[0].shape[-1] != attention_mask.shape[1]:
            self._kept = None  # frees the former before the next is made
            self._kept = super().biases(attention_mask[:1])
        return self._kept

    def attend(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        """As above; `mask` is not looked at."""
        every_row = bias.expand(query.shape[0], -1, -1, -1)
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=every_row)


def require_gpu() -> None:
    """End with one line where there is no GPU, or one of the two libraries cannot use it."""
    import onnxruntime

    if not torch.cuda.is_available():
        raise SystemExit("on_cuda.py needs a CUDA GPU, and torch sees none (--rehearse tries the script on the CPU)")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise SystemExit("on_cuda.py needs onnxruntime-gpu: pip uninstall onnxruntime && pip install '.[gpu]'")


def tokens_of(lengths: tuple[int, ...], vocabulary: int) -> tuple[Ids, Ids]:
    """Return seeded random ids of these lengths, padded, and their mask."""
    generator = np.random.default_rng(lengths)
    return pad([generator.integers(vocabulary, size=length) for length in lengths])


def difference(found: Any, expected: Any, mask: Ids) -> dict[str, float]:
    """Return largest difference of a token, and smallest cosine of a text's mean; padding is not looked at."""
    visible = mask == 1
    first, second = pool(found, mask, "mean"), pool(expected, mask, "mean")
    cosines = (first * second).sum(1) / (np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1))
    return {
        "difference": float(np.abs(found[visible] - expected[visible]).max()),
        "cosine": float(cosines.min()),
    }


def check(sessions: dict[str, Session], checkpoint: str, vocabulary: int, cases: Any) -> dict[str, dict[str, Any]]:
    """Return every precision against the project's own encoder in float32 on the CPU, the worst of all cases."""
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
    """Return one batch through every session and through torch, each waiting for its end."""
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
    """Return the median milliseconds of each; None for those that the device has no memory for."""
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


def interleaved(runs: dict[str, Run], repeats: int) -> dict[str, float]:
    """Return the median milliseconds of each function, after one run to warm up, taking turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat:
                times[name].append((time.perf_counter() - start) * 1000)
    return {name: round(statistics.median(values), 2) for name, values in times.items()}


def nodes_by_provider(path: Path, device: str) -> dict[str, dict[str, int]]:
    """By provider, how many nodes of each operator ran there, those of subgraphs included.

    Copies between host and device appear as the operators MemcpyToHost and MemcpyFromHost.
    """
    with tempfile.TemporaryDirectory() as folder:
        profile = _profile(path, device, Path(folder) / "profile")
        return count_nodes(json.loads(profile.read_text()))


def count_nodes(events: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Return the same of a profile's events; a node that ran many times counts once."""
    nodes = {
        (event["args"]["provider"], event["name"], event["args"]["op_name"])
        for event in events
        if event.get("cat") == "Node" and event.get("args", {}).get("provider")
    }
    providers = sorted({provider for provider, _, _ in nodes})
    return {
        provider: dict(Counter(operator for owner, _, operator in sorted(nodes) if owner == provider).most_common())
        for provider in providers
    }


def _profile(path: Path, device: str, prefix: Path) -> Path:
    """Run a small batch and write what onnxruntime noted."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(prefix)
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=provider_arguments(device))
    ids = np.ones((_ROWS, _TOKENS), np.int64)
    session.run(None, {"input_ids": ids, "attention_mask": ids})
    return Path(session.end_profiling())


def open_sessions(bundle: Bundle, device: str) -> dict[str, Session]:
    """Return a session a precision, on the device and nowhere else."""
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
    print(result_line("on_cuda", about | {"correctness": verdicts, "nodes": nodes, "milliseconds": times}))
    return 0 if all(verdict["agrees"] for verdict in verdicts.values()) else 1


def _device_name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else "cpu, a rehearsal"


if __name__ == "__main__":
    sys.exit(main())
