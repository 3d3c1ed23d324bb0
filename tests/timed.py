"""Run a command and add a line to build/times.tsv: what ran, its seconds, the CPU's seconds, the exit code.

python tests/timed.py NAME COMMAND [ARGUMENT ...]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path


def main(name: str, command: list[str]) -> int:
    """Run the command and return its exit code."""
    start = time.monotonic()
    code = subprocess.run(command, check=False).returncode
    used = os.times()
    line = f"{name}\t{time.monotonic() - start:.0f}\t{used.children_user + used.children_system:.0f}\t{code}\n"
    times = Path("build") / "times.tsv"
    times.parent.mkdir(exist_ok=True)
    with times.open("a") as file:
        file.write(line)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
