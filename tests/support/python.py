"""Python, and `jinabert-onnx`, as processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

Ended = subprocess.CompletedProcess[str]


def run_python(
    *arguments: object,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float | None = 300,
    preexec_fn: Callable[[], object] | None = None,
) -> Ended:
    """Run this environment's Python and return its exit code and what it wrote."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        input=stdin,
        cwd=cwd,
        env=env,
        capture_output=True,
        encoding="utf-8",
        timeout=timeout,
        preexec_fn=preexec_fn,
    )


run_command = partial(run_python, "-m", "jinabert_onnx")
