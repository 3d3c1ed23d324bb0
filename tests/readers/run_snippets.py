"""Run snippets of a page in the environment whose Python runs this, and save what each computes.

The jobs come as JSON on stdin: a list of {"code", "directory", "output", "result"}. Knows nothing of this project.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np


def main() -> None:
    for job in json.load(sys.stdin):
        os.chdir(job["directory"])
        names: dict[str, Any] = {"__name__": "snippet"}
        exec(compile(job["code"], "snippet", "exec"), names)
        np.save(job["output"], np.asarray(names[job["result"]]))


if __name__ == "__main__":
    main()
