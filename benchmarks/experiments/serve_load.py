"""A server under load: what 32 clients get of the gain that batches give offline, and what becomes of too many.

    python benchmarks/experiments/serve_load.py BUNDLE [--precision int8] [--seconds 12] [--rounds 3]

Single texts of 16 and of 128 tokens. In each round, in turn: `encode` one text after the other and in batches of 32,
in a process of its own; the server with 1 client and with 32. Then five times as many requests as it can answer.
Clients are processes of their own on the same machine, whose share of a core is noted: it is taken from the server.
Needs the extra `server`; Linux only.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jinabert_onnx import Embedder
from jinabert_onnx.bench.machine import result_line
from jinabert_onnx.bench.texts import TextMaker

HERE = Path(__file__).resolve().parent
LENGTHS = (16, 128)
CLIENTS = 32
OVERLOAD = 5  # times what the server can answer
KINDS = ("offline, one by one", "offline, batches", "server, 1 client", f"server, {CLIENTS} clients")


def texts_of(model: Embedder, tokens: int) -> list[str]:
    """Return different texts of exactly so many tokens."""
    maker, generator = TextMaker(model.bundle.path), np.random.default_rng(0)
    return [maker.make(tokens, generator) for _ in range(256)]


class Server:
    """A server in a process of its own."""

    def __init__(self, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "jinabert_onnx", "serve", *arguments, "--port", "0"]
        # A pipe that nobody reads would stop the server.
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - for as long as the server lives
        self._process = subprocess.Popen(command, stderr=self._log)
        self.host, self.port = self._address()
        while self.get("/ready")[0] != 200:
            time.sleep(0.1)

    def _address(self) -> tuple[str, str]:
        while True:
            self._log.seek(0)
            text = self._log.read()
            if found := re.search(r"http://([\d.]+):(\d+)", text):
                return found[1], found[2]
            if self._process.poll() is not None:
                raise SystemExit(text)
            time.sleep(0.05)

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body."""
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.port}{path}", timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""

    def gauge(self, name: str) -> float:
        """Return a number of /metrics."""
        found = re.search(rf"^{name} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        assert found is not None
        return float(found[1])

    def megabytes(self, kind: str = "Rss") -> float:
        """Return resident memory, or its share of pages that processes have together ("Pss")."""
        lines = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text().splitlines()
        return round(next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) * 1024 / 1e6, 1)

    def load(self, kind: str, amount: float, seconds: float, bodies: bytes) -> subprocess.Popen[bytes]:
        """Start a client."""
        command = [sys.executable, str(HERE / "load_client.py"), self.host, self.port]
        process = subprocess.Popen(
            [*command, kind, str(int(amount)), str(seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        process.stdin.write(bodies)
        process.stdin.close()
        process.stdin = None
        return process

    def stop(self) -> int:
        """End it: the exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)


@contextmanager
def serving(arguments: list[str]) -> Iterator[Server]:
    """Yield a server while the block lasts."""
    server = Server(arguments)
    try:
        yield server
    finally:
        if server.stop() != 0:
            raise SystemExit("the server did not end in order")


def offline_rate(model: Embedder, texts: list[str], batch: int, seconds: float) -> float:
    """Measure texts a second of `encode` with so many texts a call."""
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        first = done % len(texts)
        done += len(model.encode((texts * 2)[first : first + batch], normalize_embeddings=True))
    return done / (time.perf_counter() - start)


def result_of(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Return what a client printed."""
    output, _ = process.communicate()
    answer: dict[str, Any] = json.loads(output)
    return answer


def measure(model: Embedder, server: Server, tokens: int, seconds: float, rounds: int) -> dict[str, Any]:
    """Measure texts a second in each way, medians of the rounds, and latencies of the last."""
    texts = texts_of(model, tokens)
    bodies = b"".join(json.dumps({"input": text}).encode() + b"\n" for text in texts)
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    last: dict[str, Any] = {}
    for _ in range(rounds):
        rates[KINDS[0]].append(offline_rate(model, texts, 1, seconds))
        rates[KINDS[1]].append(offline_rate(model, texts, CLIENTS, seconds))
        for kind, clients in zip(KINDS[2:], (1, CLIENTS), strict=True):
            last[kind] = result_of(server.load("closed", clients, seconds, bodies))
            rates[kind].append(last[kind]["texts"] / seconds)
    found = {kind: round(statistics.median(values), 2) for kind, values in rates.items()}
    one, batches, alone, many = (found[kind] for kind in KINDS)
    return {
        "texts_per_second": found,
        "gain_offline": round(batches / one, 3),
        "gain_server": round(many / alone, 3),
        "gain_share": round((many / alone) / (batches / one), 3),
        "throughput_share": round(many / batches, 3),
        "latency": last,
    }


def overload(server: Server, texts: list[str], capacity: float, seconds: float) -> dict[str, Any]:
    """Five times as many requests as can be answered; memory meanwhile; the time until the server is idle again."""
    bodies = b"".join(json.dumps({"input": text}).encode() + b"\n" for text in texts)
    before = server.megabytes()
    client, most = server.load("open", OVERLOAD * capacity, seconds, bodies), before
    while client.poll() is None:
        most = max(most, server.megabytes())
        time.sleep(0.2)
    answers = result_of(client)
    start = time.perf_counter()
    while server.gauge("jinabert_onnx_queued_tokens"):
        time.sleep(0.1)
    drained = time.perf_counter() - start
    after = result_of(server.load("closed", 1, 3, bodies))
    return {
        "rate": round(OVERLOAD * capacity),
        **answers,
        "megabytes": {"before": before, "most": most, "after": server.megabytes()},
        "seconds_to_idle": round(drained, 2),
        "one_client_after": after["statuses"],
    }


def main() -> None:
    """Measure, print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    model = Embedder.load(arguments.bundle, precision=arguments.precision, threads=arguments.threads)
    options = [arguments.bundle, "--precision", arguments.precision, "--threads", str(arguments.threads)]
    results: dict[str, Any] = {}
    with serving(options) as server:
        for tokens in LENGTHS:
            results[f"{tokens} tokens"] = row = measure(model, server, tokens, arguments.seconds, arguments.rounds)
            print(f"{tokens} tokens: {json.dumps({k: v for k, v in row.items() if k != 'latency'}, indent=2)}")
    for tokens in LENGTHS:
        with serving(options) as server:
            capacity = results[f"{tokens} tokens"]["texts_per_second"][KINDS[3]]
            found = overload(server, texts_of(model, tokens), capacity, arguments.seconds)
            results[f"{tokens} tokens, {OVERLOAD} times too many"] = found
            print(f"{tokens} tokens, {OVERLOAD} times too many: {json.dumps(found, indent=2)}")
    print(result_line("serve_load", results))


if __name__ == "__main__":
    main()
