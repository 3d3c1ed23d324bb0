"""Fresh processes of this Python: what to load is written to their stdin, what they found is read from their stdout.

A process ends with the figures of its last line; nothing of it stays behind. Knows nothing of the figures.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinabert_onnx.errors import RunError

from .plan import Configuration

_SCRIPT = Path(__file__).with_name("fresh_process.py")


@dataclass(frozen=True)
class Place:
    """Where a bundle is: a directory, or a hub id and commit that have been downloaded."""

    source: str
    revision: str | None


def run_child(place: Place, configuration: Configuration, text: str) -> Mapping[str, Any]:
    """Run `fresh_process` for one text; return its clock, vector and memory.

    Raises:
        RunError: it failed, or the system ended it.
    """
    request = {
        "source": place.source,
        "revision": place.revision,
        "precision": configuration.precision,
        "provider": configuration.provider,
        "threads": configuration.threads,
        "text": text,
    }
    # -P: the script's directory, whose names others have too, is not searched for imports.
    ended = subprocess.run(
        [sys.executable, "-P", str(_SCRIPT)], input=json.dumps(request).encode(), capture_output=True, check=False
    )
    if ended.returncode != 0:
        said = ended.stderr.decode("utf-8", errors="replace").strip().splitlines()
        why = f"signal {-ended.returncode}, most likely for want of memory" if ended.returncode < 0 else "an error"
        raise RunError(f"a process with {configuration} ended by {why}{f' ({said[-1]})' if said else ''}")
    answer: Mapping[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return answer
