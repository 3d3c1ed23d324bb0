"""Start a function as AWS Lambda does and answer one event, noting the time at each step.

    python -I -S -B benchmarks/lambda_first_answer.py DIRECTORY     (started by lambda_cold_start.py)

DIRECTORY is an unpacked package of `jinabert-onnx lambda-zip`; nothing else but Python's library is in reach. Prints
JSON: after each step the clock in seconds, which all processes share. Imports are within, to be timed.
"""

from __future__ import annotations

import sys
import time


class Context:
    """What the handler uses of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        """A minute."""
        return 60_000


def main(directory: str) -> None:
    """Import what the handler imports, then the handler, which loads the model, and call it."""
    clock = {"interpreter": time.monotonic()}
    sys.path.insert(0, directory)
    from jinabert_onnx.engine.providers import import_onnxruntime

    import_onnxruntime()
    import jinabert_onnx.serverless.function  # noqa: F401

    clock["import"] = time.monotonic()
    from jinabert_onnx.serverless.aws_lambda import handler

    clock["load and self-test"] = time.monotonic()
    event = {"input": " ".join("a" * 14)}  # with special tokens 16
    answer = handler(event, Context())
    clock["first answer"] = time.monotonic()
    handler(event, Context())
    clock["next answer"] = time.monotonic()
    _report(clock, answer)


def _report(clock: dict[str, float], answer: dict[str, object]) -> None:
    import json

    print(json.dumps({"clock": clock, "usage": answer["usage"]}))


if __name__ == "__main__":
    main(sys.argv[1])
