"""A bundle on an NVIDIA GPU: times beside torch SDPA.

    python benchmarks/on_cuda.py BUNDLE CHECKPOINT [--lengths 16 128 512 2048 8192] [--batches 1 32]
    python benchmarks/on_cuda.py BUNDLE CHECKPOINT --rehearse --lengths 16 40       (on the CPU, to try the script)

Needs a CUDA GPU, onnxruntime-gpu and a torch with CUDA, both in one environment; has not been run on a GPU yet.
Times are of a batch with results left on the device; `fp16, to numpy` is the runtime's own session, which brings
every token's embedding to the host. What the device has no memory for is a dash. Whether the vectors are right says
`jinabert-onnx verify BUNDLE --against CHECKPOINT --provider cuda`, and how many nodes are left on the CPU
`jinabert-onnx info BUNDLE --run --provider cuda`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinabert_onnx.bench.machine import result_line
from jinabert_onnx.bundle.manifest import Bundle, open_bundle
from jinabert_onnx.engine.session import Session, open_session
from jinabert_onnx.errors import RunError
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from numpy.typing import NDArray
from peers.plain_model import PlainEncoder, open_encoder
from torch import Tensor
from torch.nn import functional

PRECISIONS = ("fp32", "fp16")

Run = Callable[[], object]
Ids = NDArray[np.int64]


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
            ids = np.random.default_rng([batch, length]).integers(vocabulary, size=(batch, length))
            row = time_shape(runs_of(sessions, peer, ids, device), batch * length)
            table[f"{batch}x{length}"] = row
            cells = (f"{name} {'-' if value is None else format(value, '.2f')}" for name, value in row.items())
            print(f"{batch}x{length:<8}" + "   ".join(cells))
    return table


def main() -> None:
    """Time; the last line is JSON."""
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
    times = measure(arguments, sessions, vocabulary, device)
    name = "cpu, a rehearsal" if arguments.rehearse else torch.cuda.get_device_name()
    about = {"device": name, "torch": torch.__version__}
    print(result_line("on_cuda", about | {"milliseconds": times}))


if __name__ == "__main__":
    main()
