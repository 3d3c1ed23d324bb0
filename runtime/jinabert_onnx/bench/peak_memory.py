"""A process of its own: load a bundle and embed one text; prints the bytes that it held, as JSON.

Reads a request from stdin (see `children`). The peak is the system's count since the process began.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from jinabert_onnx import Embedder
from jinabert_onnx.engine.memory_limit import resident_memory


def main() -> None:
    """Answer one request."""
    asked = json.loads(sys.stdin.read())
    model = Embedder.load(
        asked["source"],
        precision=asked["precision"],
        provider=asked["provider"],
        threads=asked["threads"],
        revision=asked["revision"],
        local_files_only=asked["revision"] is not None,
    )
    loaded = resident_memory()
    limit = model.bundle.manifest.model.max_tokens
    model.encode(asked["text"], max_length=limit, truncation="error", prompt="", show_progress_bar=False)
    answer = {"loaded": loaded, "afterwards": resident_memory(), "peak": peak_memory()}
    print(json.dumps(answer))  # noqa: T201 - the answer


def peak_memory() -> int | None:
    """Return the most bytes that this process ever held; None where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    if sys.platform in ("linux", "win32"):  # on Linux the next figure would count the process that started this one
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # macOS alone counts bytes


if __name__ == "__main__":
    main()
