"""ONNX functions from onnxscript: the opset, the domain, and complete imports.

Knows none of the operators.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import onnx
import onnx.inliner
from onnxscript import OnnxFunction, opset23
from onnxscript.values import Opset

DOMAIN = "jinabert"
DOMAIN_VERSION = 2
LAYERS_DOMAIN_VERSION = 3  # of a file whose layers are operators, as those of int8 are

op: Any = opset23  # the operators' own types do not know that shapes are int64
domain = Opset(DOMAIN, DOMAIN_VERSION)
contrib = Opset("com.microsoft", 1)  # onnxruntime's own operators


def function_proto(operator: OnnxFunction[Any, Any]) -> onnx.FunctionProto:
    """Return the body of an operator, with the opsets that its inner graphs use: onnxscript names the outer ones only.

    Of Attention the first output alone is kept: onnxruntime 1.23 refuses unused ones that have a name.
    """
    function = operator.to_function_proto()
    for node in _nodes(function.node):
        if node.op_type == "Attention":
            del node.output[1:]
    _import_used(function)
    return function


def called_from(model: onnx.ModelProto, functions: Sequence[onnx.FunctionProto]) -> list[onnx.FunctionProto]:
    """Return the functions that the model's graph calls, with those that they call written out in their bodies.

    They import the domain in the model's version. onnxruntime writes out a level of functions at a time, and looks at
    the whole graph after each.
    """
    called = {(node.domain, node.op_type) for node in model.graph.node}
    inner = [_key(function) for function in functions if _key(function) not in called]
    shell = onnx.helper.make_model(
        onnx.helper.make_graph([], "functions", [], []), functions=functions, opset_imports=model.opset_import
    )
    for function in shell.functions:
        _import_alike(function, model)
    inlined = onnx.inliner.inline_selected_functions(shell, inner).functions
    written_out = [function for function in inlined if _key(function) in called]
    for function in written_out:
        _import_used(function)
    return written_out


def _import_used(function: onnx.FunctionProto) -> None:
    """Add the imports that the body's nodes, and those of its inner graphs, need beside the ones it has."""
    used = {node.domain for node in _nodes(function.node)}
    imported = {entry.domain for entry in function.opset_import}
    for opset in (domain, contrib):
        if opset.domain in used - imported:
            function.opset_import.add(domain=opset.domain, version=opset.version)


def _import_alike(function: onnx.FunctionProto, model: onnx.ModelProto) -> None:
    """Let the function import the domain in the version in which the model does."""
    (version,) = (entry.version for entry in model.opset_import if entry.domain == DOMAIN)
    for entry in function.opset_import:
        if entry.domain == DOMAIN:
            entry.version = version


def _key(function: onnx.FunctionProto) -> tuple[str, str]:
    return function.domain, function.name


def _nodes(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            yield from _nodes(attribute.g.node)
