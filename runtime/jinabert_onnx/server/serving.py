"""Run the application in uvicorn until a signal ends it, and then let accepted requests end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from jinabert_onnx.embedder import Embedder
from jinabert_onnx.errors import InputError

from .access_log import LOGGER, set_up
from .app import create_app
from .memory_share import within_limit
from .options import Options
from .protocol import with_deadlines
from .state import State

_KEEP_ALIVE = 75  # seconds: longer than load balancers keep idle connections, so that these close them
_BACKLOG = 2048  # connections that wait to be taken
_LAST = 2.0  # seconds in which the last connections to be taken may send their request
_LINGER = 1.0  # seconds in which load balancers learn of the end, and may still send requests


class _Server(uvicorn.Server):
    """uvicorn, but a signal ends it in order and is not raised again."""

    def __init__(self, config: uvicorn.Config, state: State, listener: socket.socket, ended: Sequence[int]) -> None:
        super().__init__(config)
        self._state, self._listener, self._ended = state, listener, ended
        self._draining: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        former = {number: signal.getsignal(number) for number in signals}
        for number in signals:
            loop.add_signal_handler(number, self._stop)
        if self._ended:  # while it loaded
            self._stop()
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)
                signal.signal(number, former[number])

    def _stop(self) -> None:
        if self._draining is not None:  # the second signal
            LOGGER.warning("stopped at once")
            os._exit(1)
        LOGGER.info("stopping: requests that have come are answered")
        self._state.draining = True
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        """Answer what still comes for a while, each the last of its connection; then take no more connections."""
        try:
            await asyncio.sleep(_LINGER)
            with self._listener.dup() as listener:  # open when the server closes its own: what waits is not lost
                for server in self.servers:
                    server.close()
                await self._accept_waiting(listener)
            end = time.monotonic() + _LAST
            while time.monotonic() < end and any(map(_has_sent_nothing, self.server_state.connections)):
                await asyncio.sleep(0.02)
        finally:
            self.should_exit = True

    async def _accept_waiting(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        with contextlib.suppress(OSError):  # nothing waits, or nothing more can be taken
            for _ in range(_BACKLOG):
                connection, _ = listener.accept()
                await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


def _has_sent_nothing(connection: object) -> bool:
    return isinstance(connection, H11Protocol) and connection.cycle is None


def serve(embedder: Embedder, source: str, options: Options, host: str, port: int, ended: Sequence[int] = ()) -> None:
    """Serve until SIGTERM or SIGINT; `ended` holds signals that came before.

    Raises:
        InputError: nothing can listen at this address.
        MemoryLimitError: the model's limit of memory does not hold the server.
    """
    options = within_limit(embedder.loaded, options)
    set_up(options.json_log)
    listener = _listen(host, port)
    state = State()
    config = uvicorn.Config(
        create_app(embedder, source, options, state),
        http=with_deadlines(options.body_timeout),
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE,
        h11_max_incomplete_event_size=65_536,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(options.drain)),
    )
    address = listener.getsockname()
    LOGGER.info(
        "serving %s on http://%s:%d (%s on %s, %d threads)",
        source,
        f"[{address[0]}]" if ":" in address[0] else address[0],
        address[1],
        embedder.precision,
        embedder.provider,
        embedder.threads,
    )
    if not options.keys and not _is_loopback(address[0]):
        LOGGER.warning("everybody who reaches this address can use it: no API keys are set")
    _spare_collections()
    _Server(config, state, listener, ended).run(sockets=[listener])


def _spare_collections() -> None:
    """Let Python look for cycles less often, and never among what was loaded: with a thousand open requests that took
    a third of the event loop's time, and stopped it for tenths of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot listen on {host} port {port} ({reason}); choose another --host or --port") from error
    # Connections inherit it; asyncio sets it by itself for sockets that name their protocol only, and these do not.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")
