"""The parent's side of the line protocol: a worker process that is asked one thing at a time."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from .registry import Peer, environment


class PeerError(Exception):
    """A worker has died; the message names its log."""


class Worker:
    """A peer's process, loaded and ready.

    Attributes:
        about: versions and settings that the peer tells of itself.
        load_milliseconds: what loading its model took.
        dead: it has ended by itself; not to be asked again.
    """

    def __init__(self, peer: Peer, work: Path) -> None:
        """Start the process and wait until it is ready.

        Raises:
            PeerError: it cannot be started or ends at once.
        """
        self.peer = peer
        self.dead = False
        self._log = work / f"{peer.name}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                peer.command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
            )
        ready = self._receive()
        self.about: dict[str, str] = ready["about"]
        self.load_milliseconds: float = ready["load_milliseconds"]

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, inputs: Path, vectors: Path, warm: int, runs: int) -> dict[str, Any]:
        """Have one input file run: `milliseconds` of each timed pass, and `peak_megabytes` of the process.

        Raises:
            PeerError: the worker has died.
        """
        request = {"input": str(inputs), "vectors": str(vectors), "warm": warm, "runs": runs}
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the missing answer says it
            print(json.dumps(request), file=self._process.stdin, flush=True)
        return self._receive()

    def close(self) -> None:
        """Let the process end, and wait until its memory is free."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.dead = True
            code = self._process.wait()
            raise PeerError(f"{self.peer.name} ended with code {code}; see {self._log}")
        answer: dict[str, Any] = json.loads(line)
        return answer
