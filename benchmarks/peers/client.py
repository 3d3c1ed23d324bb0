"""The parent's side of the line protocol: a worker process that is asked one thing at a time, and held to limits."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .registry import Peer, environment

LOAD_SECONDS = 600.0
_POLL_SECONDS = 0.1
_SPARE_MEGABYTES = 1000  # of the machine; with less the system itself would end processes


class PeerError(Exception):
    """A worker has died; the message names its log."""


class OverLimitError(Exception):
    """A worker was ended for what it took; the message says what that was."""


@dataclass(frozen=True)
class Limits:
    """What a peer may take: seconds for one request, and megabytes of its whole process."""

    seconds: float
    megabytes: float


class Worker:
    """A peer's process, loaded and ready.

    Attributes:
        about: versions, and what the peer tells of its making.
        load_milliseconds: what loading its model took.
        dead: it has ended, by itself or over a limit; not to be asked again.
    """

    def __init__(self, peer: Peer, work: Path, megabytes: float) -> None:
        """Start the process and wait until it is ready.

        Raises:
            PeerError: it cannot be started or ends at once.
            OverLimitError: it takes too much memory or time to load.
        """
        self.peer = peer
        self.dead = False
        self._megabytes = megabytes
        self._log = work / f"{peer.name}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                peer.command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        try:
            ready = self._receive(LOAD_SECONDS)
        except (PeerError, OverLimitError):
            self.close()
            raise
        self.about: dict[str, object] = ready["about"]
        self.load_milliseconds: float = ready["load_milliseconds"]

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def run(self, inputs: Path, vectors: Path, warm: int, runs: int, seconds: float) -> dict[str, Any]:
        """Have one input file run: `milliseconds` of each timed pass, and `peak_megabytes` of the process.

        Raises:
            PeerError: the worker has died.
            OverLimitError: it took more than `seconds`, or too much memory, and was ended.
        """
        request = {"input": str(inputs), "vectors": str(vectors), "warm": warm, "runs": runs}
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the missing answer says it
            print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._receive(seconds)

    def close(self) -> None:
        """Let the process end, and wait until its memory is free."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _receive(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        self._wait(time.monotonic() + seconds, seconds)
        line = self._process.stdout.readline()
        if not line:
            code = self._end()
            raise PeerError(f"{self.peer.name} ended with code {code}; see {self._log.name} in the work directory")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _wait(self, deadline: float, seconds: float) -> None:
        """Until there is an answer or the end of the process; its memory is looked at meanwhile."""
        assert self._process.stdout is not None
        while not select.select([self._process.stdout], [], [], _POLL_SECONDS)[0]:
            held = _megabytes(f"/proc/{self._process.pid}/status", "VmRSS")
            if held > self._megabytes or _megabytes("/proc/meminfo", "MemAvailable") < _SPARE_MEGABYTES:
                self._end()
                raise OverLimitError(f"more than {held / 1000:.2g} GB")
            if time.monotonic() > deadline:
                self._end()
                raise OverLimitError(f"more than {seconds:.0f} s")

    def _end(self) -> int:
        self.dead = True
        self._process.kill()  # does nothing to one that has ended
        return self._process.wait()


def _megabytes(file: str, field: str) -> float:
    """A field in kB of a file of /proc; 0 once the process has ended."""
    lines = Path(file).read_text().splitlines()
    return next((int(line.split()[1]) * 1.024e-3 for line in lines if line.startswith(f"{field}:")), 0.0)
