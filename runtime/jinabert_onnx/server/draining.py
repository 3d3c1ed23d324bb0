"""uvicorn's server with an orderly end: at a signal it answers what has come, and loses no connection that waits.

Knows nothing of the application.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from .access_log import LOGGER
from .state import State

BACKLOG = 2048  # connections that wait to be accepted
_ACCEPTING_SECONDS = 1.0  # in which load balancers learn of the end, and may still send requests
_FIRST_BYTES_SECONDS = 2.0  # in which the connections accepted last may send their request


class DrainingServer(uvicorn.Server):
    """Ends in order at SIGTERM or SIGINT, and at once at the second."""

    def __init__(self, config: uvicorn.Config, state: State, listener: socket.socket, stopped: Sequence[int]) -> None:
        """Drain at once if `stopped` holds signals that came before; `state` says whether the server drains."""
        super().__init__(config)
        self._state, self._listener, self._stopped = state, listener, stopped
        self._draining: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while the block lasts; unlike uvicorn, do not raise them again after it."""
        loop = asyncio.get_running_loop()
        former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        for number in former:
            loop.add_signal_handler(number, self._stop)
        if self._stopped:
            self._stop()
        try:
            yield
        finally:
            for number, handler in former.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def _stop(self) -> None:
        if self._draining is not None:  # the second signal
            LOGGER.warning("stopped at once")
            os._exit(1)
        LOGGER.info("stopping: requests that have come are answered")
        self._state.draining = True
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        """Answer what still comes for a while, each the last of its connection; then accept no more connections."""
        try:
            await asyncio.sleep(_ACCEPTING_SECONDS)
            with self._listener.dup() as listener:  # stays open when the server closes its own
                for server in self.servers:
                    server.close()
                await self._accept_waiting(listener)
            end = time.monotonic() + _FIRST_BYTES_SECONDS
            while time.monotonic() < end and any(map(_has_sent_nothing, self.server_state.connections)):
                await asyncio.sleep(0.02)
        finally:
            self.should_exit = True

    async def _accept_waiting(self, listener: socket.socket) -> None:
        """Accept the connections that wait in the backlog, which closing would reset."""
        listener.setblocking(False)
        with contextlib.suppress(OSError):  # nothing waits, or nothing more can be accepted
            for _ in range(BACKLOG):
                connection, _ = listener.accept()
                await asyncio.get_running_loop().connect_accepted_socket(self._new_protocol, connection)

    def _new_protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def _has_sent_nothing(connection: object) -> bool:
    return isinstance(connection, H11Protocol) and connection.cycle is None
