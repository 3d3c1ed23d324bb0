"""How many server processes a machine should run: its threads in one process, or shared out to several.

    python benchmarks/serve_processes.py BUNDLE [--precision int8] [--seconds 12] [--rounds 3]

Texts a second of 32 clients in all, and proportional set size (PSS: shared pages are counted once), after texts of 16
and of 128 tokens. The forms take turns. Needs the extra `server`; Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
from typing import Any

from jinabert_onnx import Embedder
from serve_load import CLIENTS, LENGTHS, Server, result_of, serving, texts_of
from timing import finish


def rate_of(servers: list[Server], bodies: bytes, seconds: float) -> float:
    """Texts a second of all servers together."""
    clients = [server.load("closed", CLIENTS // len(servers), seconds, bodies) for server in servers]
    return sum(float(result_of(client)["texts"]) for client in clients) / seconds


def main() -> None:
    """Measure, print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    cpus = len(os.sched_getaffinity(0))
    with Embedder.load(arguments.bundle, precision=arguments.precision) as model:
        bodies = {
            tokens: b"".join(json.dumps({"input": text}).encode() + b"\n" for text in texts_of(model, tokens))
            for tokens in LENGTHS
        }
    results: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        forms = {}
        for processes in (1, cpus):
            threads = cpus // processes
            options = [arguments.bundle, "--precision", arguments.precision, "--threads", str(threads)]
            name = f"{processes} x {threads} threads"
            forms[name] = [stack.enter_context(serving(options)) for _ in range(processes)]
        for tokens in LENGTHS:
            rates: dict[str, list[float]] = {name: [] for name in forms}
            for _ in range(arguments.rounds):
                for name, servers in forms.items():
                    rates[name].append(rate_of(servers, bodies[tokens], arguments.seconds))
            results[f"{tokens} tokens, texts a second"] = {
                name: round(statistics.median(values), 1) for name, values in rates.items()
            }
        results["PSS of each process, MB"] = {
            name: [server.megabytes("Pss") for server in servers] for name, servers in forms.items()
        }
    print(json.dumps(results, indent=2))
    finish("serve_processes", results)


if __name__ == "__main__":
    main()
