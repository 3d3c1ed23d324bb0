"""A pass over a graph: a rewriting in place, what it requires of the graph before, and what it ensures afterwards.

Knows none of the passes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from jinabert_onnx_export.errors import ExportError

Condition = Callable[[ir.Model], None]

_EQUAL_WEIGHTS = "are weights of this checkpoint equal to each other?"  # torch merges such


@dataclass(frozen=True)
class GraphPass:
    """A rewriting of a graph in place, between two conditions; each of the three raises ValueError where it fails.

    The docstring of `rewrite` states the conditions in words, as "Requires" and "Ensures".
    """

    name: str
    requires: Condition
    rewrite: Callable[[ir.Model], None]
    ensures: Condition


def run_passes(model: ir.Model, passes: Sequence[GraphPass]) -> None:
    """Run the passes over `model` one after the other, in place, and check the conditions of each.

    Raises:
        ExportError: a condition does not hold, or a pass meets a form that it does not know; names the pass, and
            those that came before it.
    """
    done: list[str] = []
    for graph_pass in passes:
        _run_stage(f"cannot run {graph_pass.name}", graph_pass.requires, model, done)
        _run_stage(f"{graph_pass.name} failed", graph_pass.rewrite, model, done)
        _run_stage(f"{graph_pass.name} left an unexpected graph", graph_pass.ensures, model, done)
        done.append(graph_pass.name)


def require_counts(model: ir.Model, expected: Mapping[str, int]) -> None:
    """Check how many nodes of each operator the graph has.

    Raises:
        ValueError: there are more or fewer of one.
    """
    counts = Counter(node.op_type for node in model.graph)
    for name, count in expected.items():
        if counts[name] != count:
            raise ValueError(f"the graph has {counts[name]} {name} nodes where {count} were expected")


def nodes_of(model: ir.Model, op_type: str) -> list[ir.Node]:
    """Return the graph's nodes of one operator, in their order."""
    return [node for node in model.graph if node.op_type == op_type]


def _run_stage(failure: str, stage: Condition, model: ir.Model, done: Sequence[str]) -> None:
    try:
        stage(model)
    except ValueError as error:
        after = f", after: {', '.join(done)}" if done else ""
        raise ExportError(
            f"the traced graph has an unexpected form: {failure} ({error}){after}; {_EQUAL_WEIGHTS}"
        ) from error
