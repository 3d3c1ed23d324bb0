"""Middleware that makes each answer the last of its connection while the server drains."""

from __future__ import annotations

from .asgi import App, Message, Receive, Send
from .state import State


def close_while_draining(app: App, state: State) -> App:
    """Return `app`, whose answers end their connections once `state` is draining: clients then connect elsewhere."""

    async def closing(scope: Message, receive: Receive, send: Send) -> None:
        async def send_last(message: Message) -> None:
            if message["type"] == "http.response.start" and state.draining:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await app(scope, receive, send_last)

    return closing
