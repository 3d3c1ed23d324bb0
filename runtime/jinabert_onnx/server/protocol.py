"""uvicorn's HTTP/1.1, but a connection cannot fill memory with requests ahead of their answers.

uvicorn reads on for each request that it begins, whatever it still holds of those behind it.
"""

from __future__ import annotations

from uvicorn.protocols.http.h11_impl import H11Protocol

_MOST_AHEAD = 1_048_576  # bytes


class BoundedProtocol(H11Protocol):
    """Ends a connection that is too far ahead."""

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client; those that stay unparsed belong to requests whose turn has not come."""
        super().data_received(data)
        if len(self.conn.trailing_data[0]) > _MOST_AHEAD:
            self.transport.abort()
