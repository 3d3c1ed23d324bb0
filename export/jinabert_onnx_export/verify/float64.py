"""Judge fp32 by the encoder in float64, wherever it is not within rounding of torch's float32.

Where scores are large, float32 is off by more than any fixed bound, torch's as well as the graph's. What counts then is
that the graph is not further off than torch is. Knows nothing of ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from jinabert_onnx.bundle import probes
from jinabert_onnx.bundle.probes import Agreement, Rows

from jinabert_onnx_export.checkpoint.read import Checkpoint, open_checkpoint
from jinabert_onnx_export.encoder.model import JinaBertEncoder
from jinabert_onnx_export.errors import VerificationError


@dataclass(frozen=True)
class Exactness:
    """Agreement with float64, of the exported graph and of torch's float32 on the same inputs."""

    graph: Agreement
    torch: Agreement

    def to_dict(self) -> dict[str, float]:
        """Return the figures for the manifest, as JSON has them."""
        return {"max_error": self.graph.max_difference, "max_error_torch": self.torch.max_difference}


def in_words(exactness: Exactness | None) -> str:
    """Return the end of a line of measurements; empty where float64 was not needed."""
    if exactness is None:
        return ""
    graph, torch = exactness.graph.max_difference, exactness.torch.max_difference
    return f"; against float64 largest error {graph:.1e}, of torch's float32 {torch:.1e}"


@dataclass(frozen=True)
class Output:
    """What the graph and torch's float32 gave, row by row; `exact` computes the same with an encoder in float64."""

    where: str  # in messages
    graph: Rows
    torch: Rows
    exact: Callable[[JinaBertEncoder], Rows]


def require_exact(
    outputs: Sequence[Output], compare: Callable[[Rows, Rows], Agreement], checkpoint: Checkpoint
) -> Exactness | None:
    """Compare fp32 with torch's float32, and what differs by more than rounding with float64.

    Args:
        outputs: what the graph gave, for batches and for texts.
        compare: how far rows are from others.
        checkpoint: from which the encoder is loaded again if float64 is needed.

    Returns:
        What was measured with float64, the worst of all inputs that needed it; None if none did.

    Raises:
        VerificationError: the graph is further off than twice torch's float32, or than rounding if that is more.
    """
    float64 = _Float64(checkpoint)
    measured: dict[str, Exactness] = {}
    for output in outputs:
        if not compare(output.graph, output.torch).within("fp32"):
            right = output.exact(float64.encoder)
            measured[output.where] = Exactness(compare(output.graph, right), compare(output.torch, right))
    return _require_as_exact_as_torch(measured) if measured else None


def _require_as_exact_as_torch(measured: Mapping[str, Exactness]) -> Exactness:
    # Of a few tokens alone, the largest error is a matter of luck, so all inputs are judged together.
    graph = probes.worst([one.graph for one in measured.values()])
    torch = probes.worst([one.torch for one in measured.values()])
    if not graph.as_exact_as(torch):
        where = max(measured, key=lambda name: measured[name].graph.max_difference)
        raise VerificationError(
            f"fp32 {where}: off from float64 by {_off(graph)}; required is at most "
            f"{probes.allowed_error(torch.max_difference):.2g}, where torch's float32 is off by {_off(torch)}"
        )
    return Exactness(graph, torch)


def _off(agreement: Agreement) -> str:
    cosine = f", cosine {agreement.min_cosine:.6f}" if agreement.min_cosine < 1 else ""
    return f"{agreement.max_difference:.2g}{cosine}"


class _Float64:
    """A checkpoint's encoder in float64, loaded when it is first needed: it takes twice the memory and more time."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint

    @cached_property
    def encoder(self) -> JinaBertEncoder:
        # From the files anew: tensors that were mapped from them once may have been changed since, in memory.
        return open_checkpoint(self._checkpoint.path).load_encoder().double()
