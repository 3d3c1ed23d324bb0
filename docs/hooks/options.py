"""Show the reference what `help` shows of functions whose options are declared in one place: each with its meaning."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import griffe

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "runtime"))

from jinabert_onnx import Embedder


class Options(griffe.Extension):
    """Take the signature and the docstring of functions with `**options: Unpack[...]` from the running code."""

    def on_function(self, *, func: griffe.Function, **kwargs: Any) -> None:
        """Expand the options of `func`, if it has some."""
        if not any(str(parameter.annotation).startswith("Unpack[") for parameter in func.parameters):
            return
        written = func.docstring
        assert written is not None
        running = getattr(Embedder, func.name)
        func.parameters = griffe.Parameters(
            *(_shown(parameter, func.parameters) for parameter in inspect.signature(running).parameters.values())
        )
        func.docstring = griffe.Docstring(
            inspect.getdoc(running) or "",
            lineno=written.lineno,
            parent=func,
            parser=written.parser,
            parser_options=written.parser_options,
        )


def _shown(parameter: inspect.Parameter, written: griffe.Parameters) -> griffe.Parameter:
    """Return a parameter of the running code, as it is written in the source where it is."""
    default = None if parameter.default is inspect.Parameter.empty else repr(parameter.default)
    if parameter.name in written:
        same = written[parameter.name]
        same.default = default
        return same
    annotation = inspect.formatannotation(parameter.annotation).rpartition("jinabert_onnx.engine.cancellation.")[2]
    return griffe.Parameter(
        parameter.name, annotation=annotation, kind=griffe.ParameterKind.keyword_only, default=default
    )
