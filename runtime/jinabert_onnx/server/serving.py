"""The server's process: a listening socket, uvicorn's settings, and what is logged at the start."""

from __future__ import annotations

import gc
import socket
from collections.abc import Sequence

import uvicorn

from jinabert_onnx.errors import InputError
from jinabert_onnx.http.served import Served

from .access_log import LOGGER, set_up
from .app import create_app
from .draining import BACKLOG, DrainingServer
from .memory_share import within_limit
from .options import Options
from .protocol import BoundedProtocol
from .state import State

_KEEP_ALIVE = 75  # seconds: longer than load balancers keep idle connections, so that these close them
_MOST_HEADERS = 65_536  # bytes


def serve(models: Sequence[Served], options: Options, host: str, port: int, stopped: Sequence[int] = ()) -> None:
    """Serve until SIGTERM or SIGINT; `stopped` holds signals that came before.

    Raises:
        InputError: nothing can listen at this address.
        MemoryLimitError: the models' limit of memory does not hold the server.
    """
    options = within_limit([served.model for served in models], options)
    set_up(options.json_log)
    listener = _listen(host, port)
    state = State()
    config = uvicorn.Config(
        create_app(models, options, state),
        http=BoundedProtocol,
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE,
        h11_max_incomplete_event_size=_MOST_HEADERS,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(options.drain)),
    )
    for served in models:
        _log_start(served, listener.getsockname())
    _warn_of_openness(listener.getsockname()[0], has_keys=bool(options.keys))
    _collect_garbage_rarely()
    DrainingServer(config, state, listener, stopped).run(sockets=[listener])


def _log_start(served: Served, address: tuple[str, int]) -> None:
    host, port = address[:2]
    LOGGER.info(
        "serving %s on http://%s:%d (%s on %s, %d threads)",
        served.name,
        f"[{host}]" if ":" in host else host,
        port,
        served.model.precision,
        served.model.session.provider,
        served.model.session.threads,
    )


def _warn_of_openness(host: str, has_keys: bool) -> None:
    is_loopback = host == "::1" or host.startswith("127.")
    if not has_keys and not is_loopback:
        LOGGER.warning("anyone who can reach this address can use it: no API keys are set")


def _collect_garbage_rarely() -> None:
    """Let Python look for cycles less often, and never among what was loaded.

    With a thousand open requests that took a third of the event loop's time, and stopped it for tenths of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot listen on {host} port {port} ({reason}); choose another --host or --port") from error
    # Connections inherit it; asyncio sets it by itself for sockets that name their protocol only, and these do not.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
