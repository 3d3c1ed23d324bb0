"""The command line `jinabert-onnx`: one module per command, results on stdout, everything else on stderr.

The exporter's commands come through the entry points `jinabert_onnx.commands`, so that nothing here
imports the exporter.
"""

from .main import main

__all__ = ["main"]
