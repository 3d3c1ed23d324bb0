"""A network that ends at this machine: a test that asks for another host fails."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def only_hosts(*allowed: str) -> Iterator[None]:
    """Let the process look up the `allowed` hosts alone; fail at the end of the block if it has asked for another.

    Libraries may swallow an error of the attempt itself, so each attempt is remembered too.
    """
    look_up = socket.getaddrinfo
    others: list[object] = []
    names: Collection[object] = {*allowed, *(name.encode() for name in allowed)}

    def refuse_others(host: object, *arguments: object, **options: object) -> object:
        if host in names:
            return look_up(host, *arguments, **options)  # type: ignore[arg-type]
        others.append(host)
        raise OSError(f"{host!r} is another machine")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", refuse_others)
        yield
    assert not others, f"asked for {others}"
