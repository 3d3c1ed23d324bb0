"""What `import jinabert_onnx` costs beyond numpy, and loading beyond onnxruntime: each in fresh processes.

python benchmarks/import_time.py [--repeats 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from timing import finish

STATEMENTS = {
    "numpy": "import numpy",
    "numpy, tokenizers": "import numpy, tokenizers",
    "jinabert_onnx": "import jinabert_onnx",
    "jinabert_onnx, onnxruntime": "import jinabert_onnx, onnxruntime",
}
_CODE = "import time; start = time.perf_counter(); {}; print((time.perf_counter() - start) * 1000)"


def main() -> None:
    """Import in turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(arguments.repeats + 1):
        for name, statement in STATEMENTS.items():
            command = [sys.executable, "-c", _CODE.format(statement)]
            times[name].append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    results = {name: round(statistics.median(values[1:]), 1) for name, values in times.items()}
    for name, milliseconds in results.items():
        print(f"import {name:<28} {milliseconds:8.1f} ms")
    finish("import_time", results)


if __name__ == "__main__":
    main()
