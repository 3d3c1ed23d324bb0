"""Whether a request brings one of the API keys. Compares in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Sequence


class Keys:
    """The keys that a server knows; without any, everybody may come in."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode("ascii") for key in keys]

    def allow(self, authorization: bytes) -> bool:
        """Whether the value of an Authorization header is "Bearer" and a known key."""
        if not self._keys:
            return True
        scheme, _, given = authorization.strip().partition(b" ")
        matches = [hmac.compare_digest(given.strip(), key) for key in self._keys]  # all, so that time tells nothing
        return scheme.lower() == b"bearer" and any(matches)
