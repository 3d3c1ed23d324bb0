"""A connection that cannot be held open for nothing: its client must send headers, and read answers, within a time.

uvicorn itself waits for ever for both. The only module that reaches into uvicorn's protocol class. h11, which parses
here, bounds the size of headers and trailers, and takes one request after the other. Bodies are timed in `guard`.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_MOST_CONNECTIONS = 4096
_MOST_AHEAD = 1_048_576  # bytes of further requests that a client sends before it has its answer


def with_deadlines(seconds: float) -> type[H11Protocol]:
    """A protocol class that ends a connection whose headers, or whose reading of an answer, stop for `seconds`."""

    class DeadlineProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._headers, self._reading = _Timer(self.loop, transport), _Timer(self.loop, transport)
            if len(self.connections) > _MOST_CONNECTIONS:
                transport.abort()
            else:
                self._headers.start(seconds)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            waiting = len(self.conn.trailing_data[0])  # bytes that are no part of the request that is answered
            if self.cycle is not None and not self.cycle.response_complete:
                self._headers.stop()
                if not self.cycle.more_body and waiting > _MOST_AHEAD:
                    self.transport.abort()
            elif waiting or self.conn.their_state is not h11.IDLE:
                self._headers.start(seconds)  # the beginning of a request, or the rest of one that was refused
            else:
                self._headers.stop()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._reading.start(seconds)

        def resume_writing(self) -> None:
            if not self.transport.is_closing():
                self._reading.stop()
            super().resume_writing()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch_closing()

        def shutdown(self) -> None:
            super().shutdown()
            self._watch_closing()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self._watch_closing()

        def _watch_closing(self) -> None:
            if self.transport.is_closing():  # which waits for what the client has not read
                self._reading.start(seconds)

        def connection_lost(self, exc: Exception | None) -> None:
            self._headers.stop()
            self._reading.stop()
            super().connection_lost(exc)

    return DeadlineProtocol


class _Timer:
    """Ends a connection after some seconds, unless it is stopped before; starting it again changes nothing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop, self._transport = loop, transport
        self._handle: asyncio.TimerHandle | None = None

    def start(self, seconds: float) -> None:
        self._handle = self._handle or self._loop.call_later(seconds, self._transport.abort)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
