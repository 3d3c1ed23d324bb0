"""On which execution provider onnxruntime really runs each node of a file, from a profile of one run.

Knows nothing of bundles or times.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from jinabert_onnx.engine.providers import provider_arguments

_ROWS, _TOKENS = 2, 300  # long enough for more than one block of queries


def nodes_by_provider(path: Path, device: str) -> dict[str, dict[str, int]]:
    """By provider, how many nodes of each operator ran there, those of subgraphs included.

    Copies between host and device appear as the operators MemcpyToHost and MemcpyFromHost.
    """
    with tempfile.TemporaryDirectory() as folder:
        profile = _profile(path, device, Path(folder) / "profile")
        return count_nodes(json.loads(profile.read_text()))


def count_nodes(events: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """The same of a profile's events; a node that ran many times counts once."""
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
