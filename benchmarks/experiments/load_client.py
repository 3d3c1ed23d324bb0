"""A client that loads a server, in a process of its own, started by serve_load.py.

    python benchmarks/experiments/load_client.py HOST PORT closed CLIENTS SECONDS < bodies.jsonl
    python benchmarks/experiments/load_client.py HOST PORT open RATE SECONDS < bodies.jsonl

closed: each of CLIENTS connections sends the next request when it has its answer. open: RATE requests a second are sent
whatever becomes of the earlier ones, each on a connection that is free, or a new one. Raw HTTP/1.1 on asyncio, so that
the client takes little of the machine. Prints JSON: answers and latencies by status, and its own CPU share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Tally:
    """Seconds of each answer by status; connections that failed; answers within the time that counts."""

    seconds: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    failed: int = 0
    texts: int = 0


class Connection:
    """One connection that has one request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._place = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> int:
        """Send a request and read its answer: the status."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._place)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.partition(b":")[2]))
        return int(head[9:12])


def requests_of(bodies: list[bytes], host: str) -> list[bytes]:
    """Return the bytes of each request."""
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: "
    return [head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies]


async def ask_and_note(connection: Connection, request: bytes, tally: Tally) -> bool:
    """Send one request; return whether the connection can be used again."""
    start = time.perf_counter()
    try:
        status = await connection.ask(request)
    except (OSError, asyncio.IncompleteReadError, StopIteration):
        tally.failed += 1
        return False
    tally.seconds[status].append(time.perf_counter() - start)
    return True


async def closed_loop(place: tuple[str, int], requests: list[bytes], clients: int, seconds: float) -> Tally:
    """As many requests as the server answers to `clients` connections."""
    tally, end = Tally(), time.perf_counter() + seconds

    async def client(number: int) -> None:
        connection, index = Connection(*place), number
        while time.perf_counter() < end:
            if not await ask_and_note(connection, requests[index % len(requests)], tally):
                connection = Connection(*place)
            tally.texts += time.perf_counter() < end
            index += clients

    await asyncio.gather(*(client(number) for number in range(clients)))
    return tally


async def open_loop(place: tuple[str, int], requests: list[bytes], rate: float, seconds: float) -> Tally:
    """`rate` requests a second, whatever the server answers."""
    tally, free, tasks = Tally(), [Connection(*place)], []

    async def one(connection: Connection, request: bytes) -> None:
        if await ask_and_note(connection, request, tally):
            free.append(connection)

    start = time.perf_counter()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
        connection = free.pop() if free else Connection(*place)
        tasks.append(asyncio.create_task(one(connection, requests[number % len(requests)])))
    await asyncio.gather(*tasks)
    return tally


def summary(tally: Tally, elapsed: float, cpu: float) -> dict[str, object]:
    """Counts and percentiles of latency in milliseconds, by status."""
    statuses = {
        str(status): {
            "answers": len(times),
            **{f"p{p}_ms": round(float(np.percentile(times, p)) * 1000, 1) for p in (50, 95, 99)},
        }
        for status, times in sorted(tally.seconds.items())
    }
    return {"statuses": statuses, "failed": tally.failed, "texts": tally.texts, "client_cpu": round(cpu / elapsed, 3)}


def main(host: str, port: str, kind: str, amount: str, seconds: str) -> None:
    """Load the server and print what it answered."""
    requests = requests_of(sys.stdin.buffer.read().splitlines(), host)
    run = closed_loop if kind == "closed" else open_loop
    start, cpu = time.perf_counter(), time.process_time()
    tally = asyncio.run(run((host, int(port)), requests, int(amount), float(seconds)))
    print(json.dumps(summary(tally, time.perf_counter() - start, time.process_time() - cpu)))


if __name__ == "__main__":
    main(*sys.argv[1:])
