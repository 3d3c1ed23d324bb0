"""Load one server of an embedder and a reranker: clients that embed, clients that rerank, then all of them at once.

    python benchmarks/serve_mixed.py build/small-bundle build/turbo-bundle --max-memory 600MB

The server is a process of its own. The clients are threads here, on the same cores, each with one request open at a
time: some embed a text of 16 to 300 tokens, some rerank 20 documents of 20 to 300 tokens. Every answer is compared with
what `Embedder.encode` and `CrossEncoder.rank` gave before. Rates count the part of each request that lies in the time
measured. Linux only. Exit code 1 if an answer differs, a request failed, or the server passed its limit of memory.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from jinabert_onnx.bench.machine import result_line
from jinabert_onnx.engine.memory_model import parse_memory
from mixed_traffic import Answer, Request, ask, embedding_requests, reranking_requests
from server_process import PATIENCE, Server, serving

EMBED, RERANK = "embedding", "reranking"
PHASES = {"embedding alone": (EMBED,), "reranking alone": (RERANK,), "both": (EMBED, RERANK)}
LIMIT = 1e-5  # of the difference between an answer and the library's

Results = dict[str, Any]


def be_client(port: int, requests: Sequence[Request], end: float) -> list[Answer]:
    """Send these requests in turns, one after the other, until the time `end`."""
    connection, answers = HTTPConnection("127.0.0.1", port, timeout=PATIENCE), []
    for request in cycle(requests):
        if time.monotonic() >= end:
            break
        answers.append(ask(connection, request))
    connection.close()
    return answers


def run_phase(
    server: Server, traffic: Mapping[str, Sequence[Request]], clients: int, warm_up: float, seconds: float
) -> Results:
    """Let `clients` of each kind ask, and measure `seconds` of it after the warm-up."""
    start = time.monotonic() + warm_up
    end = start + seconds
    with ThreadPoolExecutor(2 * clients) as pool:
        running = {
            kind: [pool.submit(be_client, server.port, requests[n::clients], end) for n in range(clients)]
            for kind, requests in traffic.items()
        }
        time.sleep(warm_up)
        before = server.cpu_seconds(), time.process_time()
        time.sleep(max(0.0, end - time.monotonic()))
        used = server.cpu_seconds() - before[0], time.process_time() - before[1]
        answers = {kind: [each for future in futures for each in future.result()] for kind, futures in running.items()}
    return {
        "kinds": {kind: summarise(found, start, end) for kind, found in answers.items()},
        "server_cores": used[0] / seconds,
        "client_cores": used[1] / seconds,
        "peak_megabytes": server.peak_megabytes(),
    }


def summarise(answers: Sequence[Answer], start: float, end: float) -> Results:
    """Return rates in the time from `start` to `end`, and seconds of what was answered in it."""
    answered = [answer for answer in answers if answer.status == 200]
    inside = [max(0.0, min(end, each.end) - max(start, each.start)) for each in answered]
    parts = [time_inside / (each.end - each.start) for time_inside, each in zip(inside, answered, strict=True)]
    seconds = [each.end - each.start for each in answered if start <= each.end <= end]
    if not seconds:
        raise SystemExit("no request was answered in the time measured; give more --seconds")
    p50, p99 = np.percentile(seconds, (50, 99)).tolist()
    return {
        "answers": len(seconds),
        "requests_per_second": sum(parts) / (end - start),
        "tokens_per_second": sum(n * each.tokens for n, each in zip(parts, answered, strict=True)) / (end - start),
        "p50_seconds": p50,
        "p99_seconds": p99,
        "refused": sum(answer.status == 429 for answer in answers),
        "failed": sum(answer.status not in (200, 429) for answer in answers),
        "largest_difference": float(np.max([answer.difference for answer in answered])),  # NaN counts as the largest
    }


def efficiency(phases: Mapping[str, Results]) -> float:
    """Return the CPU time that the tokens of both kinds take alone, over what they took together.

    Unlike rates, it says little of how much time neighbours left to the server.
    """
    alone = 0.0  # CPU seconds a second
    for kind, found in phases["both"]["kinds"].items():
        phase = phases[f"{kind} alone"]
        alone += found["tokens_per_second"] / phase["kinds"][kind]["tokens_per_second"] * phase["server_cores"]
    return alone / float(phases["both"]["server_cores"])


def tell(phases: Mapping[str, Results]) -> None:
    """Print a table of the phases, with each kind's share of the tokens, and its rate beside its rate alone."""
    print(
        "| | answers | requests/s | tokens/s | share | of alone | p50 | p99 | refused | failed | largest difference |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, phase in phases.items():
        total = sum(found["tokens_per_second"] for found in phase["kinds"].values())
        for kind, found in phase["kinds"].items():
            rate = found["tokens_per_second"]
            alone = rate / phases[f"{kind} alone"]["kinds"][kind]["tokens_per_second"]
            print(
                f"| {name if kind in name else f'{kind}, {name}'} | {found['answers']} "
                f"| {found['requests_per_second']:.2f} | {rate:.0f} | {rate / total:.2f} | {alone:.2f} "
                f"| {found['p50_seconds']:.2f} s | {found['p99_seconds']:.2f} s "
                f"| {found['refused']} | {found['failed']} | {found['largest_difference']:.1e} |"
            )
    for name, phase in phases.items():
        print(f"{name}: {phase['server_cores']:.2f} cores for the server, {phase['client_cores']:.2f} for the clients")
    print(f"CPU time of both kinds alone, over that of both together: {efficiency(phases):.2f}")


def main() -> int:
    """Measure, and print a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embedder", type=Path, help="bundle of an embedding model")
    parser.add_argument("reranker", type=Path, help="bundle of a reranker")
    parser.add_argument("--max-memory", required=True, metavar="SIZE", help="limit of the server, such as 900MB")
    parser.add_argument("--precision", default="fp32", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--clients", type=int, default=16, help="of each kind (default: %(default)s)")
    parser.add_argument("--warm-up", type=float, default=20, help="seconds of each phase (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="measured of each phase (default: %(default)s)")
    arguments = parser.parse_args()
    precision, threads = arguments.precision, arguments.threads
    traffic = {
        EMBED: embedding_requests(arguments.embedder, precision, threads),
        RERANK: reranking_requests(arguments.reranker, precision, threads),
    }
    phases = {}
    with serving((arguments.embedder, arguments.reranker), precision, threads, arguments.max_memory) as server:
        idle = server.peak_megabytes()
        for name, kinds in PHASES.items():
            chosen = {kind: traffic[kind] for kind in kinds}
            phases[name] = run_phase(server, chosen, arguments.clients, arguments.warm_up, arguments.seconds)
    tell(phases)
    limit, peak = parse_memory(arguments.max_memory) / 1e6, phases["both"]["peak_megabytes"]
    print(f"memory: {idle:.0f} MB once ready, at most {peak:.0f} MB, limit {limit:.0f} MB")
    asked = {name: getattr(arguments, name) for name in ("precision", "threads", "clients", "warm_up", "seconds")}
    memory = {"limit_megabytes": limit, "ready_peak_megabytes": idle, "peak_megabytes": peak}
    print(result_line("serve_mixed", asked | memory | {"efficiency": efficiency(phases), "phases": phases}))
    every = [found for phase in phases.values() for found in phase["kinds"].values()]
    right = all(found["largest_difference"] <= LIMIT and not found["failed"] for found in every)
    return 0 if right and peak <= limit else 1


if __name__ == "__main__":
    sys.exit(main())
